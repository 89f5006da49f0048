package org.quern.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.runtime.Allocations;
import org.quern.runtime.Tier;

/** Prints, in a JVM of its own, the bytes that a warm round trip of conversions allocates. */
final class ConversionAllocations {
  private static final int N = 4095;
  private static final int CALLS = 2_000;

  private ConversionAllocations() {}

  /** Prints the bytes of a round trip on each tier. */
  public static void main(String[] args) {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment floats = arena.allocate(4L * N, 64);
      MemorySegment halves = arena.allocate(2L * N, 64);
      for (Tier tier : new Tier[] {Tier.SCALAR, Tier.VECTOR}) {
        long bytes =
            Allocations.perCall(
                12,
                CALLS,
                call -> {
                  Conversions.toFloat(tier, halves, 0, DType.F16, floats, 0, N);
                  Conversions.fromFloat(tier, floats, 0, halves, 0, DType.F16, N);
                });
        System.out.println(tier.label() + "=" + bytes);
      }
    }
  }
}
