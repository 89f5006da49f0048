package org.quern.linalg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.linalg.Triangular.Side;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

/**
 * Residuals of the Cholesky factorization, of triangular solves and of inverses, formed in double
 * precision.
 */
class FactorizationContractTest {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;
  private static final int[] SIZES = {0, 1, 2, 3, 31, 32, 33, 64, 65, 97, 130, 257};
  private static final double UNIT = 0x1p-24;

  static Stream<Tier> tiers() {
    return Capabilities.get().available().stream()
        .filter(t -> t == Tier.SCALAR || t == Tier.VECTOR);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theFactorTimesItsTransposeIsTheMatrix(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Gemm gemm = Gemm.create(arena, 1, tier);
        long stride = n + 3L;
        MemorySegment a = positiveDefinite(arena, n, stride, n);
        MemorySegment l = arena.allocate(a.byteSize(), 64).copyFrom(a);
        Cholesky.factor(gemm, n, l, stride);
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < n; j++) {
            if (j > i) {
              assertEquals(at(a, stride, i, j), at(l, stride, i, j), "upper triangle was written");
              continue;
            }
            double sum = 0;
            for (int p = 0; p <= j; p++) {
              sum += (double) at(l, stride, i, p) * at(l, stride, j, p);
            }
            double size = Math.sqrt((double) at(a, stride, i, i) * at(a, stride, j, j));
            assertEquals(
                at(a, stride, i, j),
                sum,
                (n + 2) * UNIT * size,
                tier + " n " + n + " at " + i + ", " + j);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theInverseFactorInvertsTheMatrix(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Gemm gemm = Gemm.create(arena, 1, tier);
        long stride = n + 1L;
        MemorySegment a = positiveDefinite(arena, n, stride, n + 50);
        MemorySegment u = arena.allocate(a.byteSize(), 64).copyFrom(a);
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < i; j++) {
            u.setAtIndex(FLOAT, i * stride + j, Float.NaN); // the lower triangle is not read
          }
        }
        Cholesky.inverseFactor(gemm, n, u, stride);
        // U A U^T = I; the matrices made here have a condition below 1e3.
        double[] half = new double[n * n];
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < i; j++) {
            assertEquals(0f, at(u, stride, i, j), "lower triangle");
          }
          for (int p = i; p < n; p++) {
            for (int j = 0; j < n; j++) {
              half[i * n + j] += (double) at(u, stride, i, p) * at(a, stride, p, j);
            }
          }
        }
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < n; j++) {
            double sum = 0;
            for (int p = j; p < n; p++) {
              sum += half[i * n + p] * at(u, stride, j, p);
            }
            assertEquals(i == j ? 1 : 0, sum, 1e-4, tier + " n " + n + " at " + i + ", " + j);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void everySideAndTransposeSolves(Tier tier) {
    for (int n : SIZES) {
      for (int count : new int[] {0, 1, 63, 65, 130}) {
        for (Side side : Side.values()) {
          for (boolean transpose : new boolean[] {false, true}) {
            checkSolve(tier, n, count, side, transpose);
          }
        }
      }
    }
  }

  private static void checkSolve(Tier tier, int n, int count, Side side, boolean transpose) {
    try (Arena arena = Arena.ofConfined()) {
      Gemm gemm = Gemm.create(arena, 1, tier);
      SplittableRandom random = new SplittableRandom(n * 1000 + count);
      long ldl = n + 2L;
      MemorySegment l = lower(arena, n, ldl, random);
      int rows = side == Side.LEFT ? n : count;
      int columns = side == Side.LEFT ? count : n;
      long ldb = columns + 1L;
      MemorySegment b = arena.allocate(4 * (rows * ldb + 1), 64);
      for (long i = 0; i < rows * ldb; i++) {
        b.setAtIndex(FLOAT, i, (float) random.nextDouble(-1, 1));
      }
      MemorySegment x = arena.allocate(b.byteSize(), 64).copyFrom(b);
      Triangular.solve(gemm, side, transpose, n, count, l, ldl, x, ldb);
      for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
          double sum = 0;
          double size = Math.abs(at(b, ldb, i, j));
          for (int p = 0; p < n; p++) {
            int row = side == Side.LEFT ? i : p;
            int column = side == Side.LEFT ? p : j;
            int lRow = transpose ? column : row;
            int lColumn = transpose ? row : column;
            if (lColumn <= lRow) {
              double product =
                  (double) at(l, ldl, lRow, lColumn)
                      * (side == Side.LEFT ? at(x, ldb, p, j) : at(x, ldb, i, p));
              sum += product;
              size += Math.abs(product);
            }
          }
          assertEquals(
              at(b, ldb, i, j),
              sum,
              (n + 2) * UNIT * size,
              tier
                  + " n "
                  + n
                  + " count "
                  + count
                  + " "
                  + side
                  + " transpose "
                  + transpose
                  + " at "
                  + i
                  + ", "
                  + j);
        }
        assertEquals(at(b, ldb, i, columns), at(x, ldb, i, columns), "wrote between rows");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void aTriangleTimesItsInverseIsTheIdentity(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Gemm gemm = Gemm.create(arena, 1, tier);
        MemorySegment l = lower(arena, n, n, new SplittableRandom(n));
        MemorySegment inverse = arena.allocate(l.byteSize(), 64).copyFrom(l);
        Triangular.invert(gemm, n, inverse, n);
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < n; j++) {
            if (j > i) {
              assertTrue(Float.isNaN(at(inverse, n, i, j)), "upper triangle was written");
              continue;
            }
            double sum = 0;
            double size = 0;
            for (int p = j; p <= i; p++) {
              double product = (double) at(l, n, i, p) * at(inverse, n, p, j);
              sum += product;
              size += Math.abs(product);
            }
            assertEquals(
                i == j ? 1 : 0,
                sum,
                4 * (n + 2) * UNIT * size,
                tier + " n " + n + " at " + i + ", " + j);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 5, 31, 32, 40, 99})
  void theFailingPivotIsNamed(int index) {
    int n = 100;
    try (Arena arena = Arena.ofConfined()) {
      Gemm gemm = Gemm.create(arena, 1);
      for (float bad : new float[] {-3, 0, Float.NaN, Float.POSITIVE_INFINITY}) {
        MemorySegment a = arena.allocate(4L * n * n, 64);
        for (int i = 0; i < n; i++) {
          a.setAtIndex(FLOAT, (long) i * n + i, i == index ? bad : 2);
        }
        MemorySegment copy = arena.allocate(a.byteSize(), 64).copyFrom(a);
        NotPositiveDefiniteException e =
            assertThrows(NotPositiveDefiniteException.class, () -> Cholesky.factor(gemm, n, a, n));
        assertEquals(index, e.index());
        assertEquals(bad, e.pivot());
        assertTrue(e.getMessage().contains("index " + index), e.getMessage());
        e =
            assertThrows(
                NotPositiveDefiniteException.class, () -> Cholesky.inverseFactor(gemm, n, copy, n));
        assertEquals(index, e.index());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void anyNumberOfThreadsGivesTheSameBits(Tier tier) {
    int n = tier == Tier.SCALAR ? 300 : 600;
    try (Arena arena = Arena.ofShared()) {
      MemorySegment a = positiveDefinite(arena, n, n, 9);
      MemorySegment one = arena.allocate(a.byteSize(), 64).copyFrom(a);
      MemorySegment many = arena.allocate(a.byteSize(), 64).copyFrom(a);
      Cholesky.inverseFactor(Gemm.create(arena, 1, tier), n, one, n);
      Cholesky.inverseFactor(Gemm.create(arena, 3, tier), n, many, n);
      assertEquals(-1, one.mismatch(many));
      assertFalse(one.mismatch(a) < 0);
    }
  }

  private static float at(MemorySegment matrix, long stride, int i, int j) {
    return matrix.getAtIndex(FLOAT, i * stride + j);
  }

  /** Random rows times their transpose, plus a tenth of the mean diagonal. */
  private static MemorySegment positiveDefinite(Arena arena, int n, long stride, int seed) {
    SplittableRandom random = new SplittableRandom(seed);
    float[] x = new float[n * n];
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) random.nextDouble(-1, 1);
    }
    MemorySegment a = arena.allocate(4 * (n * stride + 1), 64);
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        double sum = i == j ? n / 30.0 : 0;
        for (int p = 0; p < n; p++) {
          sum += (double) x[i * n + p] * x[j * n + p];
        }
        a.setAtIndex(FLOAT, i * stride + j, (float) sum);
        a.setAtIndex(FLOAT, j * stride + i, (float) sum);
      }
    }
    return a;
  }

  /** A well-conditioned lower triangle, NaN above the diagonal. */
  private static MemorySegment lower(Arena arena, int n, long stride, SplittableRandom random) {
    MemorySegment l = arena.allocate(4 * (n * stride + 1), 64);
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) {
        double value =
            j > i
                ? Double.NaN
                : i == j ? random.nextDouble(1, 2) : random.nextDouble(-1, 1) / Math.sqrt(n);
        l.setAtIndex(FLOAT, i * stride + j, (float) value);
      }
    }
    return l;
  }
}
