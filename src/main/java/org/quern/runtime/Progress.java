package org.quern.runtime;

/**
 * Receives the advance of long work; implementations must be cheap and may be called from any
 * worker thread.
 */
@FunctionalInterface
public interface Progress {
  /** Ignores every report. */
  Progress NONE = (step, done, total) -> {};

  /**
   * Reports that {@code done} of {@code total} units of {@code step} are complete.
   *
   * @param step what is being worked on, short enough for one line
   * @param done units complete, from 0 to {@code total}
   * @param total units in all; 0 where the amount is not known
   */
  void report(String step, long done, long total);
}
