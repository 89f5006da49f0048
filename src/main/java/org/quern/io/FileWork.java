package org.quern.io;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.CancellationException;
import org.quern.runtime.Parallel;

/** Ranges of work on several threads that may fail at a file and can be interrupted. */
public final class FileWork {
  private FileWork() {}

  /** Work on one chunk. */
  @FunctionalInterface
  public interface Body {
    /**
     * Works on the elements {@code [from, to)}.
     *
     * @param worker number of the thread in this call, as in {@link Parallel.RangeBody}
     */
    void run(long from, long to, int worker) throws IOException;
  }

  /**
   * As {@link Parallel#forRanges}.
   *
   * @throws CancellationException where the calling thread is interrupted before the last chunk has
   *     begun; it stays marked as interrupted
   * @throws IOException the first that a chunk throws
   */
  public static void forRanges(long n, long grain, int threads, Body body) throws IOException {
    Thread caller = Thread.currentThread();
    try {
      Parallel.forRanges(
          n,
          grain,
          threads,
          (from, to, worker) -> {
            if (caller.isInterrupted()) {
              throw new CancellationException("interrupted");
            }
            try {
              body.run(from, to, worker);
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
  }
}
