package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Products and gradients on every tier of this machine: both layouts, weights of all kinds, rows
 * with gaps, and channel counts around the width of a vector, against the formula.
 */
class GauntProductContractTest {
  private static final DType[] TYPES = {DType.F32, DType.F64};

  static Stream<Tier> tiers() {
    return GauntProduct.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static int lanes(Tier tier, DType type) {
    return GauntProduct.algorithm(
            Algorithm.HYBRID,
            new TrilinearForm(new int[3], new double[][] {{1}, {1}, {1}}),
            type,
            tier)
        .channels();
  }

  private static double tolerance(DType type) {
    return type == DType.F32 ? 2e-6 : 1e-12;
  }

  /** Operands of one call and everything that the formula says about them. */
  private static final class Case {
    final int[] d;
    final int rows;
    final int channels;
    final DType type;
    final Layout layout;
    final Tensor[] x = new Tensor[3];
    final @Nullable Tensor[] w = new Tensor[3];
    private final Arena arena;
    private final SplittableRandom random;

    Case(Arena arena, int[] d, int rows, int channels, DType type, Layout layout, long seed) {
      this.arena = arena;
      this.d = d;
      this.rows = rows;
      this.channels = channels;
      this.type = type;
      this.layout = layout;
      random = new SplittableRandom(seed);
      for (int i = 0; i < 3; i++) {
        x[i] = coefficients(i);
        fill(x[i]);
      }
    }

    void fill(Tensor tensor) {
      for (long r = 0; r < tensor.rows(); r++) {
        for (long c = 0; c < tensor.rowLength(); c++) {
          Cells.set(
              tensor.memory(),
              type,
              (r * tensor.rowStride() + c) * type.bytes(),
              random.nextDouble(-1, 1));
        }
      }
    }

    Tensor coefficients(int operand) {
      int n = (d[operand] + 1) * (d[operand] + 1);
      return layout == Layout.IR_MUL
          ? strided(rows, n, channels)
          : strided(rows, (long) n * channels);
    }

    /** Not aligned to a vector, and with a gap of up to two elements behind each row. */
    Tensor strided(long... shape) {
      long row = shape[shape.length - 1] + random.nextInt(3);
      long count = 1;
      for (int i = 0; i < shape.length - 1; i++) {
        count *= shape[i];
      }
      MemorySegment memory = arena.allocate((row * count + 1) * type.bytes() + 64, 64);
      return Tensor.of(memory.asSlice(type.bytes()), type, row, shape);
    }

    void weights(int operand, boolean perRow) {
      Tensor tensor =
          perRow ? strided(rows, d[operand] + 1, channels) : strided(d[operand] + 1, channels);
      fill(tensor);
      w[operand] = tensor;
    }

    ProductWeights weights() {
      return new ProductWeights(w[0], w[1], w[2]);
    }

    double get(Tensor tensor, int row, int l, int i, int c) {
      if (layout == Layout.MUL_IR) {
        return tensor.getDouble(
            row, ((long) l * l) * channels + c * (2L * l + 1) + i - (long) l * l);
      }
      return tensor.rank() == 2 ? tensor.getDouble(row, i) : tensor.getDouble(row, i, c);
    }

    double weight(int operand, int row, int l, int c) {
      Tensor tensor = w[operand];
      return tensor == null
          ? 1
          : tensor.rank() == 3 ? tensor.getDouble(row, l, c) : tensor.getDouble(l, c);
    }

    /** By operand, row, channel and component: the derivatives of T, before the target's weight. */
    double[][][][] derivatives() {
      Couplings couplings = GauntCoefficients.table(d[0], d[1], d[2]);
      double[][][][] t = new double[3][rows][channels][];
      for (int row = 0; row < rows; row++) {
        for (int c = 0; c < channels; c++) {
          double[][] weighted = new double[3][];
          for (int operand = 0; operand < 3; operand++) {
            weighted[operand] = new double[(d[operand] + 1) * (d[operand] + 1)];
            t[operand][row][c] = new double[weighted[operand].length];
            for (int i = 0; i < weighted[operand].length; i++) {
              int l = (int) Math.sqrt(i);
              weighted[operand][i] = weight(operand, row, l, c) * get(x[operand], row, l, i, c);
            }
          }
          for (int e = 0; e < couplings.size(); e++) {
            int i = couplings.first(e);
            int j = couplings.second(e);
            int k = couplings.out(e);
            double v = couplings.value(e);
            t[0][row][c][i] += v * weighted[1][j] * weighted[2][k];
            t[1][row][c][j] += v * weighted[0][i] * weighted[2][k];
            t[2][row][c][k] += v * weighted[0][i] * weighted[1][j];
          }
        }
      }
      return t;
    }

    /** Compares coefficients with derivatives by an operand, times its weights. */
    void compare(String what, Tensor got, int operand, double[][][][] t) {
      double most = 0;
      double error = 0;
      for (int row = 0; row < rows; row++) {
        for (int c = 0; c < channels; c++) {
          for (int i = 0; i < t[operand][row][c].length; i++) {
            int l = (int) Math.sqrt(i);
            double expected = weight(operand, row, l, c) * t[operand][row][c][i];
            most = Math.max(most, Math.abs(expected));
            error = Math.max(error, worse(get(got, row, l, i, c), expected));
          }
        }
      }
      assertSmall(what, error, most);
    }

    void compareWeights(String what, Tensor got, int operand, double[][][][] t) {
      double most = 0;
      double error = 0;
      boolean perRow = got.rank() == 3;
      for (int l = 0; l <= d[operand]; l++) {
        for (int c = 0; c < channels; c++) {
          double sum = 0;
          for (int row = 0; row < rows; row++) {
            sum = perRow ? 0 : sum;
            for (int i = l * l; i < (l + 1) * (l + 1); i++) {
              sum += get(x[operand], row, l, i, c) * t[operand][row][c][i];
            }
            if (perRow || row == rows - 1) {
              double value = perRow ? got.getDouble(row, l, c) : got.getDouble(l, c);
              most = Math.max(most, Math.abs(sum));
              error = Math.max(error, worse(value, sum));
            }
          }
        }
      }
      assertSmall(what, error, most);
    }

    private static double worse(double got, double expected) {
      double error = Math.abs(got - expected);
      return Double.isNaN(error) ? Double.POSITIVE_INFINITY : error;
    }

    void assertSmall(String what, double error, double most) {
      assertTrue(
          error <= tolerance(type) * most,
          () -> what + ": error " + error + " beside values up to " + most);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void agreesWithTheFormulaInBothLayoutsForAllWeightsAndChannelCounts(Tier tier) {
    int[][] degrees = {{2, 1, 3}, {1, 1, 4}, {0, 2, 2}, {2, 3, 3}, {3, 1, 0}};
    for (int seed = 0; seed < 60; seed++) {
      SplittableRandom random = new SplittableRandom(seed);
      DType type = TYPES[seed % 2];
      int w = lanes(tier, type);
      int[] counts = {1, 2, w - 1, w, w + 1, 4 * w + 3, 2 * w};
      Layout layout = Layout.values()[random.nextInt(2)];
      int channels = counts[random.nextInt(counts.length)];
      int rows = random.nextInt(4);
      int[] d = degrees[random.nextInt(degrees.length)];
      Algorithm algorithm = random.nextBoolean() ? Algorithm.DIRECT : Algorithm.HYBRID;
      String what =
          tier
              + " seed "
              + seed
              + " "
              + Arrays.toString(d)
              + " "
              + rows
              + "x"
              + channels
              + " "
              + type
              + " "
              + layout
              + " "
              + algorithm;
      try (Arena arena = Arena.ofConfined();
          GauntWorkspace workspace = new GauntWorkspace()) {
        Case c = new Case(arena, d, rows, channels, type, layout, seed);
        boolean all = random.nextBoolean();
        for (int i = 0; i < 3; i++) {
          if (all || random.nextInt(3) == 0) {
            c.weights(i, random.nextBoolean());
          }
        }
        GauntProduct product =
            GauntProduct.builder(d[0], d[1], d[2])
                .type(type)
                .layout(layout)
                .tier(tier)
                .algorithm(algorithm)
                .build();
        double[][][][] t = c.derivatives();
        Tensor out = c.coefficients(2);
        out.fill(Double.NaN);
        product.multiply(c.x[0], c.x[1], c.weights(), out, workspace);
        c.compare(what, out, 2, t);

        Tensor[] gx = {c.coefficients(0), c.coefficients(1)};
        Tensor[] gw = new Tensor[3];
        for (int i = 0; i < 3; i++) {
          Tensor weights = c.w[i];
          if (weights != null) {
            gw[i] = c.strided(weights.shape());
            gw[i].fill(Double.NaN);
          }
        }
        gx[0].fill(Double.NaN);
        gx[1].fill(Double.NaN);
        boolean one = random.nextInt(4) == 0;
        product.gradients(
            c.x[0],
            c.x[1],
            c.weights(),
            c.x[2],
            new ProductGradients(gx[0], one ? null : gx[1], gw[0], gw[1], gw[2]),
            workspace);
        c.compare(what + " gx1", gx[0], 0, t);
        if (!one) {
          c.compare(what + " gx2", gx[1], 1, t);
        }
        for (int i = 0; i < 3; i++) {
          if (gw[i] != null) {
            c.compareWeights(what + " gw" + (i + 1), gw[i], i, t);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void highDegreesMultiplyPointByPointToRoundingError(Tier tier) {
    for (int degree : new int[] {10, 16}) {
      try (Arena arena = Arena.ofConfined();
          GauntWorkspace workspace = new GauntWorkspace()) {
        int[] d = {degree, degree, 2 * degree};
        Case exact = new Case(arena, d, 1, 2, DType.F64, Layout.IR_MUL, degree);
        Case single = new Case(arena, d, 1, 2, DType.F32, Layout.IR_MUL, degree);
        for (int i = 0; i < 3; i++) {
          for (long k = 0; k < exact.x[i].dim(1); k++) {
            for (int c = 0; c < 2; c++) {
              exact.x[i].setDouble(single.x[i].getDouble(0, k, c), 0, k, c);
            }
          }
        }
        GauntProduct.Builder builder = GauntProduct.builder(d[0], d[1], d[2]).tier(tier);
        Tensor[] doubles = results(exact, builder.type(DType.F64).build(), workspace);
        Tensor[] floats = results(single, builder.type(DType.F32).build(), workspace);
        for (int i = 0; i < 3; i++) {
          double error = 0;
          double size = 0;
          for (long k = 0; k < doubles[i].dim(1); k++) {
            for (int c = 0; c < 2; c++) {
              double expected = doubles[i].getDouble(0, k, c);
              error += Math.pow(floats[i].getDouble(0, k, c) - expected, 2);
              size += expected * expected;
            }
          }
          double relative = Math.sqrt(error / size);
          double bound = degree <= 10 ? 5e-7 : 1e-6;
          assertTrue(
              relative <= bound, tier + " degree " + degree + " result " + i + ": " + relative);
        }
        Tensor direction = Tensor.copyOf(arena, new double[] {0.3, -0.5, 0.7}, 1, 3);
        Tensor harmonics = Tensor.allocate(arena, DType.F64, 1, doubles[2].dim(1));
        SphericalHarmonics.builder(2 * degree).build().values(direction, harmonics);
        for (int c = 0; c < 2; c++) {
          double product = at(exact.x[0], harmonics, c) * at(exact.x[1], harmonics, c);
          assertEquals(product, at(doubles[2], harmonics, c), 1e-12, tier + " degree " + degree);
        }
        // <Gaunt(x1, x2), g> is the same form in any of the three.
        double form = SphereFunctions.dot(doubles[2], exact.x[2]);
        assertEquals(form, SphereFunctions.dot(doubles[0], exact.x[0]), 1e-12 * Math.abs(form));
        assertEquals(form, SphereFunctions.dot(doubles[1], exact.x[1]), 1e-12 * Math.abs(form));
      }
    }
  }

  /** The gradients by the inputs, and the product. */
  private static Tensor[] results(Case c, GauntProduct product, GauntWorkspace workspace) {
    Tensor[] results = {c.coefficients(0), c.coefficients(1), c.coefficients(2)};
    product.multiply(c.x[0], c.x[1], ProductWeights.NONE, results[2], workspace);
    product.gradients(
        c.x[0],
        c.x[1],
        ProductWeights.NONE,
        c.x[2],
        ProductGradients.ofInputs(results[0], results[1]),
        workspace);
    return results;
  }

  /** The value of a function in the direction of some harmonics. */
  private static double at(Tensor x, Tensor harmonics, int channel) {
    double sum = 0;
    for (long k = 0; k < x.dim(1); k++) {
      sum += x.getDouble(0, k, channel) * harmonics.getDouble(0, k);
    }
    return sum;
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void oneFunctionServesAllChannels(Tier tier) {
    for (DType type : TYPES) {
      int w = lanes(tier, type);
      for (int channels : new int[] {1, 3, w, 2 * w + 5}) {
        try (Arena arena = Arena.ofConfined();
            GauntWorkspace workspace = new GauntWorkspace()) {
          int[] d = {2, 1, 2};
          Case c = new Case(arena, d, 3, channels, type, Layout.IR_MUL, channels);
          c.x[1] = c.strided(3, 4);
          c.fill(c.x[1]);
          c.weights(1, channels == 3);
          GauntProduct product = GauntProduct.builder(2, 1, 2).type(type).tier(tier).build();
          Tensor out = c.coefficients(2);
          product.multiply(c.x[0], c.x[1], c.weights(), out, workspace);
          double[][][][] t = c.derivatives();
          String what = tier + " " + type + " " + channels + " channels";
          c.compare(what, out, 2, t);
          Tensor gx1 = c.coefficients(0);
          Tensor gx2 = c.strided(3, 4);
          product.gradients(
              c.x[0], c.x[1], c.weights(), c.x[2], ProductGradients.ofInputs(gx1, gx2), workspace);
          c.compare(what, gx1, 0, t);
          double most = 0;
          double error = 0;
          for (int row = 0; row < 3; row++) {
            for (int j = 0; j < 4; j++) {
              double sum = 0;
              for (int channel = 0; channel < channels; channel++) {
                sum += c.weight(1, row, (int) Math.sqrt(j), channel) * t[1][row][channel][j];
              }
              most = Math.max(most, Math.abs(sum));
              error = Math.max(error, Math.abs(sum - gx2.getDouble(row, j)));
            }
          }
          c.assertSmall(what + " shared gradient", error, most);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void gradientsOfGradientsAreFiniteDifferences(Tier tier) {
    try (Arena arena = Arena.ofConfined();
        GauntWorkspace workspace = new GauntWorkspace()) {
      int[] d = {2, 1, 2};
      Case c = new Case(arena, d, 2, 3, DType.F64, Layout.IR_MUL, 7);
      c.weights(0, false);
      c.weights(1, true);
      c.weights(2, false);
      GauntProduct product = GauntProduct.builder(2, 1, 2).type(DType.F64).tier(tier).build();
      Tensor h1 = c.coefficients(0);
      Tensor h2 = c.coefficients(1);
      c.fill(h1);
      c.fill(h2);
      Tensor gx1 = c.coefficients(0);
      Tensor gx2 = c.coefficients(1);
      // S as a function of what the tensors hold now.
      ToDoubleFunction<Case> s =
          now -> {
            product.gradients(
                now.x[0],
                now.x[1],
                now.weights(),
                now.x[2],
                ProductGradients.ofInputs(gx1, gx2),
                workspace);
            return SphereFunctions.dot(h1, gx1) + SphereFunctions.dot(h2, gx2);
          };
      Tensor[] operands = {
        c.x[0], c.x[1], nonNull(c.w[0]), nonNull(c.w[1]), nonNull(c.w[2]), c.x[2]
      };
      Tensor[] second = new Tensor[operands.length];
      for (int i = 0; i < second.length; i++) {
        second[i] = c.strided(operands[i].shape());
        second[i].fill(Double.NaN);
      }
      product.secondGradients(
          c.x[0],
          c.x[1],
          c.weights(),
          c.x[2],
          h1,
          h2,
          new ProductGradients(second[0], second[1], second[2], second[3], second[4]),
          second[5],
          workspace);
      for (int i = 0; i < operands.length; i++) {
        differences(tier + " operand " + i, c, operands[i], second[i], s);
      }
    }
  }

  private static Tensor nonNull(@Nullable Tensor tensor) {
    return java.util.Objects.requireNonNull(tensor);
  }

  /** Central differences: exact but for rounding where S is quadratic in one operand at most. */
  private static void differences(
      String what, Case c, Tensor operand, Tensor derivative, ToDoubleFunction<Case> s) {
    double h = 1e-3;
    for (long r = 0; r < operand.rows(); r++) {
      for (long k = 0; k < operand.rowLength(); k++) {
        long at = (r * operand.rowStride() + k) * Double.BYTES;
        double value = Cells.get(operand.memory(), DType.F64, at);
        Cells.set(operand.memory(), DType.F64, at, value + h);
        double up = s.applyAsDouble(c);
        Cells.set(operand.memory(), DType.F64, at, value - h);
        double down = s.applyAsDouble(c);
        Cells.set(operand.memory(), DType.F64, at, value);
        long derivativeAt = (r * derivative.rowStride() + k) * Double.BYTES;
        double got = Cells.get(derivative.memory(), DType.F64, derivativeAt);
        assertEquals((up - down) / (2 * h), got, 1e-9, what);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void termsOfSeparableWeightsAdd(Tier tier) {
    try (Arena arena = Arena.ofConfined();
        GauntWorkspace workspace = new GauntWorkspace()) {
      for (int channels : new int[] {3, 37}) {
        Case c = new Case(arena, new int[] {2, 2, 3}, 2, channels, DType.F64, Layout.IR_MUL, 3);
        GauntProduct product = GauntProduct.builder(2, 2, 3).type(DType.F64).tier(tier).build();
        List<ProductWeights> terms = new ArrayList<>();
        double[] sum = new double[2 * 16 * channels];
        for (int r = 0; r < 3; r++) {
          for (int i = 0; i < 3; i++) {
            c.weights(i, r == 1);
          }
          terms.add(c.weights());
          Tensor one = c.coefficients(2);
          product.multiply(c.x[0], c.x[1], c.weights(), one, workspace);
          double[] values = one.toDoubleArray();
          for (int i = 0; i < sum.length; i++) {
            sum[i] += values[i];
          }
        }
        Tensor out = c.coefficients(2);
        out.fill(Double.NaN);
        product.multiply(c.x[0], c.x[1], terms, out, workspace);
        assertArrayEquals(sum, out.toDoubleArray(), 1e-13);
        assertMessage(
            "terms: expected at least one, got none",
            () -> product.multiply(c.x[0], c.x[1], List.of(), out, workspace));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void basesScaleCoefficients(Tier tier) {
    try (Arena arena = Arena.ofConfined();
        GauntWorkspace workspace = new GauntWorkspace()) {
      Case c = new Case(arena, new int[] {2, 2, 3}, 1, 2, DType.F64, Layout.IR_MUL, 5);
      Normalization[] bases = {Normalization.NORM, Normalization.COMPONENT, Normalization.NORM};
      for (int i = 0; i < 3; i++) {
        c.w[i] = c.strided(c.d[i] + 1, 2);
      }
      for (boolean projection : new boolean[] {false, true}) {
        for (int i = 0; i < 3; i++) {
          for (int l = 0; l <= c.d[i]; l++) {
            double a = bases[i].factor(l);
            for (int channel = 0; channel < 2; channel++) {
              nonNull(c.w[i]).setDouble(i == 2 && !projection ? 1 / a : a, l, channel);
            }
          }
        }
        GauntProduct.Builder builder = GauntProduct.builder(2, 2, 3).type(DType.F64).tier(tier);
        Tensor expected = c.coefficients(2);
        builder.build().multiply(c.x[0], c.x[1], c.weights(), expected, workspace);
        builder.normalization(bases[0], bases[1], bases[2]);
        if (projection) {
          builder.projection();
        }
        Tensor out = c.coefficients(2);
        builder.build().multiply(c.x[0], c.x[1], out);
        assertArrayEquals(expected.toDoubleArray(), out.toDoubleArray(), 1e-13);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void moreNodesThanNeededChangeNothing(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      Case c = new Case(arena, new int[] {2, 2, 4}, 2, 3, DType.F64, Layout.IR_MUL, 5);
      for (int nodes : new int[] {5, 6, 7, 12}) {
        Tensor out = c.coefficients(2);
        GauntProduct.builder(2, 2, 4)
            .type(DType.F64)
            .tier(tier)
            .algorithm(Algorithm.HYBRID)
            .nodes(nodes)
            .build()
            .multiply(c.x[0], c.x[1], out);
        c.compare(tier + " " + nodes + " nodes", out, 2, c.derivatives());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theConstantFunctionIsTheIdentityInTheComponentBasis(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      Case c = new Case(arena, new int[] {3, 0, 3}, 2, 20, DType.F64, Layout.IR_MUL, 5);
      c.x[1].fill(1);
      Tensor out = c.coefficients(2);
      GauntProduct.builder(3, 0, 3)
          .type(DType.F64)
          .tier(tier)
          .normalization(Normalization.COMPONENT)
          .build()
          .multiply(c.x[0], c.x[1], out);
      assertArrayEquals(c.x[0].toDoubleArray(), out.toDoubleArray(), 1e-14);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void bitsDependNeitherOnThreadsNorOnTheRunNorOnTheTile(Tier tier) {
    try (Arena arena = Arena.ofShared();
        GauntWorkspace workspace = new GauntWorkspace()) {
      int channels = 2 * lanes(tier, DType.F32) + 5;
      Case c = new Case(arena, new int[] {2, 2, 4}, 150, channels, DType.F32, Layout.IR_MUL, 11);
      c.weights(0, false);
      c.weights(2, true);
      List<float[]> first = null;
      for (int threads : new int[] {1, 2, 3, 1}) {
        GauntProduct product = GauntProduct.builder(2, 2, 4).tier(tier).threads(threads).build();
        Tensor out = c.coefficients(2);
        Tensor gx1 = c.coefficients(0);
        Tensor gx2 = c.coefficients(1);
        Tensor gw1 = c.strided(nonNull(c.w[0]).shape());
        Tensor gw3 = c.strided(nonNull(c.w[2]).shape());
        product.multiply(c.x[0], c.x[1], c.weights(), out, workspace);
        product.gradients(
            c.x[0],
            c.x[1],
            c.weights(),
            c.x[2],
            new ProductGradients(gx1, gx2, gw1, null, gw3),
            workspace);
        List<float[]> results =
            Stream.of(out, gx1, gx2, gw1, gw3).map(Tensor::toFloatArray).toList();
        if (first != null) {
          for (int i = 0; i < results.size(); i++) {
            assertArrayEquals(first.get(i), results.get(i), 0, threads + " threads, result " + i);
          }
        }
        first = results;
        // The same channel alone, in another lane of another tile.
        Case alone = new Case(arena, c.d, 150, 1, DType.F32, Layout.IR_MUL, 1);
        for (int i = 0; i < 2; i++) {
          for (int row = 0; row < 150; row++) {
            for (int k = 0; k < 9; k++) {
              alone.x[i].setDouble(c.x[i].getDouble(row, k, channels - 2), row, k, 0);
            }
          }
        }
        Tensor one = alone.coefficients(2);
        Tensor all = c.coefficients(2);
        product.multiply(alone.x[0], alone.x[1], one);
        product.multiply(c.x[0], c.x[1], all);
        for (int row = 0; row < 150; row++) {
          for (int k = 0; k < 25; k++) {
            assertEquals(all.getDouble(row, k, channels - 2), one.getDouble(row, k, 0));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void weightsByPathMultiplyPaths(Tier tier) {
    for (int seed = 0; seed < 8; seed++) {
      DType type = TYPES[seed % 2];
      int channels = seed % 4 < 2 ? 3 : lanes(tier, type) + 2;
      int[] d = seed < 4 ? new int[] {2, 1, 2} : new int[] {2, 2, 4};
      try (Arena arena = Arena.ofConfined();
          GauntWorkspace workspace = new GauntWorkspace()) {
        Case c = new Case(arena, d, 3, channels, type, Layout.values()[seed / 2 % 2], seed);
        c.weights(1, false);
        GauntProduct product =
            GauntProduct.builder(d[0], d[1], d[2])
                .type(type)
                .layout(c.layout)
                .tier(tier)
                .pathWeights()
                .build();
        List<ProductPath> paths = product.paths();
        Tensor w =
            seed < 4 ? c.strided(paths.size(), channels) : c.strided(3, paths.size(), channels);
        c.fill(w);
        ProductWeights weights = new ProductWeights(null, c.w[1], null, w);
        double[][][][] t = new double[3][3][channels][];
        double[][][] expected = new double[3][paths.size()][channels];
        Couplings couplings = GauntCoefficients.table(d[0], d[1], d[2]);
        for (int row = 0; row < 3; row++) {
          for (int ch = 0; ch < channels; ch++) {
            for (int i = 0; i < 3; i++) {
              t[i][row][ch] = new double[(d[i] + 1) * (d[i] + 1)];
            }
            for (int e = 0; e < couplings.size(); e++) {
              int i = couplings.first(e);
              int j = couplings.second(e);
              int k = couplings.out(e);
              int[] l = {(int) Math.sqrt(i), (int) Math.sqrt(j), (int) Math.sqrt(k)};
              int path = paths.indexOf(new ProductPath(l[0], l[1], l[2]));
              double x1 = c.get(c.x[0], row, l[0], i, ch);
              double x2 = c.get(c.x[1], row, l[1], j, ch) * c.weight(1, row, l[1], ch);
              double g = c.get(c.x[2], row, l[2], k, ch);
              double v = couplings.value(e);
              double weight = seed < 4 ? w.getDouble(path, ch) : w.getDouble(row, path, ch);
              t[0][row][ch][i] += v * weight * x2 * g;
              t[1][row][ch][j] += v * weight * x1 * g;
              t[2][row][ch][k] += v * weight * x1 * x2;
              expected[row][path][ch] += v * x1 * x2 * g;
            }
          }
        }
        String what = tier + " seed " + seed;
        Tensor out = c.coefficients(2);
        product.multiply(c.x[0], c.x[1], weights, out, workspace);
        c.compare(what, out, 2, t);
        Tensor gx1 = c.coefficients(0);
        Tensor gx2 = c.coefficients(1);
        Tensor gw2 = c.strided(nonNull(c.w[1]).shape());
        Tensor gw = c.strided(w.shape());
        product.gradients(
            c.x[0],
            c.x[1],
            weights,
            c.x[2],
            new ProductGradients(gx1, gx2, null, gw2, null, gw),
            workspace);
        c.compare(what + " gx1", gx1, 0, t);
        c.compare(what + " gx2", gx2, 1, t);
        c.compareWeights(what + " gw2", gw2, 1, t);
        double error = 0;
        for (int path = 0; path < paths.size(); path++) {
          for (int ch = 0; ch < channels; ch++) {
            double sum = 0;
            for (int row = 0; row < 3; row++) {
              sum = (seed < 4 ? sum : 0) + expected[row][path][ch];
              if (seed >= 4 || row == 2) {
                double got = seed < 4 ? gw.getDouble(path, ch) : gw.getDouble(row, path, ch);
                error = Math.max(error, Case.worse(got, sum));
              }
            }
          }
        }
        c.assertSmall(what + " gradient by path", error, 1);
      }
    }
  }

  @Test
  void refusesPathsThatTheProductDoesNotHave() {
    assertMessage(
        "path 1,1,1 has zero Gaunt coefficient; use the cross product",
        () -> new ProductPath(1, 1, 1));
    assertMessage(
        "path: expected degrees >= 0 with |l1 - l2| <= l3 <= l1 + l2, got 1,1,3",
        () -> new ProductPath(1, 1, 3));
    try (Arena arena = Arena.ofConfined();
        GauntWorkspace workspace = new GauntWorkspace()) {
      Tensor x = Tensor.allocate(arena, DType.F32, 1, 4, 2);
      Tensor out = Tensor.allocate(arena, DType.F32, 1, 4, 2);
      Tensor w = Tensor.allocate(arena, DType.F32, 3, 2);
      assertMessage(
          "paths: expected none, as the product was not built with path weights, got " + w,
          () ->
              GauntProduct.builder(1, 1, 1)
                  .build()
                  .multiply(x, x, ProductWeights.ofPaths(w), out, workspace));
      GauntProduct product = GauntProduct.builder(1, 1, 1).pathWeights().build();
      assertEquals(
          List.of(
              new ProductPath(0, 0, 0),
              new ProductPath(0, 1, 1),
              new ProductPath(1, 0, 1),
              new ProductPath(1, 1, 0)),
          product.paths());
      assertMessage(
          "weights: expected weights by path, for which the product was built, got none",
          () -> product.multiply(x, x, out));
      assertMessage(
          "paths: expected [4, 2] or [1, 4, 2] for 4 paths, got " + w,
          () -> product.multiply(x, x, ProductWeights.ofPaths(w), out, workspace));
    }
  }

  @Test
  void plansSayWhatTheyChoseAndWhy() {
    GauntProduct low = GauntProduct.builder(1, 1, 2).build();
    GauntProduct high = GauntProduct.builder(8, 8, 16).build();
    assertEquals(Algorithm.HYBRID, high.algorithm());
    assertTrue(low.why().startsWith(low.algorithm() + ": least cost; "), low.why());
    GauntProduct demanded = GauntProduct.builder(1, 1, 2).algorithm(Algorithm.HYBRID).build();
    assertTrue(demanded.why().startsWith("HYBRID: demanded; "), demanded.why());
    for (int[] d : new int[][] {{0, 0, 0}, {1, 2, 2}, {3, 3, 6}, {4, 2, 5}, {4, 4, 8}}) {
      TrilinearForm form =
          new TrilinearForm(d, new double[][] {ones(d[0]), ones(d[1]), ones(d[2])});
      int size = GauntCoefficients.table(d[0], d[1], d[2]).size();
      assertEquals(size, (double) CostModel.coefficients(form), size * 0.01, Arrays.toString(d));
    }
  }

  private static double[] ones(int degree) {
    double[] ones = new double[degree + 1];
    Arrays.fill(ones, 1);
    return ones;
  }

  @Test
  void refusesBadSettings() {
    assertMessage("degree1: expected 0 to 32, got -1", () -> GauntProduct.builder(-1, 0, 0));
    assertMessage("degree3: expected 0 to 32, got 33", () -> GauntProduct.builder(2, 2, 33));
    assertMessage(
        "type: expected F32 or F64, got BF16",
        () -> GauntProduct.builder(1, 1, 1).type(DType.BF16));
    assertMessage(
        "threads: expected at least 1, got 0", () -> GauntProduct.builder(1, 1, 1).threads(0));
    assertMessage(
        "nodes: expected at least 9, which integrate degree 16 exactly, got 8: fewer would break"
            + " equivariance",
        () -> GauntProduct.builder(4, 4, 8).nodes(8).build());
    assertEquals(Algorithm.HYBRID, GauntProduct.builder(4, 4, 8).nodes(9).build().algorithm());
  }

  @Test
  void whatTheAlgorithmDoesNotSampleCannotBeSet() {
    for (Algorithm algorithm : new Algorithm[] {Algorithm.DIRECT, Algorithm.POINTS}) {
      assertMessage(
          "nodes: expected one of the algorithms that have them, HYBRID or GRID, got " + algorithm,
          () -> GauntProduct.builder(2, 2, 4).algorithm(algorithm).nodes(9).build());
      assertMessage(
          "azimuths: expected one of the algorithms that have them, GRID or FOURIER, got "
              + algorithm,
          () -> GauntProduct.builder(2, 2, 4).algorithm(algorithm).azimuths(20).build());
    }
    assertMessage(
        "azimuths: expected at least 9, which integrate degree 8 exactly, got 8: fewer would break"
            + " equivariance",
        () -> GauntProduct.builder(2, 2, 4).algorithm(Algorithm.GRID).azimuths(8).build());
    assertMessage(
        "azimuths: expected at least 13, which integrate degree 8 exactly, got 12: fewer would"
            + " break equivariance",
        () -> GauntProduct.builder(2, 2, 4).algorithm(Algorithm.FOURIER).azimuths(12).build());
    assertEquals(
        Algorithm.GRID, GauntProduct.builder(2, 2, 4).nodes(6).azimuths(11).build().algorithm());
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void moreThanNeededChangesNothingButTheCost(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      Case c = new Case(arena, new int[] {2, 3, 4}, 1, 17, DType.F64, Layout.IR_MUL, 8);
      Tensor out = c.coefficients(2);
      GauntProduct.Builder builder = GauntProduct.builder(2, 3, 4).type(DType.F64).tier(tier);
      builder.algorithm(Algorithm.GRID).nodes(7).azimuths(13).build().multiply(c.x[0], c.x[1], out);
      c.compare(tier + " GRID", out, 2, c.derivatives());
      out.fill(0);
      builder.algorithm(Algorithm.FOURIER).nodes(0).azimuths(17).build();
      builder.build().multiply(c.x[0], c.x[1], out);
      c.compare(tier + " FOURIER", out, 2, c.derivatives());
      String why = GauntProduct.builder(2, 2, 4).tier(tier).nodes(6).build().why();
      assertTrue(why.contains("GRID") && !why.contains("POINTS"), why);
    }
  }

  @Test
  void theCostsOfAllAlgorithmsAreTold() {
    GauntProduct product = GauntProduct.builder(3, 3, 6).build();
    String why = product.why();
    for (Algorithm algorithm : Algorithm.values()) {
      assertTrue(why.contains(algorithm.name()), why);
    }
    // The first line of the table is the choice.
    assertTrue(why.split("\\R")[1].startsWith(product.algorithm().name()), why);
  }

  @Test
  void irrepsMustFitOneAnother() {
    GauntProduct product = of("8x0e+8x1o", "8x0e+8x1o+8x2e", "8x0e+8x1o").build();
    assertEquals(Layout.MUL_IR, product.layout());
    assertEquals(2, product.degree(1));
    assertEquals(1, of("2x0o+2x1e", "2x0o+2x1e", "2x0e+2x1o").build().degree(2));
    assertMessage(
        "irreps: expected natural parity in all blocks or in none, got 2x0e+2x1e; split it into"
            + " 2x0e and 2x1e",
        () -> of("2x0e+2x1e", "2x0e", "2x0e"));
    assertMessage(
        "x2: expected 2 copies to meet x1 2x0e+2x1o, got 3x0e",
        () -> of("2x0e+2x1o", "3x0e", "2x0e"));
    assertMessage(
        "x1: expected 2 copies of every degree, as of 2x0e, got 3x1o in 2x0e+3x1o",
        () -> of("2x0e+3x1o", "2x0e", "2x0e"));
    assertMessage(
        "x1: expected every degree once, got degree 0 again in 2x0e+2x0e+2x1o",
        () -> of("2x0e+2x0e+2x1o", "2x0e", "2x0e"));
    assertMessage("x2: expected irreps, got none in ''", () -> of("2x0e", "", "2x0e"));
    assertMessage(
        "out: expected pseudo parity from 2x0e+2x1o and 2x0o, got 2x0e; the other parity is that of"
            + " CrossProduct",
        () -> of("2x0e+2x1o", "2x0o", "2x0e"));
    assertMessage(
        "out: expected degrees with a path from 2x1o and 2x2e, got 2e, for which l1 + l2 + l3 is odd"
            + " or no triangle throughout",
        () -> of("2x1o", "2x2e", "2x1o+2x2e"));
    assertMessage(
        "layout: expected MUL_IR for irreps with degrees 1 alone or in another order, got IR_MUL",
        () -> of("2x1o", "2x1o", "2x0e+2x2e").layout(Layout.IR_MUL).build());
    Irreps vector = Irreps.parse("2x1o");
    assertMessage(
        "out: expected pseudo parity from 2x1o and 2x1o, got 2x0e; the other parity is that of"
            + " GauntProduct",
        () -> CrossProduct.builder(vector, vector, Irreps.parse("2x0e")));
    assertMessage(
        "out: expected degrees with a path from 2x1o and 2x1o, got 2o, for which l1 + l2 + l3 is"
            + " even or no triangle throughout",
        () -> CrossProduct.builder(vector, vector, Irreps.parse("2x2o")));
    assertEquals(1, CrossProduct.builder(vector, vector, Irreps.parse("2x1e")).build().degree(2));
  }

  /** Irreps with gaps and out of order give what the full product gives of zeros. */
  @ParameterizedTest
  @MethodSource("tiers")
  void degreesThatIrrepsLackAreZero(Tier tier) {
    Irreps[] part = {
      Irreps.parse("5x2e+5x0e"), Irreps.parse("5x1o+5x3o"), Irreps.parse("5x1o+5x5o")
    };
    Irreps[] full = {Irreps.natural(5, 2), Irreps.natural(5, 3), Irreps.natural(5, 5)};
    GauntProduct small = GauntProduct.builder(part[0], part[1], part[2]).tier(tier).build();
    GauntProduct large = GauntProduct.builder(full[0], full[1], full[2]).tier(tier).build();
    SplittableRandom random = new SplittableRandom(17);
    try (Arena arena = Arena.ofConfined();
        GauntWorkspace workspace = new GauntWorkspace()) {
      Tensor[] x = new Tensor[3];
      Tensor[] wide = new Tensor[3];
      for (int i = 0; i < 3; i++) {
        x[i] = Tensor.allocate(arena, DType.F32, 3, part[i].dimension());
        wide[i] = Tensor.allocate(arena, DType.F32, 3, full[i].dimension());
        for (int row = 0; row < 3; row++) {
          for (int k = 0; k < part[i].dimension(); k++) {
            x[i].setDouble(random.nextDouble(-1, 1), row, k);
          }
        }
        copy(part[i], x[i], full[i], wide[i]);
      }
      Tensor out = Tensor.allocate(arena, DType.F32, x[2].shape());
      Tensor wideOut = Tensor.allocate(arena, DType.F32, wide[2].shape());
      small.multiply(x[0], x[1], out);
      large.multiply(wide[0], wide[1], wideOut);
      assertSame(part[2], out, full[2], wideOut);
      ProductGradients gradients = gradients(arena, x);
      ProductGradients wideGradients = gradients(arena, wide);
      small.gradients(x[0], x[1], ProductWeights.NONE, x[2], gradients, workspace);
      large.gradients(wide[0], wide[1], ProductWeights.NONE, wide[2], wideGradients, workspace);
      for (int i = 0; i < 2; i++) {
        assertSame(part[i], gradients.input(i), full[i], wideGradients.input(i));
      }
    }
  }

  private static ProductGradients gradients(Arena arena, Tensor[] x) {
    return ProductGradients.ofInputs(
        Tensor.allocate(arena, DType.F32, x[0].shape()),
        Tensor.allocate(arena, DType.F32, x[1].shape()));
  }

  private static void copy(Irreps part, Tensor x, Irreps full, Tensor wide) {
    for (int b = 0; b < part.blocks().size(); b++) {
      Irreps.Slice from = part.slices().get(b);
      Irreps.Slice to = full.slices().get(part.blocks().get(b).irrep().degree());
      for (int row = 0; row < 3; row++) {
        for (int k = 0; k < from.to() - from.from(); k++) {
          wide.setDouble(x.getDouble(row, from.from() + k), row, to.from() + k);
        }
      }
    }
  }

  private static void assertSame(
      Irreps part, @Nullable Tensor x, Irreps full, @Nullable Tensor wide) {
    for (int b = 0; b < part.blocks().size(); b++) {
      Irreps.Slice from = part.slices().get(b);
      Irreps.Slice to = full.slices().get(part.blocks().get(b).irrep().degree());
      for (int row = 0; row < 3; row++) {
        for (int k = 0; k < from.to() - from.from(); k++) {
          assertEquals(
              java.util.Objects.requireNonNull(wide).getDouble(row, to.from() + k),
              java.util.Objects.requireNonNull(x).getDouble(row, from.from() + k),
              part + " row " + row + " element " + k);
        }
      }
    }
  }

  private static GauntProduct.Builder of(String x1, String x2, String out) {
    return GauntProduct.builder(Irreps.parse(x1), Irreps.parse(x2), Irreps.parse(out));
  }

  @Test
  void refusesBadOperands() {
    GauntProduct product = GauntProduct.builder(2, 1, 2).build();
    GauntProduct flat = GauntProduct.builder(2, 1, 2).layout(Layout.MUL_IR).build();
    try (Arena arena = Arena.ofConfined();
        GauntWorkspace workspace = new GauntWorkspace()) {
      Tensor x1 = Tensor.allocate(arena, DType.F32, 5, 9, 4);
      Tensor x2 = Tensor.allocate(arena, DType.F32, 5, 4, 4);
      Tensor out = Tensor.allocate(arena, DType.F32, 5, 9, 4);
      Tensor threeChannels = Tensor.allocate(arena, DType.F32, 5, 4, 3);
      Tensor doubles = Tensor.allocate(arena, DType.F64, 5, 9, 4);
      Tensor weights = Tensor.allocate(arena, DType.F32, 2, 4);
      Tensor flat1 = Tensor.allocate(arena, DType.F32, 5, 35);
      assertMessage(
          "x1: expected [B, 9, C] or [B, 9] for degrees 0 to 2 in layout IR_MUL, got " + x2,
          () -> product.multiply(x2, x2, out));
      assertMessage(
          "out: expected [B, 9, C] for degrees 0 to 2 in layout IR_MUL, got " + x2,
          () -> product.multiply(x1, x2, x2));
      assertMessage(
          "x2: expected 4 channels to meet out, got 3 in " + threeChannels,
          () -> product.multiply(x1, threeChannels, out));
      assertMessage(
          "x2: expected 5 rows to meet x1 " + x1 + ", got " + x2.rows(0, 1),
          () -> product.multiply(x1, Tensor.allocate(arena, DType.F32, 4, 4, 4), out),
          4);
      assertMessage(
          "x1: expected element type F32, got " + doubles,
          () -> product.multiply(doubles, x2, out));
      assertMessage(
          "out: expected memory apart from x1, got overlapping tensors",
          () -> product.multiply(x1, x2, x1));
      assertMessage(
          "w1: expected [3, 4] or [5, 3, 4] for degrees 0 to 2, got " + weights,
          () -> product.multiply(x1, x2, new ProductWeights(weights, null, null), out, workspace));
      assertMessage(
          "x1: expected [B, 9 C] for degrees 0 to 2 in layout MUL_IR, got " + flat1,
          () -> flat.multiply(flat1, flat1, flat1));
      assertMessage(
          "gradient of x2: expected the shape of " + x2 + ", got " + threeChannels,
          () ->
              product.gradients(
                  x1,
                  x2,
                  ProductWeights.NONE,
                  out,
                  new ProductGradients(null, threeChannels, null, null, null),
                  workspace));
      assertMessage(
          "gradient of x1: expected memory apart from g, got overlapping tensors",
          () ->
              product.gradients(
                  x1,
                  x2,
                  ProductWeights.NONE,
                  out,
                  new ProductGradients(out, null, null, null, null),
                  workspace));
      assertMessage(
          "gradient of w2: expected [2, 4] or [5, 2, 4] for degrees 0 to 1, got " + x1,
          () ->
              product.gradients(
                  x1,
                  x2,
                  ProductWeights.NONE,
                  out,
                  new ProductGradients(null, null, null, x1, null),
                  workspace));
    }
  }

  private static void assertMessage(String expected, Runnable call) {
    assertEquals(expected, assertThrows(IllegalArgumentException.class, call::run).getMessage());
  }

  /** The message up to the tensor in its end, whose text the call makes itself. */
  private static void assertMessage(String expected, Runnable call, int rows) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.startsWith(expected.substring(0, expected.indexOf(", got"))), message);
    assertTrue(message.contains("[" + rows + ", "), message);
  }
}
