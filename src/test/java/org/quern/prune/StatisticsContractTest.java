package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.function.IntToDoubleFunction;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * What every tier must do: sums in double precision written for this test alone, and the same bits
 * as the scalar tier however the data is cut.
 */
class StatisticsContractTest {
  private static final int[] COLUMNS = {1, 2, 3, 7, 8, 9, 15, 16, 17, 67, 1023, 1025};
  private static final DType[] TYPES = {DType.F32, DType.F16, DType.BF16};
  private static final GradientNorm[][] NORMS = {
    {GradientNorm.L1}, {GradientNorm.L2}, {GradientNorm.L1, GradientNorm.L2}
  };

  static Stream<Tier> tiers() {
    return Pruner.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static Random random(String what) {
    long seed = System.nanoTime();
    System.out.println("StatisticsContractTest." + what + ": seed " + seed);
    return new Random(seed);
  }

  /** Values of many magnitudes, zeros and denormals among them, in rows with or without a gap. */
  private static Tensor values(Arena arena, Random random, DType type, long... shape) {
    long columns = shape[shape.length - 1];
    long stride = columns + (random.nextBoolean() ? 0 : 1 + random.nextInt(5));
    long rows = 1;
    for (int i = 0; i < shape.length - 1; i++) {
      rows *= shape[i];
    }
    MemorySegment memory = arena.allocate(Math.max(1, rows * stride) * type.bytes(), type.bytes());
    Tensor tensor = Tensor.of(memory, type, stride, shape);
    for (long i = 0; i < rows; i++) {
      Tensor row = tensor.row(i);
      for (long j = 0; j < columns; j++) {
        row.setDouble(
            switch (random.nextInt(16)) {
              case 0 -> 0;
              case 1 -> -0.0;
              case 2 -> 1e-6 * random.nextGaussian();
              default -> Math.exp(random.nextGaussian()) * (random.nextBoolean() ? 1 : -1);
            },
            j);
      }
    }
    return tensor;
  }

  private static Tensor mask(Arena arena, Random random, long... shape) {
    Tensor mask = Tensor.allocate(arena, DType.U8, shape);
    for (long i = 0; i < mask.rows(); i++) {
      for (long t = 0; t < mask.rowLength(); t++) {
        mask.row(i).setLong(random.nextInt(3) == 0 ? 0 : 1 + random.nextInt(255), t);
      }
    }
    return mask;
  }

  // Activations.

  @ParameterizedTest
  @MethodSource("tiers")
  void squaresOfActivationsAreSummedInDoublePrecision(Tier tier) {
    Random random = random("activations");
    for (DType type : TYPES) {
      for (int n : COLUMNS) {
        try (Arena arena = Arena.ofShared()) {
          Tensor inputs = values(arena, random, type, 3, 5, n);
          Tensor tokens = random.nextBoolean() ? mask(arena, random, 3, 5) : null;
          double[] sums = new double[n];
          long counted = 0;
          for (int row = 0; row < 15; row++) {
            if (tokens == null || tokens.getLong(row / 5, row % 5) != 0) {
              counted++;
              for (int j = 0; j < n; j++) {
                sums[j] += Math.pow(inputs.getDouble(row / 5, row % 5, j), 2);
              }
            }
          }
          ActivationStatistics statistics = new ActivationStatistics(n, 1, tier);
          statistics.add(inputs, tokens);
          assertEquals(3, statistics.samples());
          assertEquals(counted, statistics.tokens());
          float[] got = statistics.meanSquares(arena).toFloatArray();
          for (int j = 0; j < n; j++) {
            // The same chain of additions, and one rounding to binary32.
            assertEquals((float) (sums[j] / 3), got[j], type + " [" + n + "], column " + j);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void activationStatisticsDependNeitherOnBatchesNorOnThreads(Tier tier) {
    Random random = random("batches");
    int n = 2100;
    try (Arena arena = Arena.ofShared()) {
      Tensor inputs = values(arena, random, DType.F32, 6, 4, n);
      Tensor tokens = mask(arena, random, 6, 4);
      ActivationStatistics whole = new ActivationStatistics(n, 1, Tier.SCALAR);
      whole.add(inputs, tokens);
      for (int threads = 1; threads <= 3; threads++) {
        ActivationStatistics parts = new ActivationStatistics(n, threads, tier);
        for (int s = 0; s < 6; ) {
          int count = 1 + random.nextInt(6 - s);
          Tensor batch = inputs.rows(4L * s, 4L * (s + count));
          parts.add(
              Tensor.of(batch.memory(), DType.F32, batch.rowStride(), new long[] {count, 4, n}),
              tokens.rows(s, s + count));
          s += count;
        }
        assertArrayEquals(
            whole.meanSquares(arena).toFloatArray(), parts.meanSquares(arena).toFloatArray());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void activationsThatAreNotFiniteAreRejectedAndLeaveTheStatisticWhole(Tier tier) {
    Random random = random("not finite");
    int n = 19;
    for (DType type : TYPES) {
      for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY}) {
        try (Arena arena = Arena.ofShared()) {
          ActivationStatistics statistics = new ActivationStatistics(n, 2, tier);
          statistics.add(values(arena, random, type, 2, 3, n));
          float[] before = statistics.meanSquares(arena).toFloatArray();
          Tensor inputs = values(arena, random, type, 2, 3, n);
          inputs.setDouble(bad, 1, 2, 17);
          String message =
              assertThrows(IllegalArgumentException.class, () -> statistics.add(inputs))
                  .getMessage();
          assertTrue(message.endsWith("at sample 1, token 2, column 17"), message);
          assertEquals(2, statistics.samples());
          assertArrayEquals(before, statistics.meanSquares(arena).toFloatArray());
          Tensor tokens = Tensor.allocate(arena, DType.U8, 2, 3);
          tokens.fill(1);
          tokens.setLong(0, 1, 2);
          statistics.add(inputs, tokens);
          assertEquals(4, statistics.samples());
        }
      }
    }
  }

  // Gradients.

  @ParameterizedTest
  @MethodSource("tiers")
  void magnitudesAndSquaresOfGradientsAreSummed(Tier tier) {
    Random random = random("gradients");
    for (DType type : TYPES) {
      for (int n : COLUMNS) {
        for (GradientNorm[] norms : NORMS) {
          try (Arena arena = Arena.ofShared()) {
            int rows = 1 + random.nextInt(4);
            List<Tensor> gradients = new ArrayList<>();
            for (int s = 0; s < 3; s++) {
              gradients.add(values(arena, random, type, rows, n));
            }
            GradientStatistics got = statistics(norms, tier, 2, rows, n, arena);
            GradientStatistics scalar = statistics(norms, Tier.SCALAR, 1, rows, n, arena);
            gradients.forEach(got::add);
            gradients.forEach(scalar::add);
            for (GradientNorm norm : norms) {
              float[] values = got.statistic(arena, norm, DType.F32).toFloatArray();
              assertArrayEquals(scalar.statistic(arena, norm, DType.F32).toFloatArray(), values);
              requireNear(
                  values,
                  i -> {
                    double sum = 0;
                    for (Tensor gradient : gradients) {
                      sum += power(norm, 100 * gradient.getDouble(i / n, i % n));
                    }
                    return norm == GradientNorm.L1 ? sum : Math.sqrt(sum);
                  });
            }
          }
        }
      }
    }
  }

  private static double power(GradientNorm norm, double value) {
    return norm == GradientNorm.L1 ? Math.abs(value) : value * value;
  }

  private static GradientStatistics statistics(
      GradientNorm[] norms, Tier tier, int threads, long rows, long columns, Arena arena) {
    return GradientStatistics.builder(rows, columns)
        .norms(norms[0], norms)
        .tier(tier)
        .threads(threads)
        .build(arena);
  }

  /** A few roundings to binary32, each within half a unit in the last place. */
  private static void requireNear(float[] got, IntToDoubleFunction expected) {
    for (int i = 0; i < got.length; i++) {
      double value = expected.applyAsDouble(i);
      assertEquals(value, got[i], 8 * 0x1p-24 * value + Float.MIN_VALUE, "element " + i);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void gradientsThatAreNotFiniteSpoilTheStatistic(Tier tier) {
    Random random = random("bad gradients");
    int n = 37;
    for (GradientNorm[] norms : NORMS) {
      for (float bad : new float[] {Float.NaN, -Float.NaN, Float.NEGATIVE_INFINITY, 3e37f}) {
        for (int column : new int[] {0, 5, n - 1}) {
          try (Arena arena = Arena.ofShared()) {
            GradientStatistics statistics = statistics(norms, tier, 2, 3, n, arena);
            Tensor gradient = values(arena, random, DType.F32, 3, n);
            statistics.add(gradient);
            gradient.setDouble(bad, 2, column);
            String message =
                assertThrows(IllegalArgumentException.class, () -> statistics.add(gradient))
                    .getMessage();
            assertTrue(message.endsWith("at row 2, column " + column), message);
            assertThrows(IllegalStateException.class, () -> statistics.add(gradient));
            assertThrows(
                IllegalStateException.class,
                () -> statistics.statistic(arena, norms[0], DType.F32));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void meansDoNotDependOnTheNumberOfSamples(Tier tier) {
    Random random = random("means");
    try (Arena arena = Arena.ofShared()) {
      Tensor gradient = values(arena, random, DType.F32, 4, 21);
      for (GradientNorm norm : GradientNorm.values()) {
        double alpha = norm == GradientNorm.L1 ? 100 * 128 : 100 * Math.sqrt(128);
        GradientStatistics official =
            GradientStatistics.builder(4, 21).norms(norm).tier(tier).build(arena);
        GradientStatistics mean =
            GradientStatistics.builder(4, 21)
                .norms(norm)
                .scale(GradientScale.perMean(alpha))
                .tier(tier)
                .build(arena);
        for (int s = 0; s < 128; s++) {
          official.add(gradient);
          if (s < 3) {
            mean.add(gradient);
          }
        }
        float[] published = official.statistic(arena, DType.F32).toFloatArray();
        float[] got = mean.statistic(arena, DType.F32).toFloatArray();
        for (int i = 0; i < got.length; i++) {
          assertEquals(published[i], got[i], 128 * 0x1p-24 * published[i]);
        }
      }
    }
  }

  // Gradients out of inputs and output gradients.

  @ParameterizedTest
  @MethodSource("tiers")
  void productsAreTheGradientsOfTheSequences(Tier tier) {
    Random random = random("products");
    int[][] shapes = {{1, 1, 1, 1}, {3, 7, 5, 9}, {2, 5, 193, 9}, {2, 9, 10, 385}, {1, 390, 3, 5}};
    for (int[] shape : shapes) {
      for (GradientNorm[] norms : NORMS) {
        try (Arena arena = Arena.ofShared()) {
          int sequences = shape[0];
          int length = shape[1];
          int m = shape[2];
          int n = shape[3];
          Tensor deltas = values(arena, random, DType.F32, sequences, length, m);
          Tensor inputs = values(arena, random, DType.F32, sequences, length, n);
          Tensor tokens = random.nextBoolean() ? mask(arena, random, sequences, length) : null;
          if (tokens != null) {
            spoilPadding(deltas, tokens);
            spoilPadding(inputs, tokens);
          }
          GradientStatistics got = statistics(norms, tier, 1, m, n, arena);
          GradientProduct.create(arena, 2, tier).add(got, deltas, inputs, tokens);
          assertEquals(sequences, got.samples());
          for (GradientNorm norm : norms) {
            requireProduct(norm, got.statistic(arena, norm, DType.F32), deltas, inputs, tokens);
          }
        }
      }
    }
  }

  private static void spoilPadding(Tensor values, Tensor tokens) {
    for (long row = 0; row < values.rows(); row++) {
      if (tokens.getLong(row / tokens.dim(1), row % tokens.dim(1)) == 0) {
        values.row(row).fill(Double.NaN);
      }
    }
  }

  /** Every gradient summed in double precision, with the bound of its rounding in binary32. */
  private static void requireProduct(
      GradientNorm norm, Tensor got, Tensor deltas, Tensor inputs, Tensor tokens) {
    int length = (int) deltas.dim(1);
    float[][] left = rows(deltas);
    float[][] right = rows(inputs);
    for (int i = 0; i < got.dim(0); i++) {
      for (int j = 0; j < got.dim(1); j++) {
        double sum = 0;
        double error = 0;
        for (int s = 0; s < deltas.dim(0); s++) {
          double g = 0;
          double moduli = 0;
          for (int t = 0; t < length; t++) {
            if (tokens == null || tokens.getLong(s, t) != 0) {
              double product = (double) left[s * length + t][i] * right[s * length + t][j];
              g += product;
              moduli += Math.abs(product);
            }
          }
          double slack = 100 * (length + 4) * 0x1p-24 * moduli;
          sum += power(norm, 100 * g);
          error += norm == GradientNorm.L1 ? slack : 2 * Math.abs(100 * g) * slack + slack * slack;
        }
        error += 8 * 0x1p-24 * sum;
        double value = got.getDouble(i, j);
        assertEquals(
            sum,
            norm == GradientNorm.L1 ? value : value * value,
            error + 0x1p-100,
            norm + " at row " + i + ", column " + j);
      }
    }
  }

  private static float[][] rows(Tensor tensor) {
    float[][] rows = new float[(int) tensor.rows()][];
    for (int i = 0; i < rows.length; i++) {
      rows[i] = tensor.row(i).toFloatArray();
    }
    return rows;
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void productsDependNeitherOnBatchesNorOnThreads(Tier tier) {
    Random random = random("product batches");
    int m = 193;
    int n = 386;
    try (Arena arena = Arena.ofShared()) {
      Tensor deltas = values(arena, random, DType.F32, 3, 4, m);
      Tensor inputs = values(arena, random, DType.F32, 3, 4, n);
      Tensor tokens = mask(arena, random, 3, 4);
      GradientNorm[] both = GradientNorm.values();
      GradientStatistics whole = statistics(both, tier, 1, m, n, arena);
      GradientProduct.create(arena, 1, tier).add(whole, deltas, inputs, tokens);
      GradientProduct product = GradientProduct.create(arena, 3, tier);
      GradientStatistics parts = statistics(both, tier, 1, m, n, arena);
      for (int s = 0; s < 3; s++) {
        product.add(
            parts,
            deltas.rows(4L * s, 4L * (s + 1)),
            inputs.rows(4L * s, 4L * (s + 1)),
            tokens.row(s));
      }
      assertEquals(whole.samples(), parts.samples());
      for (GradientNorm norm : both) {
        assertArrayEquals(
            whole.statistic(arena, norm, DType.F32).toFloatArray(),
            parts.statistic(arena, norm, DType.F32).toFloatArray());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void productsRejectBadInput(Tier tier) {
    Random random = random("bad products");
    try (Arena arena = Arena.ofShared()) {
      GradientProduct product = GradientProduct.create(arena, 1, tier);
      GradientNorm[] l1 = {GradientNorm.L1};
      GradientStatistics statistics = statistics(l1, tier, 1, 3, 20, arena);
      Tensor deltas = values(arena, random, DType.F32, 2, 4, 3);
      Tensor inputs = values(arena, random, DType.F32, 2, 4, 20);
      Tensor wide = values(arena, random, DType.F32, 2, 4, 21);
      Tensor longer = values(arena, random, DType.F32, 2, 5, 20);
      Tensor halves = values(arena, random, DType.F16, 2, 4, 20);
      Tensor mask = mask(arena, random, 4);
      for (Tensor wrong : List.of(wide, longer, halves)) {
        String message =
            assertThrows(
                    IllegalArgumentException.class, () -> product.add(statistics, deltas, wrong))
                .getMessage();
        assertTrue(message.startsWith("inputs: expected "), message);
      }
      assertThrows(
          IllegalArgumentException.class, () -> product.add(statistics, deltas, inputs, mask));
      GradientStatistics official =
          GradientStatistics.builder(3, 20).compat(Compat.OFFICIAL).build(arena);
      assertThrows(IllegalArgumentException.class, () -> product.add(official, deltas, inputs));
      assertEquals(0, statistics.samples());
      product.add(statistics, deltas, inputs);

      inputs.setDouble(Double.NaN, 1, 2, 18);
      String message =
          assertThrows(
                  IllegalArgumentException.class, () -> product.add(statistics, deltas, inputs))
              .getMessage();
      assertEquals(
          "inputs: expected finite values, got NaN at column 18 of token 2 of sequence 1", message);
      assertThrows(
          IllegalStateException.class, () -> statistics.statistic(arena, DType.F32), "spoilt");

      inputs.setDouble(1e30, 1, 2, 18);
      deltas.setDouble(1e30, 1, 2, 1);
      GradientStatistics fresh = statistics(l1, tier, 1, 3, 20, arena);
      message =
          assertThrows(IllegalArgumentException.class, () -> product.add(fresh, deltas, inputs))
              .getMessage();
      assertTrue(message.endsWith("row 1, column 18 of sequence 1"), message);
    }
  }
}
