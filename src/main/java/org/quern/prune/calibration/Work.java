package org.quern.prune.calibration;

import java.util.concurrent.CancellationException;
import org.quern.runtime.Progress;

/** One step of long work: tells its advance, and ends it where its thread is interrupted. */
final class Work {
  private final Progress progress;
  private final String step;
  private final long total;
  private long done;

  /**
   * A step that begins.
   *
   * @param step what is being worked on
   * @param total units in all
   * @throws CancellationException where the thread is interrupted
   */
  Work(Progress progress, String step, long total) {
    this.progress = progress;
    this.step = step;
    this.total = total;
    advance(0);
  }

  /**
   * Tells that some more units are complete.
   *
   * @throws CancellationException where the thread is interrupted
   */
  void advance(long units) {
    done += units;
    progress.report(step, done, total);
    if (Thread.currentThread().isInterrupted()) {
      throw new CancellationException("interrupted");
    }
  }
}
