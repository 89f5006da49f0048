package org.quern.kronecker.net;

import com.sun.management.ThreadMXBean;
import java.lang.foreign.Arena;
import java.lang.management.ManagementFactory;
import org.quern.runtime.Tier;

/** Prints, in a JVM of its own, the bytes that a warm step on the vector tier allocates. */
final class NetworkAllocations {
  private static final int CALLS = 200;

  private NetworkAllocations() {}

  /** Prints the least of many rounds: interpreted Vector API code allocates. */
  public static void main(String[] args) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (Arena arena = Arena.ofConfined()) {
      int[] widths = {40, 50, 30};
      Network network =
          Network.create(arena, widths, 20, Activation.TANH, Loss.CROSS_ENTROPY, 1, Tier.VECTOR);
      network.initialize(1);
      long least = Long.MAX_VALUE;
      for (long end = System.nanoTime() + 40_000_000_000L;
          least > CALLS && System.nanoTime() < end; ) {
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < CALLS; i++) {
          network.forward();
          network.backward();
        }
        least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
      }
      System.out.println("bytes=" + least / CALLS);
    }
  }
}
