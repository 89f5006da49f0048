package org.quern.jmh;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;

/** Waits for the compiler, which takes its time on a busy machine. */
final class Compilation {
  /** Vectors that are still objects take many times this per call. */
  private static final long BYTES = 1000;

  private static final long CALLS = 5;
  private static final long NANOS = 15_000_000_000L;

  private Compilation() {}

  /**
   * Repeats work on vectors until it allocates no vectors, or until it is plain that this will not
   * come.
   */
  static void await(Runnable work) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long end = System.nanoTime() + NANOS;
    long bytes;
    do {
      bytes = threads.getCurrentThreadAllocatedBytes();
      for (int i = 0; i < CALLS; i++) {
        work.run();
      }
      bytes = threads.getCurrentThreadAllocatedBytes() - bytes;
    } while (bytes >= BYTES * CALLS && System.nanoTime() < end);
  }
}
