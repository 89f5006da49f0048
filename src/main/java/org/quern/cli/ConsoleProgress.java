package org.quern.cli;

import java.io.PrintStream;
import java.util.concurrent.TimeUnit;
import me.tongfei.progressbar.ConsoleProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Progress;

/**
 * Shows progress as a bar on a terminal, and elsewhere as plain lines, at most one in two seconds
 * for each step.
 */
final class ConsoleProgress implements Progress, AutoCloseable {
  /**
   * Set to {@code true} by the launcher when the error stream is a terminal; Java cannot tell it by
   * itself.
   */
  static final String TERMINAL_PROPERTY = "quern.terminal";

  private static final long LINE_INTERVAL = TimeUnit.SECONDS.toNanos(2);
  private static final long BAR_INTERVAL = TimeUnit.MILLISECONDS.toNanos(50);
  private static final int BAR_WIDTH = 80;

  private final PrintStream stream;
  private final boolean terminal;
  private final long interval;
  private volatile String step = "";
  private volatile long shown;
  private @Nullable ProgressBar bar;

  ConsoleProgress(PrintStream stream, boolean terminal) {
    this.stream = stream;
    this.terminal = terminal;
    this.interval = terminal ? BAR_INTERVAL : LINE_INTERVAL;
  }

  /** Progress on the standard error stream, so that standard output stays clean. */
  static ConsoleProgress onErrorStream() {
    return new ConsoleProgress(System.err, Boolean.getBoolean(TERMINAL_PROPERTY));
  }

  @Override
  public void report(String step, long done, long total) {
    boolean complete = terminal && done == total;
    if (!complete && step.equals(this.step) && System.nanoTime() - shown < interval) {
      return;
    }
    show(step, done, total);
  }

  private synchronized void show(String step, long done, long total) {
    if (terminal) {
      if (bar == null || !step.equals(this.step)) {
        close();
        bar = open(step, total);
      }
      bar.stepTo(done);
    } else if (!step.equals(this.step) || System.nanoTime() - shown >= interval) {
      stream.println(step + ": " + done + (total > 0 ? " of " + total : ""));
    }
    this.step = step;
    shown = System.nanoTime();
  }

  private ProgressBar open(String step, long total) {
    return new ProgressBarBuilder()
        .setTaskName(step)
        .setInitialMax(total > 0 ? total : -1)
        .setStyle(ProgressBarStyle.ASCII)
        .setConsumer(new ConsoleProgressBarConsumer(stream, BAR_WIDTH))
        .build();
  }

  /** Finishes the bar that is shown. */
  @Override
  public synchronized void close() {
    if (bar != null) {
      bar.close();
      bar = null;
    }
  }
}
