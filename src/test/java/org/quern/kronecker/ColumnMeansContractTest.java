package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Column means of every tier against sums written for this test alone. */
class ColumnMeansContractTest {
  private static final int[] COLUMNS = {
    1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 35, 67, 511, 513, 1027
  };
  private static final int[] ROWS = {0, 1, 3, 4, 7, 8, 9, 13, 35};
  private static final DType[] TYPES = {DType.F32, DType.F16, DType.BF16};
  private static final double NO_LIMIT = Double.POSITIVE_INFINITY;

  static Stream<Tier> tiers() {
    return InverseFactor.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static Tensor random(Arena arena, Random random, DType type, long rows, long columns) {
    long stride = columns + random.nextInt(4);
    MemorySegment memory = arena.allocate(Math.max(1, rows * stride * type.bytes()), type.bytes());
    Tensor tensor = Tensor.of(memory, type, stride, new long[] {rows, columns});
    for (long r = 0; r < rows; r++) {
      for (long j = 0; j < columns; j++) {
        tensor.setDouble(random.nextGaussian() + j % 3, r, j);
      }
    }
    return tensor;
  }

  private static float[] expectedMean(Tensor rows, double limit) {
    float[] means = new float[(int) rows.dim(1)];
    for (int j = 0; j < means.length; j++) {
      double sum = 0;
      for (long r = 0; r < rows.dim(0); r++) {
        double x = rows.getDouble(r, j);
        sum += Math.clamp(x, -limit, limit);
      }
      means[j] = (float) (sum * (1.0 / rows.dim(0)));
    }
    return means;
  }

  private static float[] mean(Arena arena, ColumnMeans means) {
    Tensor out = Tensor.allocate(arena, DType.F32, means.columns());
    means.mean(out);
    return out.toFloatArray();
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void meansOfAllSizesAndTypes(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    for (int columns : COLUMNS) {
      for (int rows : ROWS) {
        try (Arena arena = Arena.ofConfined()) {
          DType type = TYPES[random.nextInt(3)];
          Tensor batch = random(arena, random, type, rows, columns);
          for (double limit : new double[] {NO_LIMIT, 0.75}) {
            ColumnMeans means = ColumnMeans.create(arena, columns, 1, tier);
            means.add(batch, limit);
            assertEquals(rows, means.rows());
            if (rows == 0) {
              assertThrows(IllegalStateException.class, () -> mean(arena, means));
            } else {
              assertArrayEquals(
                  expectedMean(batch, limit),
                  mean(arena, means),
                  () -> type + " " + rows + " x " + columns + ", seed " + seed);
            }
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void batchesAndThreadsDoNotChangeABit(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    try (Arena arena = Arena.ofShared()) {
      int columns = 1100;
      for (DType type : TYPES) {
        for (double limit : new double[] {NO_LIMIT, 1.5}) {
          Tensor rows = random(arena, random, type, 61, columns);
          ColumnMeans whole = ColumnMeans.create(arena, columns, 1, tier);
          whole.add(rows, limit);
          ColumnMeans cut = ColumnMeans.create(arena, columns, 3, tier);
          for (long from = 0; from < rows.dim(0); ) {
            long to = Math.min(rows.dim(0), from + 1 + random.nextInt(12));
            cut.add(rows.rows(from, to), limit);
            from = to;
          }
          assertArrayEquals(mean(arena, whole), mean(arena, cut), "seed " + seed);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void manyRowsWithALargeMeanStayAccurate(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      ColumnMeans means = ColumnMeans.create(arena, 17, 1, tier);
      Tensor batch = Tensor.allocate(arena, DType.F32, 1000, 17);
      batch.fill(0.1f);
      for (int i = 0; i < 1000; i++) {
        means.add(batch);
      }
      for (float mean : mean(arena, means)) {
        assertEquals(0.1f, mean);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theColumnOfOnesTakesTheLimitToo(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor batch = Tensor.copyOf(arena, new float[] {3, -4, 1, 2}, 2, 2);
      Tensor out = Tensor.allocate(arena, DType.F32, 3);
      ColumnMeans means = ColumnMeans.create(arena, 2, 1, tier);
      means.add(batch);
      means.mean(out);
      assertArrayEquals(new float[] {2, -1, 1}, out.toFloatArray());
      means.sum(out, 0.5);
      assertArrayEquals(new float[] {2, -1, 1}, out.toFloatArray());
      means.reset();
      means.add(batch, 0.5);
      means.mean(out);
      assertArrayEquals(new float[] {0.5f, 0, 0.5f}, out.toFloatArray());
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void whatIsNotFiniteReachesTheResult(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      for (float value : new float[] {Float.NaN, Float.POSITIVE_INFINITY}) {
        for (double limit : new double[] {NO_LIMIT, 2}) {
          Tensor batch = Tensor.allocate(arena, DType.F32, 9, 37);
          batch.setDouble(value, 8, 3);
          batch.setDouble(value, 2, 36);
          ColumnMeans means = ColumnMeans.create(arena, 37, 1, tier);
          means.add(batch, limit);
          float[] got = mean(arena, means);
          float expected = Float.isNaN(value) || limit == NO_LIMIT ? value : (float) (limit / 9);
          assertEquals(expected, got[3], 1e-7f);
          assertEquals(expected, got[36], 1e-7f);
          assertEquals(0, got[4]);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theReleasedAccountingIsThatOfClampedRows(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    int batches = 3;
    int rows = 5;
    double lossScale = 8;
    double clip = 1.5;
    Accounting accounting = new Accounting(batches, lossScale, clip, true);
    try (Arena arena = Arena.ofConfined()) {
      ColumnMeans inputs = ColumnMeans.create(arena, 6, 1, tier);
      ColumnMeans gradients = ColumnMeans.create(arena, 6, 1, tier);
      double[] a = new double[6];
      double[] g = new double[6];
      for (int q = 0; q < batches; q++) {
        Tensor x = random(arena, random, DType.F32, rows, 6);
        inputs.add(x, accounting.inputLimit());
        gradients.add(x, accounting.gradientLimit(rows));
        for (int r = 0; r < rows; r++) {
          for (int j = 0; j < 6; j++) {
            double value = x.getDouble(r, j);
            a[j] += Math.clamp(value / batches, -clip, clip) / rows;
            g[j] += Math.clamp(rows * value / (batches * lossScale), -clip, clip) / rows;
          }
        }
      }
      Tensor out = Tensor.allocate(arena, DType.F32, 6);
      inputs.mean(out);
      assertArrayEquals(toFloats(a), out.toFloatArray(), 1e-6f, "seed " + seed);
      gradients.sum(out, accounting.gradientScale());
      assertArrayEquals(toFloats(g), out.toFloatArray(), 1e-6f, "seed " + seed);
    }
  }

  private static float[] toFloats(double[] values) {
    float[] floats = new float[values.length];
    for (int i = 0; i < floats.length; i++) {
      floats[i] = (float) values[i];
    }
    return floats;
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void ownAccountingDoesNotDependOnHowAStepIsCut(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    try (Arena arena = Arena.ofConfined()) {
      Tensor lossGradients = random(arena, random, DType.F32, 12, 5);
      float[][] got = new float[2][];
      int[] cuts = {1, 4};
      for (int i = 0; i < 2; i++) {
        // The gradient of the mean over all rows, times the loss scale, is the same for any cut.
        Accounting accounting = new Accounting(cuts[i], 4, 1.25, false);
        ColumnMeans means = ColumnMeans.create(arena, 5, 1, tier);
        long rows = 12 / cuts[i];
        for (int q = 0; q < cuts[i]; q++) {
          means.add(lossGradients.rows(q * rows, (q + 1) * rows), accounting.gradientLimit(rows));
        }
        Tensor out = Tensor.allocate(arena, DType.F32, 5);
        means.sum(out, accounting.gradientScale());
        got[i] = out.toFloatArray();
      }
      assertArrayEquals(got[0], got[1], "seed " + seed);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theProductWithColumnsOfOnesHoldsBothVectors(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    int n = 9;
    try (Arena arena = Arena.ofConfined()) {
      Tensor x = random(arena, random, DType.F32, n, 4);
      Tensor dy = random(arena, random, DType.F32, n, 3);
      Tensor product = Tensor.allocate(arena, DType.F32, 4, 5);
      for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 5; j++) {
          double sum = 0;
          for (int r = 0; r < n; r++) {
            sum += (i < 3 ? dy.getDouble(r, i) : 1) * (j < 4 ? x.getDouble(r, j) : 1);
          }
          product.setDouble(sum, i, j);
        }
      }
      Tensor a = Tensor.allocate(arena, DType.F32, 5);
      Tensor g = Tensor.allocate(arena, DType.F32, 3);
      ColumnMeans.fromProduct(product, n, a, g);
      ColumnMeans inputs = ColumnMeans.create(arena, 4, 1, tier);
      inputs.add(x);
      ColumnMeans gradients = ColumnMeans.create(arena, 3, 1, tier);
      gradients.add(dy);
      Tensor expectedA = Tensor.allocate(arena, DType.F32, 5);
      inputs.mean(expectedA);
      Tensor expectedG = Tensor.allocate(arena, DType.F32, 3);
      gradients.sum(expectedG, 1);
      assertArrayEquals(expectedA.toFloatArray(), a.toFloatArray(), 1e-6f, "seed " + seed);
      assertArrayEquals(expectedG.toFloatArray(), g.toFloatArray(), 1e-5f, "seed " + seed);
    }
  }

  @Test
  void argumentsAreChecked() {
    try (Arena arena = Arena.ofConfined()) {
      assertRefused("columns", () -> ColumnMeans.create(arena, 0));
      assertRefused("threads", () -> ColumnMeans.create(arena, 1, 0, null));
      ColumnMeans means = ColumnMeans.create(arena, 3);
      assertRefused("batch", () -> means.add(Tensor.allocate(arena, DType.F32, 2, 4)));
      assertRefused("batch", () -> means.add(Tensor.allocate(arena, DType.F64, 2, 3)));
      Tensor batch = Tensor.allocate(arena, DType.F32, 2, 3);
      assertRefused("limit", () -> means.add(batch, 0));
      assertRefused("limit", () -> means.add(batch, Double.NaN));
      means.add(batch);
      assertRefused("out", () -> means.mean(Tensor.allocate(arena, DType.F32, 5)));
      assertRefused("out", () -> means.mean(Tensor.allocate(arena, DType.F64, 3)));
      Tensor product = Tensor.allocate(arena, DType.F32, 3, 4);
      Tensor a = Tensor.allocate(arena, DType.F32, 4);
      Tensor g = Tensor.allocate(arena, DType.F32, 3);
      assertRefused("rows", () -> ColumnMeans.fromProduct(product, 0, a, null));
      assertRefused("a", () -> ColumnMeans.fromProduct(product, 1, g, null));
      assertRefused("g", () -> ColumnMeans.fromProduct(product, 1, a, g));
      assertRefused("clip", () -> new Accounting(1, 1, 0, false));
      assertRefused("microBatches", () -> new Accounting(0, 1, 1, false));
      assertRefused("lossScale", () -> new Accounting(1, Double.POSITIVE_INFINITY, 1, false));
    }
  }

  private static void assertRefused(String argument, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().startsWith(argument + ": expected"), e.getMessage());
  }
}
