package org.quern.tensor;

import com.sun.management.ThreadMXBean;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import org.quern.runtime.Tier;

/** Prints, in a JVM of its own, the bytes that a warm round trip of conversions allocates. */
final class ConversionAllocations {
  private static final int N = 4095;
  private static final int CALLS = 2_000;

  private ConversionAllocations() {}

  /** Prints the least of many rounds for each tier: C2 compiles in the background. */
  public static void main(String[] args) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment floats = arena.allocate(4L * N, 64);
      MemorySegment halves = arena.allocate(2L * N, 64);
      for (Tier tier : new Tier[] {Tier.SCALAR, Tier.VECTOR}) {
        long least = Long.MAX_VALUE;
        for (int round = 0; round < 200 && least >= CALLS; round++) {
          long before = threads.getCurrentThreadAllocatedBytes();
          for (int i = 0; i < CALLS; i++) {
            Conversions.toFloat(tier, halves, 0, DType.F16, floats, 0, N);
            Conversions.fromFloat(tier, floats, 0, halves, 0, DType.F16, N);
          }
          least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
        }
        System.out.println(tier.label() + "=" + least / CALLS);
      }
    }
  }
}
