package org.quern.jmh;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.quern.prune.sparse.BitmaskMatrix;
import org.quern.prune.sparse.DenseLinear;
import org.quern.prune.sparse.Linear;
import org.quern.prune.sparse.SparseLinear;
import org.quern.prune.sparse.TwoOfFourMatrix;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The product of a layer of 4096 x 4096 with a few vectors: dense, and without the half of the
 * weights that is zero. The weights are in as many copies as exceed the last-level cache, used in
 * turn.
 */
@BenchmarkMode(Mode.SampleTime)
@Warmup(iterations = 8, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
public class LinearBenchmark extends VectorBenchmark {
  /** How the weights are stored. */
  public enum Weights {
    /** All of them. */
    DENSE,
    /** Half of every row, anywhere. */
    BITMASK,
    /** Two of every four. */
    TWO_OF_FOUR
  }

  private static final int SIZE = 4096;

  /** The layers in turn. */
  @State(Scope.Benchmark)
  public static class Layers {
    @Param Weights weights;

    @Param({"F32", "BF16", "F16"})
    DType type;

    @Param("1")
    int batch;

    @Param("1")
    int threads;

    private Arena arena;
    private Linear[] inTurn;
    private int turn;
    private Tensor x;
    private Tensor y;

    /** Makes the copies and checks the result of the measured tier. */
    @Setup
    public void prepare() {
      arena = Arena.ofShared();
      Tensor dense = Tensor.allocate(arena, type, SIZE, SIZE);
      fill(dense);
      x = Tensor.allocate(arena, DType.F32, batch, SIZE);
      y = Tensor.allocate(arena, DType.F32, batch, SIZE);
      SplittableRandom random = new SplittableRandom(2);
      for (long i = 0; i < x.size(); i++) {
        x.memory().setAtIndex(JAVA_FLOAT, i, random.nextFloat() - 0.5f);
      }
      Linear first = layer(dense, Tier.VECTOR);
      inTurn = new Linear[(int) Math.max(2, Math.ceilDiv(Caches.detect().beyond(), first.bytes()))];
      for (int i = 0; i < inTurn.length; i++) {
        inTurn[i] = layer(dense, Tier.VECTOR);
      }
      first.multiply(x, y);
      float[] got = y.toFloatArray();
      layer(dense, Tier.SCALAR).multiply(x, y);
      float[] expected = y.toFloatArray();
      for (int i = 0; i < got.length; i++) {
        if (!(Math.abs(got[i] - expected[i]) < 1e-2)) {
          throw new IllegalStateException(
              "row " + i + ": VECTOR " + got[i] + ", SCALAR " + expected[i]);
        }
      }
    }

    /** Half of every row zero, in the pattern that the storage needs; dense takes the first. */
    private void fill(Tensor dense) {
      SplittableRandom random = new SplittableRandom(1);
      for (long i = 0; i < SIZE; i++) {
        int left = SIZE / 2;
        for (int j = 0; j < SIZE; j++) {
          int rest = weights == Weights.TWO_OF_FOUR ? 4 - j % 4 : SIZE - j;
          if (weights == Weights.TWO_OF_FOUR && j % 4 == 0) {
            left = 2;
          }
          if (random.nextInt(rest) < left) {
            left--;
            set(dense, i * SIZE + j, random.nextFloat() + 0.5f);
          }
        }
      }
    }

    private static void set(Tensor dense, long at, float value) {
      switch (dense.type()) {
        case F32 -> dense.memory().setAtIndex(JAVA_FLOAT, at, value);
        case F16 -> dense.memory().setAtIndex(JAVA_SHORT, at, Float.floatToFloat16(value));
        default -> {
          short upper = (short) (Float.floatToRawIntBits(value) >>> 16);
          dense.memory().setAtIndex(JAVA_SHORT, at, upper);
        }
      }
    }

    private Linear layer(Tensor dense, Tier tier) {
      return switch (weights) {
        case DENSE -> {
          Tensor copy = Tensor.allocate(arena, type, SIZE, SIZE);
          copy.memory().copyFrom(dense.memory());
          yield DenseLinear.create(arena, copy, null, threads, tier);
        }
        case BITMASK ->
            SparseLinear.create(arena, BitmaskMatrix.pack(dense, arena), null, threads, tier);
        case TWO_OF_FOUR ->
            SparseLinear.create(arena, TwoOfFourMatrix.pack(dense, arena), null, threads, tier);
      };
    }

    /** Frees all copies. */
    @TearDown(Level.Trial)
    public void free() {
      arena.close();
    }

    private Linear next() {
      turn = turn + 1 < inTurn.length ? turn + 1 : 0;
      return inTurn[turn];
    }
  }

  /** The whole call. */
  @Benchmark
  public void multiply(Layers layers) {
    layers.next().multiply(layers.x, layers.y);
  }
}
