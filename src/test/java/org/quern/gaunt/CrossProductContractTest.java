package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.random.Philox;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Properties of the cross product on every tier; its kernels have a contract test of their own. */
class CrossProductContractTest {
  /** A way to compute. */
  private record Kind(Tier tier, DType type) {
    Tensor product(Arena arena, int[] d, Tensor x, Tensor y) {
      Tensor out = Tensor.allocate(arena, type, x.dim(0), (d[2] + 1L) * (d[2] + 1), x.dim(2));
      try (GauntWorkspace workspace = new GauntWorkspace()) {
        CrossProduct.builder(d[0], d[1], d[2])
            .tier(tier)
            .type(type)
            .build()
            .multiply(x, y, ProductWeights.NONE, out, workspace);
      }
      return out;
    }

    double tolerance() {
      return type == DType.F64 ? 1e-13 : 5e-6;
    }
  }

  static Stream<Kind> kinds() {
    return Capabilities.get().available().stream()
        .filter(GauntProduct.TIERS::contains)
        .flatMap(tier -> Stream.of(DType.F64, DType.F32).map(type -> new Kind(tier, type)));
  }

  private static Tensor function(Arena arena, Kind kind, long seed, int degree) {
    return SphereFunctions.normal(
        arena, kind.type, new Philox(seed, 2), 2, (degree + 1L) * (degree + 1), 19);
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void ofVectorsIsTheirCrossProduct(Kind kind) {
    try (Arena arena = Arena.ofShared()) {
      Tensor x = function(arena, kind, 1, 1);
      Tensor y = function(arena, kind, 2, 1);
      Tensor out = kind.product(arena, new int[] {1, 1, 2}, x, y);
      double factor = Math.sqrt(3 / (4 * Math.PI));
      for (int axis = 0; axis < 3; axis++) {
        int next = (axis + 1) % 3;
        int last = (axis + 2) % 3;
        double expected =
            x.getDouble(1, 1 + next, 18) * y.getDouble(1, 1 + last, 18)
                - x.getDouble(1, 1 + last, 18) * y.getDouble(1, 1 + next, 18);
        assertEquals(
            factor * expected, out.getDouble(1, 1 + axis, 18), 10 * kind.tolerance(), kind + "");
      }
      // No mean, and no degree above L1 + L2 - 1.
      for (int i : new int[] {0, 4, 5, 6, 7, 8}) {
        assertEquals(0, out.getDouble(0, i, 3), kind + " component " + i);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void changesItsSignWithTheOrderOfItsOperands(Kind kind) {
    try (Arena arena = Arena.ofShared()) {
      Tensor x = function(arena, kind, 3, 4);
      Tensor y = function(arena, kind, 4, 3);
      double[] xy = kind.product(arena, new int[] {4, 3, 6}, x, y).toDoubleArray();
      Tensor yx = kind.product(arena, new int[] {3, 4, 6}, y, x);
      for (int i = 0; i < xy.length; i++) {
        xy[i] = -xy[i];
      }
      assertTrue(SphereFunctions.distance(yx, xy) <= kind.tolerance(), kind + "");
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void obeysJacobi(Kind kind) {
    int degree = 3;
    try (Arena arena = Arena.ofShared()) {
      Tensor[] f = new Tensor[3];
      for (int i = 0; i < 3; i++) {
        f[i] = function(arena, kind, 5 + i, degree);
      }
      double[] sum = new double[0];
      double largest = 0;
      for (int i = 0; i < 3; i++) {
        Tensor inner =
            kind.product(arena, new int[] {degree, degree, 5}, f[(i + 1) % 3], f[(i + 2) % 3]);
        double[] term = kind.product(arena, new int[] {degree, 5, 7}, f[i], inner).toDoubleArray();
        sum = i == 0 ? new double[term.length] : sum;
        for (int j = 0; j < term.length; j++) {
          sum[j] += term[j];
          largest = Math.max(largest, Math.abs(term[j]));
        }
      }
      for (double value : sum) {
        assertEquals(0, value, kind.tolerance() * largest, kind + "");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void turnsWithItsOperandsAndIsAPseudoTensor(Kind kind) {
    int[] d = {4, 3, 6};
    try (Arena arena = Arena.ofShared()) {
      Tensor x = function(arena, kind, 8, d[0]);
      Tensor y = function(arena, kind, 9, d[1]);
      double[] rotation = SphereFunctions.inverted(SphereFunctions.rotation(new Philox(10, 2)));
      Tensor out = kind.product(arena, d, x, y);
      double[] expected =
          SphereFunctions.turnedFunctions(arena, rotation, d[2], out).toDoubleArray();
      for (int i = 0; i < expected.length; i++) {
        expected[i] = -expected[i];
      }
      Tensor turned =
          kind.product(
              arena,
              d,
              SphereFunctions.turnedFunctions(arena, rotation, d[0], x),
              SphereFunctions.turnedFunctions(arena, rotation, d[1], y));
      assertTrue(SphereFunctions.distance(turned, expected) <= kind.tolerance(), kind + "");
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void gradientsAndSecondGradientsAreThoseOfTheForm(Kind kind) {
    int[] d = {2, 3, 3};
    try (Arena arena = Arena.ofShared();
        GauntWorkspace workspace = new GauntWorkspace()) {
      CrossProduct product =
          CrossProduct.builder(d[0], d[1], d[2]).tier(kind.tier).type(kind.type).build();
      Tensor x = function(arena, kind, 11, d[0]);
      Tensor y = function(arena, kind, 12, d[1]);
      Tensor g = function(arena, kind, 13, d[2]);
      Tensor hx = function(arena, kind, 14, d[0]);
      Tensor hy = function(arena, kind, 15, d[1]);
      ProductGradients gradients =
          ProductGradients.ofInputs(
              Tensor.allocate(arena, kind.type, x.shape()),
              Tensor.allocate(arena, kind.type, y.shape()));
      product.gradients(x, y, ProductWeights.NONE, g, gradients, workspace);
      double form = SphereFunctions.dot(kind.product(arena, d, x, y), g);
      double size = 100 * Math.sqrt(SphereFunctions.dot(g, g));
      assertEquals(
          form, SphereFunctions.dot(gradients.x1(), x), kind.tolerance() * size, kind + " x1");
      assertEquals(
          form, SphereFunctions.dot(gradients.x2(), y), kind.tolerance() * size, kind + " x2");
      Tensor gg = Tensor.allocate(arena, kind.type, g.shape());
      product.secondGradients(
          x,
          y,
          ProductWeights.NONE,
          g,
          hx,
          hy,
          ProductGradients.ofInputs(
              Tensor.allocate(arena, kind.type, x.shape()),
              Tensor.allocate(arena, kind.type, y.shape())),
          gg,
          workspace);
      double along =
          SphereFunctions.dot(gradients.x1(), hx) + SphereFunctions.dot(gradients.x2(), hy);
      assertEquals(along, SphereFunctions.dot(gg, g), kind.tolerance() * size, kind + " second");
    }
  }

  @ParameterizedTest
  @MethodSource("kinds")
  void weightsScaleByDegree(Kind kind) {
    int[] d = {2, 2, 3};
    try (Arena arena = Arena.ofShared();
        GauntWorkspace workspace = new GauntWorkspace()) {
      Tensor x = function(arena, kind, 16, d[0]);
      Tensor y = function(arena, kind, 17, d[1]);
      Philox random = new Philox(18, 2);
      Tensor[] w = new Tensor[3];
      for (int i = 0; i < 3; i++) {
        w[i] = SphereFunctions.normal(arena, kind.type, random, d[i] + 1, 19);
      }
      Tensor out = Tensor.allocate(arena, kind.type, 2, 16, 19);
      CrossProduct.builder(d[0], d[1], d[2])
          .tier(kind.tier)
          .type(kind.type)
          .build()
          .multiply(x, y, new ProductWeights(w[0], w[1], w[2]), out, workspace);
      Tensor expected = kind.product(arena, d, scaled(arena, x, w[0]), scaled(arena, y, w[1]));
      double distance =
          SphereFunctions.distance(out, scaled(arena, expected, w[2]).toDoubleArray());
      assertTrue(distance <= kind.tolerance(), kind + ": " + distance);
    }
  }

  private static Tensor scaled(Arena arena, Tensor x, Tensor w) {
    Tensor result = Tensor.allocate(arena, x.type(), x.shape());
    for (long b = 0; b < x.dim(0); b++) {
      for (long i = 0; i < x.dim(1); i++) {
        for (long c = 0; c < x.dim(2); c++) {
          long l = (long) Math.sqrt((double) i);
          result.setDouble(w.getDouble(l, c) * x.getDouble(b, i, c), b, i, c);
        }
      }
    }
    return result;
  }

  @Test
  void refusesWhatDoesNotFit() {
    assertThrows(IllegalArgumentException.class, () -> CrossProduct.builder(-1, 1, 1));
    assertThrows(
        IllegalArgumentException.class, () -> CrossProduct.builder(1, 1, 1).type(DType.I32));
    assertThrows(IllegalArgumentException.class, () -> CrossProduct.builder(1, 1, 1).threads(0));
  }
}
