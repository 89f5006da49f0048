package org.quern.jmh;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.quern.kronecker.InverseFactor;
import org.quern.kronecker.Preconditioner;
import org.quern.kronecker.Rescale;
import org.quern.kronecker.Storage;
import org.quern.kronecker.UpdateRule;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** {@code P = L G R} in place, and the floor of its memory traffic on the same gradient. */
@Warmup(iterations = 3, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 100, timeUnit = TimeUnit.MILLISECONDS)
public class KroneckerPreconditionBenchmark extends VectorBenchmark {
  private static final int COLUMNS = 32;

  /** How both factors are kept. */
  public enum Factors {
    /** 32 columns each; 8 k d^2 flops. */
    LOW_RANK,
    /** Every element; 4 d^3 flops. */
    TILES
  }

  /** Flops of one call. */
  static long flops(int d, Factors factors) {
    return factors == Factors.LOW_RANK ? 8L * COLUMNS * d * d : 4L * d * d * d;
  }

  /** Two factors and a gradient, square. */
  @State(Scope.Benchmark)
  public static class Layer {
    @Param({"768", "1024", "4096"})
    int d;

    @Param Factors factors;

    @Param("1")
    int threads;

    private Arena arena;
    private Tensor gradient;
    private Preconditioner preconditioner;

    /** Draws vectors and the gradient. */
    @Setup(Level.Trial)
    public void prepare() {
      arena = Arena.ofShared();
      Storage storage =
          factors == Factors.LOW_RANK
              ? Storage.lowRank(COLUMNS, Double.POSITIVE_INFINITY)
              : Storage.symmetricTiles();
      InverseFactor left = factor(storage, 1);
      InverseFactor right = factor(storage, 2);
      gradient = Tensor.allocate(arena, DType.F32, d, d);
      new Philox(3, 0).fillNormal(gradient.memory());
      preconditioner =
          Preconditioner.create(arena, left, right, false, Rescale.SUM_OF_NORMS, threads, null);
    }

    private InverseFactor factor(Storage storage, int seed) {
      InverseFactor factor = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.95);
      for (int t = 0; t < COLUMNS; t++) {
        Tensor v = Tensor.allocate(arena, DType.F32, d);
        new Philox(seed, t).fillNormal(v.memory());
        factor.update(v);
      }
      return factor;
    }

    /** Frees the memory. */
    @TearDown(Level.Trial)
    public void free() {
      arena.close();
    }
  }

  /** The whole call; the length of the gradient stays, so that it may go on for ever. */
  @Benchmark
  public double precondition(Layer layer) {
    return layer.preconditioner.precondition(layer.gradient, null);
  }

  /** Reads the gradient in one pass, reads and writes it in another: what low rank cannot spare. */
  @Benchmark
  public int floor(Layer layer) {
    MemorySegment g = layer.gradient.memory();
    int bits = Streams.read(g);
    Streams.invert(g);
    return bits;
  }
}
