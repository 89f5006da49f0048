package org.quern.linalg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.function.Supplier;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

/**
 * The product on every tier of this machine, against the formula in double precision; quick even
 * where nothing but the first compiler runs.
 */
class GemmContractTest {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;
  private static final int[] SIZES = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100, 129};
  private static final float GUARD = 12345.5f;

  static Stream<Tier> tiers() {
    return Capabilities.get().available().stream()
        .filter(t -> t == Tier.SCALAR || t == Tier.VECTOR);
  }

  /** The tiers, and null for what computes where none is demanded: OpenBLAS, where it is there. */
  static Stream<Arguments> tiersAndBest() {
    return Stream.concat(tiers().map(Arguments::of), Stream.of(Arguments.of((Tier) null)));
  }

  @ParameterizedTest
  @MethodSource("tiersAndBest")
  void agreesWithTheFormulaOnSampledShapesStridesTransposesAndFactors(@Nullable Tier tier) {
    float[] factors = {0, 1, -1, 0.75f};
    for (int seed = 0; seed < 200; seed++) {
      SplittableRandom random = new SplittableRandom(seed);
      int m = SIZES[random.nextInt(SIZES.length)];
      int n = SIZES[random.nextInt(SIZES.length)];
      int k = seed % 20 == 0 ? 400 : SIZES[random.nextInt(SIZES.length)];
      float alpha = factors[random.nextInt(factors.length)];
      float beta = factors[random.nextInt(factors.length)];
      checkProduct(tier, seed, m, n, k, alpha, beta);
    }
    checkProduct(tier, 1000, 50, 800, 70, 1, 1); // more columns than a packed block
    checkProduct(tier, 1001, 1, 700, 513, 1, 0);
    checkProduct(tier, 1002, 700, 1, 513, 1, 0);
  }

  static void checkProduct(
      @Nullable Tier tier, int seed, int m, int n, int k, float alpha, float beta) {
    SplittableRandom random = new SplittableRandom(seed);
    boolean transposeA = random.nextBoolean();
    boolean transposeB = random.nextBoolean();
    try (Arena arena = Arena.ofConfined()) {
      Matrix a = new Matrix(arena, transposeA ? k : m, transposeA ? m : k, random);
      Matrix b = new Matrix(arena, transposeB ? n : k, transposeB ? k : n, random);
      Matrix c = new Matrix(arena, m, n, random);
      if (beta == 0) {
        c.fill(Float.NaN);
      }
      float[] before = c.memory.toArray(FLOAT);
      Gemm.create(arena, 1, tier)
          .multiply(
              transposeA,
              transposeB,
              m,
              n,
              k,
              alpha,
              a.memory,
              a.stride,
              b.memory,
              b.stride,
              beta,
              c.memory,
              c.stride);
      for (int i = 0; i < m; i++) {
        for (int j = 0; j < n; j++) {
          double sum = 0;
          double size = 0;
          for (int p = 0; p < k; p++) {
            double product =
                (double) (transposeA ? a.get(p, i) : a.get(i, p))
                    * (transposeB ? b.get(j, p) : b.get(p, j));
            sum += product;
            size += Math.abs(product);
          }
          double kept = beta == 0 ? 0 : (double) beta * before[(int) (i * c.stride + j)];
          assertEquals(
              alpha * sum + kept,
              c.get(i, j),
              tolerance(k, Math.abs(alpha) * size + Math.abs(kept)),
              () -> tier + " seed " + seed + ": " + m + " x " + n + " x " + k);
        }
      }
      c.checkGaps(() -> tier + " seed " + seed + " wrote between the rows of C");
    }
  }

  /**
   * The bound of a sum of k rounded products (Higham, "Accuracy and Stability", section 3.1), with
   * three more roundings.
   */
  private static double tolerance(int k, double size) {
    return (k + 3) * 0x1p-24 * size + Float.MIN_NORMAL;
  }

  @ParameterizedTest
  @MethodSource("tiersAndBest")
  void gramWritesTheLowerTriangleOnly(@Nullable Tier tier) {
    for (int n : SIZES) {
      for (int m : new int[] {0, 1, 9, 400}) {
        SplittableRandom random = new SplittableRandom(n * 1000 + m);
        try (Arena arena = Arena.ofConfined()) {
          Matrix x = new Matrix(arena, m, n, random);
          Matrix c = new Matrix(arena, n, n, random);
          float[] before = c.memory.toArray(FLOAT);
          Gemm.create(arena, 1, tier).gram(m, n, 2, x.memory, x.stride, 0.5f, c.memory, c.stride);
          for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j++) {
              float old = before[(int) (i * c.stride + j)];
              if (j > i) {
                assertEquals(
                    old, c.get(i, j), tier + " changed the upper triangle at " + i + ", " + j);
                continue;
              }
              double sum = 0;
              double size = 0;
              for (int p = 0; p < m; p++) {
                double product = (double) x.get(p, i) * x.get(p, j);
                sum += product;
                size += Math.abs(product);
              }
              assertEquals(
                  2 * sum + 0.5 * old,
                  c.get(i, j),
                  tolerance(m, 2 * size + Math.abs(old)),
                  tier + " n " + n + " m " + m);
            }
          }
          c.checkGaps(() -> tier + " wrote between the rows of C");
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void anyNumberOfThreadsGivesTheSameBits(Tier tier) {
    int[][] shapes = {{500, 100, 65}, {100, 500, 65}, {301, 299, 33}};
    for (int[] shape : shapes) {
      int m = shape[0];
      int n = shape[1];
      int k = shape[2];
      SplittableRandom random = new SplittableRandom(m);
      try (Arena arena = Arena.ofShared()) {
        Matrix a = new Matrix(arena, m, k, random);
        Matrix b = new Matrix(arena, k, n, random);
        Matrix x = new Matrix(arena, k, m, random);
        Matrix one = new Matrix(arena, m, n, new SplittableRandom(7));
        Matrix gramOne = new Matrix(arena, m, m, new SplittableRandom(8));
        Gemm single = Gemm.create(arena, 1, tier);
        single.multiply(
            false,
            false,
            m,
            n,
            k,
            0.5f,
            a.memory,
            a.stride,
            b.memory,
            b.stride,
            2,
            one.memory,
            one.stride);
        single.gram(k, m, 0.5f, x.memory, x.stride, 2, gramOne.memory, gramOne.stride);
        for (int threads : new int[] {2, 3, 7}) {
          Gemm several = Gemm.create(arena, threads, tier);
          Matrix many = new Matrix(arena, m, n, new SplittableRandom(7));
          several.multiply(
              false,
              false,
              m,
              n,
              k,
              0.5f,
              a.memory,
              a.stride,
              b.memory,
              b.stride,
              2,
              many.memory,
              many.stride);
          assertEquals(-1, one.memory.mismatch(many.memory), tier + " threads " + threads);
          Matrix gramMany = new Matrix(arena, m, m, new SplittableRandom(8));
          several.gram(k, m, 0.5f, x.memory, x.stride, 2, gramMany.memory, gramMany.stride);
          assertEquals(
              -1, gramOne.memory.mismatch(gramMany.memory), tier + " gram, threads " + threads);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndBest")
  void specialValuesPropagateToTheirRowAndColumnOnly(@Nullable Tier tier) {
    int size = 37;
    try (Arena arena = Arena.ofConfined()) {
      Matrix a = new Matrix(arena, size, size, new SplittableRandom(1));
      Matrix b = new Matrix(arena, size, size, new SplittableRandom(2));
      Matrix c = new Matrix(arena, size, size, new SplittableRandom(3));
      a.set(5, 9, Float.NaN);
      a.set(36, 2, Float.POSITIVE_INFINITY);
      b.set(4, 36, Float.NEGATIVE_INFINITY);
      for (float alpha : new float[] {1, 0}) {
        Gemm.create(arena, 1, tier)
            .multiply(
                false, false, size, size, size, alpha, a.memory, a.stride, b.memory, b.stride, 0,
                c.memory, c.stride);
        for (int i = 0; i < size; i++) {
          for (int j = 0; j < size; j++) {
            double sum = 0;
            for (int p = 0; p < size; p++) {
              sum += (double) a.get(i, p) * b.get(p, j);
            }
            float expected = (float) (alpha * sum);
            if (Double.isFinite(expected)) {
              assertTrue(Float.isFinite(c.get(i, j)), tier + " at " + i + ", " + j);
            } else {
              assertEquals(expected, c.get(i, j), tier + " at " + i + ", " + j);
            }
          }
        }
      }
    }
  }

  /** A matrix with guard values in the gaps between its rows. */
  private static final class Matrix {
    final MemorySegment memory;
    final int rows;
    final int columns;
    final long stride;

    Matrix(Arena arena, int rows, int columns, SplittableRandom random) {
      this.rows = rows;
      this.columns = columns;
      this.stride = columns + random.nextInt(4);
      memory = arena.allocate(4 * Math.max(1, rows * stride), 4);
      for (long i = 0; i < memory.byteSize() / 4; i++) {
        memory.setAtIndex(FLOAT, i, GUARD);
      }
      for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
          set(i, j, (float) random.nextDouble(-1, 1));
        }
      }
    }

    void fill(float value) {
      for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
          set(i, j, value);
        }
      }
    }

    float get(int i, int j) {
      return memory.getAtIndex(FLOAT, i * stride + j);
    }

    void set(int i, int j, float value) {
      memory.setAtIndex(FLOAT, i * stride + j, value);
    }

    void checkGaps(Supplier<String> message) {
      for (int i = 0; i < rows; i++) {
        for (long j = columns; j < stride; j++) {
          assertEquals(GUARD, memory.getAtIndex(FLOAT, i * stride + j), message);
        }
      }
    }
  }
}
