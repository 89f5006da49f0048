package org.quern.jmh;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Conversions between F32 and 16-bit types, on runs that stay in the second-level cache. */
public class ConversionBenchmark extends VectorBenchmark {
  /** Elements of one call. */
  static final int ELEMENTS = 16 << 10;

  /** One run of each type. */
  @State(Scope.Thread)
  public static class Runs {
    @Param({"F16", "BF16"})
    DType type;

    @Param({"SCALAR", "VECTOR"})
    Tier tier;

    private Arena arena;
    private MemorySegment floats;
    private MemorySegment halves;

    /** Fills both runs, and checks that the tier rounds as the scalar one does. */
    @Setup
    public void prepare() {
      arena = Arena.ofShared();
      float[] values = new float[ELEMENTS];
      float[] unused = new float[ELEMENTS];
      RowKind.GAUSSIAN.fill(values, unused, new SplittableRandom(1));
      floats = Tensor.copyOf(arena, values, ELEMENTS).memory();
      halves = Tensor.allocate(arena, type, ELEMENTS).memory();
      MemorySegment expected = Tensor.allocate(arena, type, ELEMENTS).memory();
      Conversions.fromFloat(Tier.SCALAR, floats, 0, expected, 0, type, ELEMENTS);
      Conversions.fromFloat(tier, floats, 0, halves, 0, type, ELEMENTS);
      if (halves.mismatch(expected) >= 0) {
        throw new IllegalStateException(tier + " and SCALAR round to " + type + " differently");
      }
    }

    /** Frees both runs. */
    @TearDown
    public void free() {
      arena.close();
    }
  }

  /** F32 to the 16-bit type. */
  @Benchmark
  public void fromFloat(Runs runs) {
    Conversions.fromFloat(runs.tier, runs.floats, 0, runs.halves, 0, runs.type, ELEMENTS);
  }

  /** The 16-bit type to F32. */
  @Benchmark
  public void toFloat(Runs runs) {
    Conversions.toFloat(runs.tier, runs.halves, 0, runs.type, runs.floats, 0, ELEMENTS);
  }
}
