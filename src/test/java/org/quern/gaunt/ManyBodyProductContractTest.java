package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.random.Philox;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Powers on every tier of this machine, against repeated products by the sum over coefficients. */
class ManyBodyProductContractTest {
  private static final int[][] SHAPES = {
    {0, 1, 0}, {0, 3, 0}, {1, 1, 1}, {1, 2, 3}, {2, 3, 2}, {3, 2, 1}, {2, 4, 0}, {1, 5, 5},
    {4, 3, 4}
  };
  private static final int[] CHANNELS = {1, 16, 17, 40, 15};

  /** A way to compute. */
  private record Kind(Tier tier, DType type) {
    ManyBodyProduct plan(int[] shape, int channels, int species, int threads) {
      return ManyBodyProduct.builder(shape[0], shape[1], shape[2])
          .channels(channels)
          .species(species)
          .tier(tier)
          .type(type)
          .threads(threads)
          .build();
    }
  }

  static Stream<Kind> kinds() {
    return Capabilities.get().available().stream()
        .filter(GauntConvolution.TIERS::contains)
        .flatMap(tier -> Stream.of(DType.F64, DType.F32).map(type -> new Kind(tier, type)));
  }

  private static int n(int degree) {
    return (degree + 1) * (degree + 1);
  }

  /** A batch with weights. */
  private static final class Problem {
    final int[] shape;
    final int[] species;
    final Tensor x;
    final Tensor w;
    final Tensor g;

    Problem(Arena arena, long seed, DType type, int[] shape, int batch, int kinds, int channels) {
      Philox random = new Philox(seed, 1);
      this.shape = shape;
      species = new int[batch];
      for (int b = 0; b < batch; b++) {
        species[b] = random.nextInt(kinds);
      }
      x = SphereFunctions.normal(arena, type, random, batch, n(shape[0]), channels);
      w = SphereFunctions.normal(arena, type, random, shape[1], kinds, channels, shape[2] + 1);
      g = SphereFunctions.normal(arena, type, random, batch, n(shape[2]), channels);
    }
  }

  /** Powers by full products, one factor at a time. */
  private static double[] expected(int[] shape, int[] species, Tensor x, Tensor w) {
    int batch = Math.toIntExact(x.dim(0));
    int channels = Math.toIntExact(x.dim(2));
    int n = n(shape[0]);
    double[] out = new double[batch * n(shape[2]) * channels];
    for (int b = 0; b < batch; b++) {
      for (int c = 0; c < channels; c++) {
        double[] power = {};
        for (int k = 1; k <= shape[1]; k++) {
          if (k == 1) {
            power = new double[n];
            for (int i = 0; i < n; i++) {
              power[i] = x.getDouble(b, i, c);
            }
          } else {
            Couplings table = GauntCoefficients.table((k - 1) * shape[0], shape[0], k * shape[0]);
            double[] next = new double[n(k * shape[0])];
            for (int e = 0; e < table.size(); e++) {
              next[table.out(e)] +=
                  table.value(e) * power[table.first(e)] * x.getDouble(b, table.second(e), c);
            }
            power = next;
          }
          for (int i = 0; i < Math.min(power.length, n(shape[2])); i++) {
            out[(b * n(shape[2]) + i) * channels + c] +=
                w.getDouble(k - 1, species[b], c, (int) Math.sqrt(i)) * power[i];
          }
        }
      }
    }
    return out;
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void isTheSumOfRepeatedProducts(Kind kind) {
    try (LayerWorkspace workspace = new LayerWorkspace()) {
      for (int seed = 0; seed < SHAPES.length; seed++) {
        int channels = seed < 6 ? CHANNELS[seed % CHANNELS.length] : 2;
        try (Arena arena = Arena.ofShared()) {
          Problem p = new Problem(arena, seed, kind.type, SHAPES[seed], 3, 2, channels);
          Tensor out = Tensor.allocate(arena, kind.type, 3, n(p.shape[2]), channels);
          out.fill(Double.NaN);
          kind.plan(p.shape, channels, 2, 1).forward(p.x, p.species, p.w, out, workspace);
          double distance = SphereFunctions.distance(out, expected(p.shape, p.species, p.x, p.w));
          double tolerance = kind.type == DType.F64 ? 1e-12 : 1e-5;
          assertTrue(distance <= tolerance, kind + " seed " + seed + ": " + distance);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void gradientsAreThoseOfTheSum(Kind kind) {
    int[] shape = {2, 3, 2};
    int channels = 18;
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Problem p = new Problem(arena, 31, kind.type, shape, 3, 2, channels);
      Tensor gx = Tensor.allocate(arena, kind.type, p.x.shape());
      Tensor gw = Tensor.allocate(arena, kind.type, p.w.shape());
      kind.plan(shape, channels, 2, 1).backward(p.x, p.species, p.w, p.g, gx, gw, workspace);
      Philox random = new Philox(32, 1);
      for (int which = 0; which < 2; which++) {
        Tensor input = which == 0 ? p.x : p.w;
        Tensor got = which == 0 ? gx : gw;
        double[] direction =
            SphereFunctions.normal(arena, DType.F64, random, input.shape()).toDoubleArray();
        double step = 1e-5;
        double slope =
            (moved(arena, p, which, direction, step) - moved(arena, p, which, direction, -step))
                / (2 * step);
        double along = 0;
        double size = 0;
        double[] values = got.toDoubleArray();
        for (int i = 0; i < values.length; i++) {
          along += values[i] * direction[i];
          size += values[i] * values[i];
        }
        double scale = Math.sqrt(size * direction.length);
        assertEquals(
            slope, along, (kind.type == DType.F64 ? 1e-8 : 1e-5) * scale, kind + " " + which);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void secondGradientsAreTheChangeOfTheGradients(Kind kind) {
    for (int[] shape : new int[][] {{2, 3, 2}, {1, 1, 1}, {2, 2, 0}, {1, 4, 1}}) {
      int channels = 18;
      try (Arena arena = Arena.ofShared();
          LayerWorkspace workspace = new LayerWorkspace()) {
        Problem p = new Problem(arena, 81, kind.type, shape, 3, 2, channels);
        Problem by = new Problem(arena, 82, kind.type, shape, 3, 2, channels);
        Tensor[] got = {
          Tensor.allocate(arena, kind.type, p.x.shape()),
          Tensor.allocate(arena, kind.type, p.w.shape()),
          Tensor.allocate(arena, kind.type, p.g.shape())
        };
        ManyBodyProduct plan = kind.plan(shape, channels, 2, 1);
        plan.secondGradients(
            p.x, p.species, p.w, p.g, by.x, by.w, got[0], got[1], got[2], workspace);
        // The change of gradients and output, by central differences in double precision.
        double step = 1e-5;
        Tensor[] up = gradients(arena, p, by, step, channels, workspace);
        Tensor[] down = gradients(arena, p, by, -step, channels, workspace);
        for (int which = 0; which < 3; which++) {
          double[] expected = up[which].toDoubleArray();
          double[] other = down[which].toDoubleArray();
          for (int i = 0; i < expected.length; i++) {
            expected[i] = (expected[i] - other[i]) / (2 * step);
          }
          double distance = SphereFunctions.distance(got[which], expected);
          double tolerance = kind.type == DType.F64 ? 1e-8 : 1e-5;
          assertTrue(distance <= tolerance, kind + " result " + which + ": " + distance);
        }
        // Parts: what the factors of one gradient give, without those of the other, adds up.
        Tensor[] part = new Tensor[2];
        for (int i = 0; i < 2; i++) {
          part[i] = Tensor.allocate(arena, kind.type, p.x.shape());
          plan.secondGradients(
              p.x,
              p.species,
              p.w,
              p.g,
              i == 0 ? by.x : null,
              i == 0 ? null : by.w,
              part[i],
              null,
              null,
              workspace);
        }
        double[] sum = part[0].toDoubleArray();
        double[] rest = part[1].toDoubleArray();
        for (int i = 0; i < sum.length; i++) {
          sum[i] += rest[i];
        }
        assertTrue(SphereFunctions.distance(got[0], sum) <= 1e-5, kind + " parts");
      }
    }
  }

  /** Gradients by x and w, and the output, at operands moved along others. */
  private static Tensor[] gradients(
      Arena arena, Problem p, Problem by, double step, int channels, LayerWorkspace workspace) {
    Tensor x = moved(arena, p.x, by.x, step);
    Tensor w = moved(arena, p.w, by.w, step);
    Tensor g = p.g.to(DType.F64, arena);
    Tensor[] results = {
      Tensor.allocate(arena, DType.F64, x.shape()),
      Tensor.allocate(arena, DType.F64, w.shape()),
      Tensor.allocate(arena, DType.F64, g.shape())
    };
    ManyBodyProduct plan = new Kind(Tier.SCALAR, DType.F64).plan(p.shape, channels, 2, 1);
    plan.backward(x, p.species, w, g, results[0], results[1], workspace);
    plan.forward(x, p.species, w, results[2], workspace);
    return results;
  }

  private static Tensor moved(Arena arena, Tensor from, Tensor along, double step) {
    double[] values = from.toDoubleArray();
    double[] direction = along.toDoubleArray();
    for (int i = 0; i < values.length; i++) {
      values[i] += step * direction[i];
    }
    return Tensor.copyOf(arena, values, from.shape());
  }

  private static double moved(Arena arena, Problem p, int which, double[] direction, double step) {
    double[] values = (which == 0 ? p.x : p.w).toDoubleArray();
    for (int i = 0; i < values.length; i++) {
      values[i] += step * direction[i];
    }
    Tensor changed = Tensor.copyOf(arena, values, (which == 0 ? p.x : p.w).shape());
    double[] out =
        expected(p.shape, p.species, which == 0 ? changed : p.x, which == 0 ? p.w : changed);
    double[] g = p.g.toDoubleArray();
    double sum = 0;
    for (int i = 0; i < out.length; i++) {
      sum += out[i] * g[i];
    }
    return sum;
  }

  @Test
  void forcesTrainTheWeights() {
    // Energy: the powers of a convolution, summed. Some sum of its slopes by the edge vectors, as a
    // loss of forces has, is differentiated by the weights: back through both layers, and again.
    int[] source = {1, 2, 0, 2, 0, 1};
    int[] destination = {0, 0, 1, 1, 2, 2};
    int channels = 3;
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Philox random = new Philox(91, 1);
      Edges edges = Edges.of(3, source, destination);
      GauntConvolution convolution =
          GauntConvolution.builder(1, 2, 2).channels(channels).type(DType.F64).build();
      ConvolutionInputs in =
          new ConvolutionInputs(
              SphereFunctions.normal(arena, DType.F64, random, 3, n(1), channels),
              SphereFunctions.normal(arena, DType.F64, random, 6, 3),
              SphereFunctions.normal(arena, DType.F64, random, 6, 3, channels),
              null);
      Tensor factors = SphereFunctions.normal(arena, DType.F64, random, 6, 3);
      Tensor features = Tensor.allocate(arena, DType.F64, 3, n(2), channels);
      convolution.forward(edges, in, features, workspace);
      int[] shape = {2, 3, 0};
      Problem p = new Problem(arena, 92, DType.F64, shape, 3, 2, channels);
      ManyBodyProduct powers = new Kind(Tier.SCALAR, DType.F64).plan(shape, channels, 2, 1);
      Tensor gfeatures = Tensor.allocate(arena, DType.F64, features.shape());
      powers.backward(features, p.species, p.w, p.g, gfeatures, null, workspace);
      Tensor hfeatures = Tensor.allocate(arena, DType.F64, features.shape());
      convolution.secondGradients(
          edges,
          in,
          gfeatures,
          new ConvolutionGradients(null, factors, null, null),
          new ConvolutionGradients(null, null, null, null),
          hfeatures,
          workspace);
      Tensor gw = Tensor.allocate(arena, DType.F64, p.w.shape());
      powers.secondGradients(
          features, p.species, p.w, p.g, hfeatures, null, null, gw, null, workspace);
      // The slopes are linear in the weights, so that a large step has no error but rounding.
      Tensor along = SphereFunctions.normal(arena, DType.F64, random, p.w.shape());
      double[] sums = new double[2];
      for (int side = 0; side < 2; side++) {
        Tensor w = moved(arena, p.w, along, side == 0 ? 1 : -1);
        powers.backward(features, p.species, w, p.g, gfeatures, null, workspace);
        Tensor gr = Tensor.allocate(arena, DType.F64, 6, 3);
        convolution.backward(
            edges, in, gfeatures, new ConvolutionGradients(null, gr, null, null), workspace);
        sums[side] = SphereFunctions.dot(gr, factors);
      }
      double size = Math.abs(sums[0]) + Math.abs(sums[1]);
      assertEquals((sums[0] - sums[1]) / 2, SphereFunctions.dot(gw, along), 1e-12 * size);
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void turnsAndInvertsWithItsInput(Kind kind) {
    int[] shape = {3, 3, 3};
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Problem p = new Problem(arena, 41, kind.type, shape, 2, 1, 16);
      ManyBodyProduct plan = kind.plan(shape, 16, 1, 1);
      Tensor out = Tensor.allocate(arena, kind.type, 2, 16, 16);
      plan.forward(p.x, p.species, p.w, out, workspace);
      double[] rotation = SphereFunctions.inverted(SphereFunctions.rotation(new Philox(42, 1)));
      Tensor expected = SphereFunctions.turnedFunctions(arena, rotation, 3, out);
      Tensor turned = SphereFunctions.turnedFunctions(arena, rotation, 3, p.x);
      plan.forward(turned, p.species, p.w, out, workspace);
      double distance = SphereFunctions.distance(out, expected.toDoubleArray());
      assertTrue(distance <= (kind.type == DType.F64 ? 1e-13 : 5e-6), kind + ": " + distance);
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void isTheSameWithAnyNumberOfThreads(Kind kind) {
    int[] shape = {2, 3, 1};
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Problem p = new Problem(arena, 51, kind.type, shape, 50, 3, 20);
      MemorySegment[] first = new MemorySegment[6];
      for (int threads = 1; threads <= 3; threads++) {
        Tensor[] results = {
          Tensor.allocate(arena, kind.type, 50, 4, 20),
          Tensor.allocate(arena, kind.type, p.x.shape()),
          Tensor.allocate(arena, kind.type, p.w.shape()),
          Tensor.allocate(arena, kind.type, p.x.shape()),
          Tensor.allocate(arena, kind.type, p.w.shape()),
          Tensor.allocate(arena, kind.type, p.g.shape())
        };
        ManyBodyProduct plan = kind.plan(shape, 20, 3, threads);
        plan.forward(p.x, p.species, p.w, results[0], workspace);
        plan.backward(p.x, p.species, p.w, p.g, results[1], results[2], workspace);
        plan.secondGradients(
            p.x,
            p.species,
            p.w,
            p.g,
            results[1],
            results[2],
            results[3],
            results[4],
            results[5],
            workspace);
        for (int i = 0; i < results.length; i++) {
          if (threads == 1) {
            first[i] = results[i].memory();
          }
          assertEquals(-1, first[i].mismatch(results[i].memory()), kind + " result " + i);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void whatOverflowsIsNotClamped(Kind kind) {
    int[] shape = {1, 3, 0};
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Problem p = new Problem(arena, 61, kind.type, shape, 1, 1, 1);
      p.x.fill(kind.type == DType.F64 ? 1e200 : 1e20);
      Tensor out = Tensor.allocate(arena, kind.type, 1, 1, 1);
      kind.plan(shape, 1, 1, 1).forward(p.x, p.species, p.w, out, workspace);
      assertTrue(!Double.isFinite(out.getDouble(0, 0, 0)), kind + ": " + out.getDouble(0, 0, 0));
    }
  }

  @Test
  void plansTheLeastExactGrid() {
    int[][] expected = {{2, 3, 2, 45}, {3, 3, 2, 72}, {3, 3, 0, 50}, {2, 4, 2, 66}};
    for (int[] e : expected) {
      ManyBodyProduct plan = ManyBodyProduct.builder(e[0], e[1], e[2]).build();
      assertEquals(e[3], plan.points());
      assertEquals(e[1] * e[0] + e[2], plan.gridDegree());
    }
  }

  @Test
  void refusesWhatDoesNotFit() {
    assertSays("order", "0", () -> ManyBodyProduct.builder(2, 0, 1));
    assertSays("order", "272", () -> ManyBodyProduct.builder(16, 15, 32));
    assertSays("degree", "-1", () -> ManyBodyProduct.builder(-1, 1, 1));
    assertSays("species", "0", () -> ManyBodyProduct.builder(1, 1, 1).species(0));
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      int[] shape = {1, 2, 1};
      Problem p = new Problem(arena, 71, DType.F64, shape, 2, 1, 3);
      ManyBodyProduct plan = ManyBodyProduct.builder(1, 2, 1).channels(3).type(DType.F64).build();
      Tensor out = Tensor.allocate(arena, DType.F64, 2, 4, 3);
      assertSays(
          "speciesOf",
          "4 at row 1",
          () -> plan.forward(p.x, new int[] {0, 4}, p.w, out, workspace));
      assertSays("x", "[2, 4, 3]", () -> plan.forward(p.x, new int[] {0}, p.w, out, workspace));
      assertSays("w", "[2, 4, 3]", () -> plan.forward(p.x, p.species, p.x, out, workspace));
    }
  }

  private static void assertSays(String argument, String got, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.startsWith(argument + ": expected"), message);
    assertTrue(message.contains(got), message);
  }
}
