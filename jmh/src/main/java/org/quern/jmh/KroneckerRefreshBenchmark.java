package org.quern.jmh;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
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
import org.quern.kronecker.InverseFactor;
import org.quern.kronecker.SymmetricMatrix;
import org.quern.kronecker.UpdateRule;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The refresh of one inverse factor by one vector, and its two floors: reading and writing the
 * matrix once in place, and its multiply-adds in registers, three per element of a tile, for one
 * rank-1 term and two sides of a product. One factor is used again and again, as it is in training:
 * what fits a cache stays there, for the floor as well.
 */
@BenchmarkMode(Mode.SampleTime)
@Warmup(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 200, timeUnit = TimeUnit.MILLISECONDS)
public class KroneckerRefreshBenchmark extends VectorBenchmark {
  /** Vectors in turn, more than terms wait. */
  private static final int VECTORS = 64;

  /** Updates of a small factor, after which the kernels are compiled: interpreted ones crawl. */
  private static final int TRAINING = 20_000;

  /** How the factor is kept, by the names of the specification. */
  public enum Kept {
    /** All elements, F32. */
    DENSE_FULL,
    /** Triangular tiles of F32. */
    SYM_TILED,
    /** The same, eight terms to a pass. */
    SYM_TILED_LAZY8,
    /** Triangular tiles of I - J in BF16. */
    DEVIATION_BF16,
    /** The same, eight terms to a pass. */
    DEVIATION_BF16_LAZY8,
    /** Triangular tiles of I - J in F16. */
    DEVIATION_F16;

    org.quern.kronecker.Storage storage() {
      return switch (this) {
        case DENSE_FULL -> org.quern.kronecker.Storage.dense();
        case SYM_TILED -> org.quern.kronecker.Storage.symmetricTiles();
        case SYM_TILED_LAZY8 -> new org.quern.kronecker.Storage.SymmetricTiles(8);
        case DEVIATION_BF16 -> org.quern.kronecker.Storage.deviation(DType.BF16);
        case DEVIATION_BF16_LAZY8 -> new org.quern.kronecker.Storage.Deviation(DType.BF16, 8);
        case DEVIATION_F16 -> org.quern.kronecker.Storage.deviation(DType.F16);
      };
    }

    /** Elements that a pass reads and writes. */
    long elements(int d) {
      return SymmetricMatrix.elements(
          d, this == DENSE_FULL ? SymmetricMatrix.Layout.FULL : SymmetricMatrix.Layout.TILES);
    }

    /** Bytes that the elements take. */
    long bytes(int d) {
      boolean half = storage() instanceof org.quern.kronecker.Storage.Deviation;
      return elements(d) * (half ? Short.BYTES : Float.BYTES);
    }
  }

  /** One factor, its vectors, and as many bytes for the floor. */
  @State(Scope.Benchmark)
  public static class Factor {
    @Param({"768", "1024", "4096"})
    int d;

    @Param({"SYM_TILED", "SYM_TILED_LAZY8", "DEVIATION_BF16", "DEVIATION_BF16_LAZY8"})
    Kept kept;

    @Param("VECTOR")
    Tier tier;

    private Arena arena;
    private InverseFactor factor;
    private Tensor[] vectors;
    private MemorySegment memory;
    private int steps;
    private int turn;
    private float multiplier = 0.75f;
    private float addend = 0.25f;

    /** Makes the vectors and checks an update whose result is known. */
    @Setup(Level.Trial)
    public void prepare() {
      arena = Arena.ofShared();
      train();
      factor = InverseFactor.create(arena, d, kept.storage(), UpdateRule.CODE, 0.95, tier);
      vectors = new Tensor[VECTORS];
      SplittableRandom random = new SplittableRandom(1);
      for (int i = 0; i < VECTORS; i++) {
        float[] v = new float[d];
        for (int j = 0; j < d; j++) {
          v[j] = (float) random.nextGaussian();
        }
        vectors[i] = Tensor.copyOf(arena, v, d);
      }
      memory = arena.allocate(kept.bytes(d), Tensor.ALIGNMENT);
      steps = (int) (3 * kept.elements(d) / FmaPeakBenchmark.ADDS_PER_STEP);
      // From I the quadratic form is |v|^2.
      double squares = 0;
      for (float x : vectors[0].toFloatArray()) {
        squares += (double) x * x;
      }
      factor.update(vectors[0]);
      double error = Math.abs(factor.quadraticForm() - squares);
      if (!(error < 1e-5 * squares)) {
        throw new IllegalStateException("expected v.v, got a quadratic form off by " + error);
      }
    }

    private void train() {
      try (Arena small = Arena.ofConfined()) {
        Tensor v = Tensor.allocate(small, DType.F32, 130);
        v.fill(0.01);
        InverseFactor trainee =
            InverseFactor.create(small, 130, kept.storage(), UpdateRule.CODE, 0.95, tier);
        for (int i = 0; i < (tier == Tier.VECTOR ? TRAINING : 1); i++) {
          trainee.update(v);
        }
      }
    }

    private Tensor next() {
      turn = turn + 1 < VECTORS ? turn + 1 : 0;
      return vectors[turn];
    }

    /** Frees all memory. */
    @TearDown(Level.Trial)
    public void free() {
      arena.close();
    }
  }

  /** The whole update. */
  @Benchmark
  public InverseFactor.Outcome update(Factor factor) {
    return factor.factor.update(factor.next());
  }

  /** Reads and writes as many bytes as the matrix has. */
  @Benchmark
  public void floor(Factor factor) {
    Streams.invert(factor.memory);
  }

  /** The multiply-adds of one update. */
  @Benchmark
  public float arithmetic(Factor factor) {
    return FmaPeakBenchmark.chains(factor.multiplier, factor.addend, factor.steps);
  }
}
