package org.quern.linalg;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.runtime.Allocations;
import org.quern.runtime.Tier;

/** Prints, in a JVM of its own, the bytes that a warm product on the vector tier allocates. */
final class GemmAllocations {
  private static final int SIZE = 40;
  private static final int CALLS = 200;

  private GemmAllocations() {}

  /** Prints the bytes of a call. */
  public static void main(String[] args) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment a = arena.allocate((long) SIZE * SIZE * Float.BYTES, 64);
      MemorySegment c = arena.allocate((long) SIZE * SIZE * Float.BYTES, 64);
      Gemm gemm = Gemm.create(arena, 1, Tier.VECTOR);
      long bytes =
          Allocations.perCall(
              40,
              CALLS,
              call ->
                  gemm.multiply(false, true, SIZE, SIZE, SIZE, 1, a, SIZE, a, SIZE, 0, c, SIZE));
      System.out.println("bytes=" + bytes);
    }
  }
}
