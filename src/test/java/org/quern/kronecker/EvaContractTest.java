package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.Random;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The rank-one case of every tier against its definition. */
class EvaContractTest {
  private static final double DAMPING = 0.05;

  static Stream<Tier> tiers() {
    return InverseFactor.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  /** A layer's vectors and gradient. */
  private record Sample(Tensor a, Tensor g, Tensor dw, @Nullable Tensor db) {
    static Sample random(Arena arena, Random random, int out, int in, boolean bias) {
      Tensor a = vector(arena, random, in + (bias ? 1 : 0));
      if (bias) {
        a.setDouble(1, in);
      }
      long stride = (long) in + random.nextInt(4);
      Tensor dw =
          Tensor.of(
              arena.allocate(out * stride * Float.BYTES, Float.BYTES),
              DType.F32,
              stride,
              new long[] {out, in});
      for (int r = 0; r < out; r++) {
        for (int j = 0; j < in; j++) {
          dw.setDouble(random.nextGaussian(), r, j);
        }
      }
      return new Sample(
          a, vector(arena, random, out), dw, bias ? vector(arena, random, out) : null);
    }

    private static Tensor vector(Arena arena, Random random, int n) {
      Tensor v = Tensor.allocate(arena, DType.F32, n);
      for (int i = 0; i < n; i++) {
        v.setDouble(random.nextGaussian(), i);
      }
      return v;
    }

    /** [dW | db]. */
    double[][] gradient() {
      double[][] g = new double[(int) dw.dim(0)][(int) a.dim(0)];
      for (int r = 0; r < g.length; r++) {
        for (int j = 0; j < g[r].length; j++) {
          g[r][j] = db != null && j == dw.dim(1) ? db.getDouble(r) : dw.getDouble(r, j);
        }
      }
      return g;
    }
  }

  /** P by its formula, for vectors that are given. */
  private static double[][] expected(double[][] gradient, double[] a, double[] g) {
    double product = 0;
    double squaresA = 0;
    double squaresG = 0;
    for (int r = 0; r < g.length; r++) {
      squaresG += g[r] * g[r];
      for (int j = 0; j < a.length; j++) {
        product += g[r] * gradient[r][j] * a[j];
      }
    }
    for (double x : a) {
      squaresA += x * x;
    }
    double[][] p = new double[g.length][a.length];
    for (int r = 0; r < g.length; r++) {
      for (int j = 0; j < a.length; j++) {
        double along = product / (squaresA * squaresG + DAMPING) * g[r] * a[j];
        p[r][j] = (gradient[r][j] - along) / DAMPING;
      }
    }
    return p;
  }

  private static void assertClose(double[][] want, double[][] got, double scale, String what) {
    double largest = 0;
    double worst = 0;
    for (int r = 0; r < want.length; r++) {
      for (int j = 0; j < want[r].length; j++) {
        largest = Math.max(largest, Math.abs(want[r][j] * scale));
        worst = Math.max(worst, Math.abs(want[r][j] * scale - got[r][j]));
      }
    }
    assertTrue(worst <= 1e-5 * largest, what + ": " + worst / largest);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void allSizesFollowTheFormula(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    int[] sizes = {1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 35, 67, 130};
    for (int i = 0; i < 60; i++) {
      int out = sizes[random.nextInt(sizes.length)];
      int in = sizes[i % sizes.length];
      try (Arena arena = Arena.ofConfined()) {
        Sample sample = Sample.random(arena, random, out, in, random.nextBoolean());
        Eva eva = Eva.builder().damping(DAMPING).noScaling().tier(tier).build();
        EvaLayer layer = eva.layer("l", out, in, sample.db != null);
        double[][] want =
            expected(sample.gradient(), sample.a.toDoubleArray(), sample.g.toDoubleArray());
        assertTrue(layer.observe(sample.a, sample.g));
        assertTrue(layer.prepare(sample.dw, sample.db));
        layer.apply(sample.dw, sample.db, eva.scale(1));
        assertClose(want, sample.gradient(), 1, out + " x " + in + ", seed " + seed);
      }
    }
  }

  /** (g g' (x) a a' + damping I) applied to the result is the gradient. */
  @ParameterizedTest
  @MethodSource("tiers")
  void theResultSolvesTheDampedSystem(Tier tier) {
    long seed = System.nanoTime();
    try (Arena arena = Arena.ofConfined()) {
      Sample sample = Sample.random(arena, new Random(seed), 5, 4, true);
      double[][] before = sample.gradient();
      double[] a = sample.a.toDoubleArray();
      double[] g = sample.g.toDoubleArray();
      Eva eva = Eva.builder().damping(DAMPING).noScaling().tier(tier).build();
      EvaLayer layer = eva.layer("l", 5, 4, true);
      layer.observe(sample.a, sample.g);
      layer.prepare(sample.dw, sample.db);
      layer.apply(sample.dw, sample.db, 1);
      double[][] p = sample.gradient();
      double product = 0;
      double squares = 0;
      double largest = 0;
      for (int r = 0; r < 5; r++) {
        for (int j = 0; j < 5; j++) {
          product += g[r] * p[r][j] * a[j];
          squares += g[r] * g[r] * a[j] * a[j];
          largest = Math.max(largest, Math.abs(before[r][j]));
        }
      }
      // The system multiplies what rounding did to P by up to its condition.
      double tolerance = 0x1p-22 * (1 + squares / DAMPING) * largest;
      for (int r = 0; r < 5; r++) {
        for (int j = 0; j < 5; j++) {
          double back = g[r] * a[j] * product + DAMPING * p[r][j];
          assertEquals(before[r][j], back, tolerance, "seed " + seed);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void runningVectorsWeighTheNewAsReleasedOrAsPrinted(Tier tier) {
    long seed = System.nanoTime();
    for (boolean released : new boolean[] {true, false}) {
      try (Arena arena = Arena.ofConfined()) {
        Random random = new Random(seed);
        Eva eva =
            Eva.builder().damping(DAMPING).decay(0.9, released).noScaling().tier(tier).build();
        EvaLayer layer = eva.layer("l", 3, 6, false);
        double[] a = new double[6];
        double[] g = new double[3];
        for (int step = 0; step < 4; step++) {
          Sample sample = Sample.random(arena, random, 3, 6, false);
          double weight = step == 0 ? 1 : released ? 0.9 : 0.1;
          for (int j = 0; j < 6; j++) {
            a[j] += weight * (sample.a.getDouble(j) - a[j]);
          }
          for (int r = 0; r < 3; r++) {
            g[r] += weight * (sample.g.getDouble(r) - g[r]);
          }
          double[][] want = expected(sample.gradient(), a, g);
          layer.observe(sample.a, sample.g);
          layer.prepare(sample.dw, null);
          layer.apply(sample.dw, null, eva.scale(1));
          assertClose(want, sample.gradient(), 1, "step " + step + ", seed " + seed);
        }
      }
    }
  }

  private static double squares(double[][] m) {
    double sum = 0;
    for (double[] row : m) {
      for (double x : row) {
        sum += x * x;
      }
    }
    return sum;
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void oneFactorKeepsTheNormOverAllLayersOrBoundsTheirProducts(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    double rate = 0.3;
    double clip = 0.02;
    for (boolean keep : new boolean[] {true, false}) {
      try (Arena arena = Arena.ofConfined()) {
        Eva.Builder builder = Eva.builder().damping(DAMPING).tier(tier);
        Eva eva = (keep ? builder.keepNorm() : builder.klClip(clip)).build();
        EvaLayer[] layers = {eva.layer("first", 40, 9, true), eva.layer("second", 3, 40, false)};
        Sample[] samples = {
          Sample.random(arena, random, 40, 9, true), Sample.random(arena, random, 3, 40, false)
        };
        double before = 0;
        double after = 0;
        double products = 0;
        double[][][] want = new double[2][][];
        for (int l = 0; l < 2; l++) {
          double[][] gradient = samples[l].gradient();
          want[l] = expected(gradient, samples[l].a.toDoubleArray(), samples[l].g.toDoubleArray());
          before += squares(gradient);
          after += squares(want[l]);
          for (int r = 0; r < gradient.length; r++) {
            for (int j = 0; j < gradient[r].length; j++) {
              products += gradient[r][j] * want[l][r][j];
            }
          }
          layers[l].observe(samples[l].a, samples[l].g);
          layers[l].prepare(samples[l].dw, samples[l].db);
        }
        double nu =
            keep
                ? Math.sqrt(before / after)
                : Math.min(1, Math.sqrt(clip / (rate * rate * products)));
        assertEquals(nu, eva.scale(rate), 1e-6 * nu, "seed " + seed);
        for (int l = 0; l < 2; l++) {
          layers[l].apply(samples[l].dw, samples[l].db, nu);
          assertClose(want[l], samples[l].gradient(), nu, "layer " + l + ", seed " + seed);
        }
        assertEquals(1, eva.scale(rate), "what was applied no longer counts");
      }
    }
  }

  /** The two sums of the first pass nearly cancel where G is along g a'. */
  @ParameterizedTest
  @MethodSource("tiers")
  void theNormOfAGradientAlongTheVectorsIsAccurate(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      int n = 200;
      Tensor a = Tensor.allocate(arena, DType.F32, n);
      Tensor g = Tensor.allocate(arena, DType.F32, n);
      Tensor dw = Tensor.allocate(arena, DType.F32, n, n);
      for (int i = 0; i < n; i++) {
        a.setDouble(0.1 * (1 + i % 2), i);
        g.setDouble(0.1 * (2 - i % 3), i);
      }
      for (int r = 0; r < n; r++) {
        for (int j = 0; j < n; j++) {
          dw.setDouble(g.getDouble(r) * a.getDouble(j), r, j);
        }
      }
      Eva eva = Eva.builder().damping(DAMPING).keepNorm().tier(tier).build();
      EvaLayer layer = eva.layer("l", n, n, false);
      layer.observe(a, g);
      layer.prepare(dw, null);
      double nu = eva.scale(1);
      double norms = 0;
      double squaresA = 0;
      for (int i = 0; i < n; i++) {
        squaresA += a.getDouble(i) * a.getDouble(i);
        norms += g.getDouble(i) * g.getDouble(i);
      }
      // P = G / (|g|^2 |a|^2 + damping), so that nu is its inverse.
      assertEquals(norms * squaresA + DAMPING, nu, 1e-6 * nu);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void threadsDoNotChangeABit(Tier tier) {
    long seed = System.nanoTime();
    float[][] got = new float[2][];
    for (int i = 0; i < 2; i++) {
      try (Arena arena = Arena.ofShared()) {
        Sample sample = Sample.random(arena, new Random(seed), 300, 700, true);
        Eva eva = Eva.builder().threads(1 + 2 * i).tier(tier).build();
        EvaLayer layer = eva.layer("l", 300, 700, true);
        layer.observe(sample.a, sample.g);
        layer.prepare(sample.dw, sample.db);
        layer.apply(sample.dw, sample.db, eva.scale(0.1));
        got[i] = sample.dw.toFloatArray();
      }
    }
    assertArrayEquals(got[0], got[1], "seed " + seed);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void whatIsNotFiniteIsLeftOut(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      Random random = new Random(4);
      Eva eva = Eva.builder().keepNorm().tier(tier).build();
      EvaLayer layer = eva.layer("l", 5, 9, true);
      Sample sample = Sample.random(arena, random, 5, 9, true);
      float[] untouched = sample.dw.toFloatArray();
      assertFalse(layer.prepare(sample.dw, sample.db), "nothing was observed");
      layer.apply(sample.dw, sample.db, 3);
      assertArrayEquals(untouched, sample.dw.toFloatArray());

      assertTrue(layer.observe(sample.a, sample.g));
      Sample bad = Sample.random(arena, random, 5, 9, true);
      bad.g.setDouble(Double.NaN, 2);
      assertFalse(layer.observe(bad.a, bad.g));
      bad.dw.setDouble(Double.POSITIVE_INFINITY, 4, 8);
      float[] infinite = bad.dw.toFloatArray();
      assertFalse(layer.prepare(bad.dw, bad.db));
      assertEquals(1, eva.scale(1));
      layer.apply(bad.dw, bad.db, 3);
      assertArrayEquals(infinite, bad.dw.toFloatArray());

      // The vectors from before the NaN still serve.
      assertTrue(layer.prepare(sample.dw, sample.db));
      Tensor zero = Tensor.allocate(arena, DType.F32, 5, 9);
      Tensor zeroBias = Tensor.allocate(arena, DType.F32, 5);
      assertTrue(layer.prepare(zero, zeroBias));
      assertEquals(1, eva.scale(1), "0 / 0");
      layer.apply(zero, zeroBias, 1);
      assertArrayEquals(new float[45], zero.toFloatArray());
    }
  }

  @Test
  void argumentsAreChecked() {
    assertRefused("damping", () -> Eva.builder().damping(0));
    assertRefused("decay", () -> Eva.builder().decay(1.5, true));
    assertRefused("klClip", () -> Eva.builder().klClip(0));
    assertRefused("threads", () -> Eva.builder().threads(0));
    Eva eva = Eva.builder().build();
    assertRefused("out", () -> eva.layer("l", 0, 1, false));
    assertRefused("in", () -> eva.layer("l", 1, 0, false));
    EvaLayer layer = eva.layer("fc", 2, 3, true);
    try (Arena arena = Arena.ofConfined()) {
      Tensor a = Tensor.allocate(arena, DType.F32, 4);
      Tensor g = Tensor.allocate(arena, DType.F32, 2);
      Tensor dw = Tensor.allocate(arena, DType.F32, 2, 3);
      assertRefused("a of fc", () -> layer.observe(g, g));
      assertRefused("g of fc", () -> layer.observe(a, a));
      assertRefused("dw of fc", () -> layer.prepare(a, g));
      assertRefused("dw of fc", () -> layer.prepare(dw.to(DType.F64, arena), g));
      assertRefused("db of fc", () -> layer.prepare(dw, null));
      assertRefused("db of fc", () -> eva.layer("fc", 2, 3, false).prepare(dw, g));
      assertRefused("db of fc", () -> layer.apply(dw, a, 1));
    }
  }

  private static void assertRefused(String argument, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().startsWith(argument + ": expected"), e.getMessage());
  }
}
