package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** P = L G R of every pair of storages on every tier, against the product in double precision. */
class PreconditionContractTest {
  private static final double TOLERANCE = 1e-5;
  private static final float GUARD = 12345.5f;

  /** d_out, d_in with the column of the bias, and whether there is one. */
  private record Shape(int o, int i, boolean bias) {
    static final Shape[] ALL = {
      new Shape(1, 1, false),
      new Shape(3, 5, true),
      new Shape(1, 2, true),
      new Shape(16, 33, false),
      new Shape(33, 64, true),
      new Shape(32, 33, true),
      new Shape(65, 130, true),
      new Shape(130, 31, false),
      new Shape(7, 300, true),
      new Shape(150, 40, false)
    };
  }

  private static final Storage[] STORAGES = {
    Storage.lowRank(12, 0), Storage.dense(), Storage.symmetricTiles(), Storage.deviation(DType.BF16)
  };

  static Stream<Tier> tiers() {
    return InverseFactor.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  /** The same vectors on rows with guards between them. */
  private static final class Gradient {
    final Shape shape;
    final Tensor dw;
    final @Nullable Tensor db;
    private final MemorySegment memory;
    private final long stride;

    Gradient(Arena arena, Shape shape, double[] g, int gap) {
      this.shape = shape;
      int columns = shape.bias ? shape.i - 1 : shape.i;
      stride = (long) columns + gap;
      memory = arena.allocate(4L * shape.o * stride, 4);
      for (long j = 0; j < shape.o * stride; j++) {
        memory.setAtIndex(ValueLayout.JAVA_FLOAT, j, GUARD);
      }
      dw = Tensor.of(memory, DType.F32, stride, new long[] {shape.o, columns});
      db = shape.bias ? Tensor.allocate(arena, DType.F32, shape.o) : null;
      for (int r = 0; r < shape.o; r++) {
        for (int c = 0; c < shape.i; c++) {
          if (c < columns) {
            dw.setDouble(g[r * shape.i + c], r, c);
          } else {
            db.setDouble(g[r * shape.i + c], r);
          }
        }
      }
    }

    double[] values() {
      double[] g = new double[shape.o * shape.i];
      for (int r = 0; r < shape.o; r++) {
        for (int c = 0; c < shape.i; c++) {
          g[r * shape.i + c] = c < dw.rowLength() ? dw.getDouble(r, c) : db.getDouble(r);
        }
      }
      return g;
    }

    void checkGaps(String what) {
      for (int r = 0; r < shape.o; r++) {
        for (long c = dw.rowLength(); c < stride; c++) {
          assertEquals(
              GUARD, memory.getAtIndex(ValueLayout.JAVA_FLOAT, r * stride + c), what + ": gap");
        }
      }
    }
  }

  private static double[] random(int n, SplittableRandom random) {
    double[] x = new double[n];
    for (int j = 0; j < n; j++) {
      x[j] = (float) random.nextGaussian();
    }
    return x;
  }

  private static InverseFactor factor(
      Arena arena, int d, Storage storage, int updates, SplittableRandom random, Tier tier) {
    InverseFactor factor = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.95, tier);
    for (int t = 0; t < updates; t++) {
      float[] v = new float[d];
      for (int j = 0; j < d; j++) {
        v[j] = (float) random.nextGaussian() + 0.3f;
      }
      factor.update(Tensor.copyOf(arena, v, d));
    }
    return factor;
  }

  private static double[] dense(Arena arena, InverseFactor factor) {
    int d = factor.dimension();
    Tensor out = Tensor.allocate(arena, DType.F64, d, d);
    factor.toDense(out);
    return out.toDoubleArray();
  }

  private static double[] product(int m, int k, int n, double[] a, double[] b) {
    double[] c = new double[m * n];
    for (int r = 0; r < m; r++) {
      for (int p = 0; p < k; p++) {
        for (int j = 0; j < n; j++) {
          c[r * n + j] += a[r * k + p] * b[p * n + j];
        }
      }
    }
    return c;
  }

  private static double norm(Shape shape, double[] x, Rescale rescale) {
    double weights = 0;
    double bias = 0;
    for (int j = 0; j < x.length; j++) {
      if (shape.bias && j % shape.i == shape.i - 1) {
        bias += x[j] * x[j];
      } else {
        weights += x[j] * x[j];
      }
    }
    return rescale == Rescale.SUM_OF_NORMS
        ? Math.sqrt(weights) + Math.sqrt(bias)
        : Math.sqrt(weights + bias);
  }

  private static void assertClose(
      double[] expected, double[] actual, double tolerance, String what) {
    double scale = 0;
    for (double x : expected) {
      scale = Math.max(scale, Math.abs(x));
    }
    for (int j = 0; j < expected.length; j++) {
      assertEquals(expected[j], actual[j], tolerance * scale, what + " at " + j);
    }
  }

  private static void assertSame(double[] expected, double[] actual, String what) {
    for (int j = 0; j < expected.length; j++) {
      assertEquals(expected[j], actual[j], what + " at " + j);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void everyPairOfStoragesMultipliesAsTheFormula(Tier tier) {
    // Every pair once, with shapes in turn, and two of low rank with all of them.
    int turn = 0;
    for (Storage left : STORAGES) {
      for (Storage right : STORAGES) {
        boolean all = left == right && left instanceof Storage.LowRank;
        for (int n = 0; n < (all ? Shape.ALL.length : 2); n++) {
          Shape shape = Shape.ALL[turn++ % Shape.ALL.length];
          check(tier, shape, left, right, 10, Rescale.SUM_OF_NORMS);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void lowRankIsExactForAnyNumberOfColumns(Tier tier) {
    for (int updates : new int[] {0, 1, 8, 9, 33}) {
      for (int n = 0; n < Shape.ALL.length; n++) {
        Rescale rescale = Rescale.values()[(n + updates) % 3];
        check(tier, Shape.ALL[n], Storage.lowRank(64, 0), Storage.lowRank(48, 0), updates, rescale);
      }
    }
    check(
        tier,
        new Shape(40, 41, true),
        Storage.lowRank(8, 1),
        Storage.lowRank(90, 0),
        70,
        Rescale.SUM_OF_NORMS);
  }

  private static void check(
      Tier tier, Shape shape, Storage left, Storage right, int updates, Rescale rescale) {
    SplittableRandom random = new SplittableRandom(shape.o * 1000 + shape.i + updates);
    String what = tier + " " + shape + " " + left + " " + right + " " + updates + " " + rescale;
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor l = factor(arena, shape.o, left, updates, random, tier);
      InverseFactor r = factor(arena, shape.i, right, updates, random, tier);
      double[] g = random(shape.o * shape.i, random);
      Gradient gradient = new Gradient(arena, shape, g, random.nextInt(4));
      double[] lg = product(shape.o, shape.o, shape.i, dense(arena, l), g);
      double[] p = product(shape.o, shape.i, shape.i, lg, dense(arena, r));
      Preconditioner preconditioner =
          Preconditioner.create(arena, l, r, shape.bias, rescale, 1, tier);
      double nu = preconditioner.prepare(gradient.dw, gradient.db);
      assertSame(g, gradient.values(), what + ": prepare wrote");
      double expected =
          rescale == Rescale.NONE ? 1 : norm(shape, g, rescale) / norm(shape, p, rescale);
      assertEquals(expected, nu, TOLERANCE * expected, what);
      // In pieces, of which one is empty.
      int cut = shape.o / 3;
      preconditioner.apply(gradient.dw, gradient.db, cut, shape.o);
      preconditioner.apply(gradient.dw, gradient.db, cut, cut);
      preconditioner.apply(gradient.dw, gradient.db, 0, cut);
      assertEquals(Preconditioner.Outcome.APPLIED, preconditioner.outcome(), what);
      assertClose(p, gradient.values(), TOLERANCE, what);
      gradient.checkGaps(what);
      // A second gradient with the same factors, and after another update.
      for (int again = 0; again < 2; again++) {
        g = random(shape.o * shape.i, random);
        Gradient second = new Gradient(arena, shape, g, 0);
        lg = product(shape.o, shape.o, shape.i, dense(arena, l), g);
        p = product(shape.o, shape.i, shape.i, lg, dense(arena, r));
        nu = preconditioner.precondition(second.dw, second.db);
        double[] actual = second.values();
        for (int j = 0; j < p.length; j++) {
          p[j] *= nu;
        }
        assertClose(p, actual, TOLERANCE, what + " again " + again);
        if (rescale != Rescale.NONE) {
          double kept = norm(shape, g, rescale);
          assertEquals(kept, norm(shape, actual, rescale), TOLERANCE * kept, what);
        }
        float[] v = new float[shape.o];
        v[shape.o / 2] = 1;
        l.update(Tensor.copyOf(arena, v, shape.o));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void identitiesLeaveTheGradientBitByBit(Tier tier) {
    for (Storage storage : STORAGES) {
      for (Shape shape : Shape.ALL) {
        SplittableRandom random = new SplittableRandom(shape.o);
        try (Arena arena = Arena.ofConfined()) {
          InverseFactor l = factor(arena, shape.o, storage, 0, random, tier);
          InverseFactor r = factor(arena, shape.i, storage, 0, random, tier);
          double[] g = random(shape.o * shape.i, random);
          Gradient gradient = new Gradient(arena, shape, g, 1);
          Preconditioner preconditioner =
              Preconditioner.create(arena, l, r, shape.bias, Rescale.FROBENIUS, 1, tier);
          assertEquals(1, preconditioner.precondition(gradient.dw, gradient.db));
          assertSame(g, gradient.values(), tier + " " + storage + " " + shape);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theDirectionDoesNotDependOnTheScale(Tier tier) {
    Shape shape = new Shape(33, 64, true);
    for (Storage storage : STORAGES) {
      SplittableRandom random = new SplittableRandom(9);
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor l = factor(arena, shape.o, storage, 12, random, tier);
        InverseFactor r = factor(arena, shape.i, storage, 12, random, tier);
        double[] g = random(shape.o * shape.i, random);
        double[] unit = null;
        double nuOfUnit = 0;
        for (int exponent : new int[] {0, -90, -40, 10, 60, 100}) {
          double[] scaled = g.clone();
          for (int j = 0; j < g.length; j++) {
            scaled[j] = Math.scalb(g[j], exponent);
          }
          Gradient gradient = new Gradient(arena, shape, scaled, 0);
          Preconditioner preconditioner =
              Preconditioner.create(arena, l, r, true, Rescale.SUM_OF_NORMS, 1, tier);
          double nu = preconditioner.prepare(gradient.dw, gradient.db);
          preconditioner.apply(gradient.dw, gradient.db, 0, shape.o);
          double[] p = gradient.values();
          for (int j = 0; j < p.length; j++) {
            p[j] = Math.scalb(p[j], -exponent);
          }
          if (unit == null) {
            unit = p;
            nuOfUnit = nu;
          }
          String what = tier + " " + storage + " scale 2^" + exponent;
          assertSame(unit, p, what);
          assertEquals(nuOfUnit, nu, 1e-6 * nu, what);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void shortProductsHaveAccurateNorms(Tier tier) {
    // G lies where both factors are small: nearly all of its length cancels.
    int d = 70;
    for (boolean bias : new boolean[] {false, true}) {
      Shape shape = new Shape(d, d, bias);
      for (double rest : new double[] {1, 1e-1, 1e-3, 1e-5}) {
        SplittableRandom random = new SplittableRandom(4);
        try (Arena arena = Arena.ofConfined()) {
          Storage storage = Storage.lowRank(24, 0);
          InverseFactor l = factor(arena, d, storage, 0, random, tier);
          InverseFactor r = factor(arena, d, storage, 0, random, tier);
          float[] v = new float[d];
          for (int j = 0; j < d; j++) {
            v[j] = 20 * (float) random.nextGaussian();
          }
          for (int t = 0; t < 30; t++) {
            l.update(Tensor.copyOf(arena, v, d));
            r.update(Tensor.copyOf(arena, v, d));
          }
          double[] g = random(d * d, random);
          for (int a = 0; a < d; a++) {
            for (int b = 0; b < d; b++) {
              g[a * d + b] = (float) (v[a] * v[b] / 400 + rest * g[a * d + b]);
            }
          }
          Gradient gradient = new Gradient(arena, shape, g, 0);
          for (Rescale rescale : Rescale.values()) {
            Preconditioner preconditioner =
                Preconditioner.create(arena, l, r, bias, rescale, 1, tier);
            double nu = preconditioner.prepare(gradient.dw, gradient.db);
            Gradient copy = new Gradient(arena, shape, g, 0);
            preconditioner.apply(copy.dw, copy.db, 0, d);
            double[] p = copy.values();
            double expected =
                rescale == Rescale.NONE ? 1 : norm(shape, g, rescale) / norm(shape, p, rescale);
            assertEquals(expected, nu, 2e-6 * expected, tier + " rest " + rest + " " + rescale);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void zeroAndBadGradientsAreLeft(Tier tier) {
    Shape shape = new Shape(33, 65, true);
    for (Storage storage : STORAGES) {
      SplittableRandom random = new SplittableRandom(2);
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor l = factor(arena, shape.o, storage, 5, random, tier);
        InverseFactor r = factor(arena, shape.i, storage, 5, random, tier);
        Preconditioner preconditioner =
            Preconditioner.create(arena, l, r, true, Rescale.SUM_OF_NORMS, 1, tier);
        Gradient zero = new Gradient(arena, shape, new double[shape.o * shape.i], 0);
        assertEquals(1, preconditioner.precondition(zero.dw, zero.db));
        assertEquals(Preconditioner.Outcome.APPLIED, preconditioner.outcome());
        assertSame(new double[shape.o * shape.i], zero.values(), "zero");
        double[] bads = {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY};
        for (double bad : bads) {
          for (int at : new int[] {0, 64, 32 * 65 + 40, 33 * 65 - 1}) {
            double[] g = random(shape.o * shape.i, random);
            g[at] = bad;
            Gradient gradient = new Gradient(arena, shape, g, 0);
            String what = tier + " " + storage + " " + bad + " at " + at;
            assertEquals(1, preconditioner.precondition(gradient.dw, gradient.db), what);
            assertEquals(Preconditioner.Outcome.NOT_FINITE, preconditioner.outcome(), what);
            assertSame(g, gradient.values(), what);
          }
        }
        // What is bad once leaves nothing behind.
        double[] g = random(shape.o * shape.i, random);
        Gradient first = new Gradient(arena, shape, g, 0);
        Gradient second = new Gradient(arena, shape, g, 0);
        preconditioner.precondition(first.dw, first.db);
        Preconditioner.create(arena, l, r, true, Rescale.SUM_OF_NORMS, 1, tier)
            .precondition(second.dw, second.db);
        assertSame(second.values(), first.values(), tier + " " + storage + " afterwards");
        double[] tiny = new double[shape.o * shape.i];
        Arrays.fill(tiny, Float.MIN_VALUE);
        Gradient vanishing = new Gradient(arena, shape, tiny, 0);
        assertEquals(1, preconditioner.precondition(vanishing.dw, vanishing.db));
        assertEquals(Preconditioner.Outcome.VANISHED, preconditioner.outcome(), storage.toString());
        assertSame(tiny, vanishing.values(), "vanished");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void anyNumberOfThreadsGivesTheSameBits(Tier tier) {
    Shape shape = new Shape(270, 251, true);
    Storage[][] pairs = {
      {Storage.lowRank(24, 1), Storage.lowRank(24, 1)},
      {Storage.lowRank(24, 1), Storage.symmetricTiles()},
      {Storage.dense(), Storage.deviation(DType.F16)}
    };
    for (Storage[] pair : pairs) {
      SplittableRandom random = new SplittableRandom(6);
      try (Arena arena = Arena.ofShared()) {
        InverseFactor l = factor(arena, shape.o, pair[0], 9, random, tier);
        InverseFactor r = factor(arena, shape.i, pair[1], 9, random, tier);
        double[] g = random(shape.o * shape.i, random);
        Gradient one = new Gradient(arena, shape, g, 0);
        double nu =
            Preconditioner.create(arena, l, r, true, Rescale.SUM_OF_NORMS, 1, tier)
                .precondition(one.dw, one.db);
        for (int threads : new int[] {2, 3, 5}) {
          Gradient many = new Gradient(arena, shape, g, 0);
          Preconditioner preconditioner =
              Preconditioner.create(arena, l, r, true, Rescale.SUM_OF_NORMS, threads, tier);
          assertEquals(nu, preconditioner.precondition(many.dw, many.db), tier + " " + threads);
          assertSame(one.values(), many.values(), tier + " threads " + threads);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void rowsDoNotDependOnTheCut(Tier tier) {
    for (Shape shape : new Shape[] {new Shape(45, 65, true), new Shape(45, 70, true)}) {
      SplittableRandom random = new SplittableRandom(8);
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor l = factor(arena, shape.o, Storage.lowRank(12, 0), 9, random, tier);
        InverseFactor r = factor(arena, shape.i, Storage.lowRank(12, 0), 9, random, tier);
        double[] g = random(shape.o * shape.i, random);
        Preconditioner preconditioner =
            Preconditioner.create(arena, l, r, true, Rescale.SUM_OF_NORMS, 1, tier);
        Gradient whole = new Gradient(arena, shape, g, 0);
        preconditioner.prepare(whole.dw, whole.db);
        preconditioner.apply(whole.dw, whole.db, 0, shape.o);
        for (int length : new int[] {1, 5, 8, 13}) {
          Gradient cut = new Gradient(arena, shape, g, 0);
          for (int from = 0; from < shape.o; from += length) {
            preconditioner.apply(cut.dw, cut.db, from, Math.min(shape.o, from + length));
          }
          assertSame(whole.values(), cut.values(), tier + " " + shape + " by " + length);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void recordedProductsAreReproduced(Tier tier) throws IOException {
    Storage[] storages = {Storage.lowRank(8, 0), Storage.dense(), Storage.symmetricTiles()};
    try (SafetensorsFile file =
            SafetensorsFile.open(LowRankContractTest.golden("kern_precondition"));
        Arena arena = Arena.ofConfined()) {
      for (String key : new String[] {"1x1", "3x5b", "16x33", "33x64b"}) {
        double[] g = file.load(key + ".G", arena).toDoubleArray();
        Tensor lMatrix = file.load(key + ".L", arena);
        Tensor rMatrix = file.load(key + ".R", arena);
        Shape shape = new Shape((int) lMatrix.rows(), (int) rMatrix.rows(), key.endsWith("b"));
        for (Storage storage : storages) {
          InverseFactor l = factor(arena, shape.o, storage, 0, new SplittableRandom(1), tier);
          InverseFactor r = factor(arena, shape.i, storage, 0, new SplittableRandom(1), tier);
          l.fromDense(lMatrix);
          r.fromDense(rMatrix);
          for (Rescale rescale : Rescale.values()) {
            String run = key + "." + rescale.name().toLowerCase(Locale.ROOT);
            double scale = file.load(run + ".scale", arena).getDouble(0);
            double[] p = file.load(run + ".P", arena).toDoubleArray();
            Gradient gradient = new Gradient(arena, shape, g, 2);
            double nu =
                Preconditioner.create(arena, l, r, shape.bias, rescale, 1, tier)
                    .precondition(gradient.dw, gradient.db);
            String what = tier + " " + storage + " " + run;
            assertEquals(scale, nu, TOLERANCE * scale, what);
            assertClose(p, gradient.values(), TOLERANCE, what);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void recordedRowsGiveTheProductOfTheirGradient(Tier tier) throws IOException {
    Storage[] storages = {Storage.lowRank(8, 0), Storage.dense(), Storage.symmetricTiles()};
    try (SafetensorsFile file =
            SafetensorsFile.open(LowRankContractTest.golden("kern_lowrank_gradient"));
        Arena arena = Arena.ofConfined()) {
      Tensor y = file.load("Y", arena).to(DType.F32, arena);
      Tensor a = file.load("A", arena).to(DType.F32, arena);
      double[] g = file.load("G", arena).toDoubleArray();
      double[] p = file.load("P", arena).toDoubleArray();
      for (Storage left : storages) {
        for (Storage right : storages) {
          for (boolean bias : new boolean[] {false, true}) {
            Shape shape = new Shape((int) y.rowLength(), (int) a.rowLength(), bias);
            InverseFactor l = factor(arena, shape.o, left, 0, new SplittableRandom(1), tier);
            InverseFactor r = factor(arena, shape.i, right, 0, new SplittableRandom(1), tier);
            l.fromDense(file.load("L", arena));
            r.fromDense(file.load("R", arena));
            Gradient gradient = new Gradient(arena, shape, g, 1);
            Preconditioner preconditioner =
                Preconditioner.create(arena, l, r, bias, Rescale.SUM_OF_NORMS, 1, tier);
            double nu = preconditioner.prepareFactored(y, a, gradient.dw, gradient.db);
            double expected =
                norm(shape, g, Rescale.SUM_OF_NORMS) / norm(shape, p, Rescale.SUM_OF_NORMS);
            String what = tier + " " + left + " " + right;
            assertEquals(expected, nu, TOLERANCE * expected, what);
            preconditioner.apply(gradient.dw, gradient.db, 0, shape.o);
            assertClose(p, gradient.values(), TOLERANCE, what);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void badArgumentsAreNamed(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      SplittableRandom random = new SplittableRandom(1);
      InverseFactor l = factor(arena, 3, Storage.lowRank(2, 0), 1, random, tier);
      InverseFactor r = factor(arena, 5, Storage.lowRank(2, 0), 1, random, tier);
      Preconditioner with = Preconditioner.create(arena, l, r, true, Rescale.NONE, 1, tier);
      Tensor dw = Tensor.allocate(arena, DType.F32, 3, 4);
      Tensor db = Tensor.allocate(arena, DType.F32, 3);
      Tensor rows = Tensor.allocate(arena, DType.F32, 2, 3);
      assertMessage("dw: expected F32[3, 4]", () -> with.prepare(rows, db));
      assertMessage("db: expected the gradient of the bias", () -> with.prepare(dw, null));
      assertMessage("db: expected", () -> with.prepare(dw, Tensor.allocate(arena, DType.F32, 4)));
      assertMessage(
          "dw: expected F32[3, 4]",
          () -> with.precondition(Tensor.allocate(arena, DType.F64, 3, 4), db));
      assertMessage("a: expected F32[2, 5]", () -> with.prepareFactored(rows, rows, dw, db));
      assertMessage(
          "threads: expected at least 1",
          () -> Preconditioner.create(arena, l, r, true, Rescale.NONE, 0, tier));
      assertThrows(IndexOutOfBoundsException.class, () -> with.apply(dw, db, 2, 4));
      Preconditioner without = Preconditioner.create(arena, l, r, false, Rescale.NONE, 1, tier);
      Tensor whole = Tensor.allocate(arena, DType.F32, 3, 5);
      assertMessage("db: expected none", () -> without.prepare(whole, db));
    }
  }

  private static void assertMessage(String part, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }
}
