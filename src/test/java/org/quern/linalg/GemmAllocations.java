package org.quern.linalg;

import com.sun.management.ThreadMXBean;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import org.quern.runtime.Tier;

/** Prints, in a JVM of its own, the bytes that a warm product on the vector tier allocates. */
final class GemmAllocations {
  private static final int SIZE = 40;
  private static final int CALLS = 200;

  private GemmAllocations() {}

  /** Prints the least of many rounds: interpreted Vector API code allocates. */
  public static void main(String[] args) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment a = arena.allocate((long) SIZE * SIZE * Float.BYTES, 64);
      MemorySegment c = arena.allocate((long) SIZE * SIZE * Float.BYTES, 64);
      Gemm gemm = Gemm.create(arena, 1, Tier.VECTOR);
      long least = Long.MAX_VALUE;
      for (long end = System.nanoTime() + 40_000_000_000L;
          least > CALLS && System.nanoTime() < end; ) {
        long before = threads.getCurrentThreadAllocatedBytes();
        for (int i = 0; i < CALLS; i++) {
          gemm.multiply(false, true, SIZE, SIZE, SIZE, 1, a, SIZE, a, SIZE, 0, c, SIZE);
        }
        least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
      }
      System.out.println("bytes=" + least / CALLS);
    }
  }
}
