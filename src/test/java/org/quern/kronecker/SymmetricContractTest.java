package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The symmetric matrix and the factors built on it, on every tier of this machine. */
class SymmetricContractTest {
  /** The recorded cases, beside the project where it is developed. */
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "mkor");

  private static final int[] SIZES = {1, 2, 3, 15, 16, 17, 63, 64, 65, 130};

  /** Greatest relative error of one rounding. */
  static double unit(DType type) {
    return switch (type) {
      case BF16 -> 0x1p-8;
      case F16 -> 0x1p-11;
      default -> 0x1p-24;
    };
  }

  static Stream<Tier> tiers() {
    return InverseFactor.TIERS.stream().filter(Capabilities.get().available()::contains).sorted();
  }

  static List<Storage> storages() {
    return List.of(
        new Storage.Dense(1),
        new Storage.Dense(3),
        new Storage.SymmetricTiles(1),
        new Storage.SymmetricTiles(8),
        new Storage.Deviation(DType.BF16, 1),
        new Storage.Deviation(DType.BF16, 8),
        new Storage.Deviation(DType.F16, 1),
        new Storage.Deviation(DType.F16, 3));
  }

  static Stream<Arguments> tiersAndStorages() {
    return tiers().flatMap(tier -> storages().stream().map(storage -> Arguments.of(tier, storage)));
  }

  static Stream<Arguments> tiersAndMatrices() {
    return tiers()
        .flatMap(tier ->
            Stream.of(
                Arguments.of(tier, SymmetricMatrix.Layout.FULL, DType.F32),
                Arguments.of(tier, SymmetricMatrix.Layout.TILES, DType.F32),
                Arguments.of(tier, SymmetricMatrix.Layout.TILES, DType.F16),
                Arguments.of(tier, SymmetricMatrix.Layout.TILES, DType.BF16)));
  }

  static DType type(Storage storage) {
    return storage instanceof Storage.Deviation deviation ? deviation.type() : DType.F32;
  }

  // Matrices of double, the reference.

  static double[] vector(SplittableRandom random, int d, double size) {
    double[] v = new double[d];
    for (int i = 0; i < d; i++) {
      v[i] = (float) (random.nextGaussian() * size);
    }
    return v;
  }

  static Tensor tensor(Arena arena, double[] v) {
    float[] floats = new float[v.length];
    for (int i = 0; i < v.length; i++) {
      floats[i] = (float) v[i];
    }
    return Tensor.copyOf(arena, floats, v.length);
  }

  private static Tensor tensor(Arena arena, double[][] m) {
    double[] flat = Arrays.stream(m).flatMapToDouble(Arrays::stream).toArray();
    return Tensor.copyOf(arena, flat, m.length, m.length);
  }

  private static double[][] array(Tensor tensor) {
    double[] flat = tensor.toDoubleArray();
    int d = (int) tensor.dim(0);
    double[][] m = new double[d][];
    for (int i = 0; i < d; i++) {
      m[i] = Arrays.copyOfRange(flat, i * d, (i + 1) * d);
    }
    return m;
  }

  static double[][] dense(Arena arena, InverseFactor factor) {
    Tensor out = Tensor.allocate(arena, DType.F64, factor.dimension(), factor.dimension());
    factor.toDense(out);
    return array(out);
  }

  static double[][] dense(Arena arena, SymmetricMatrix matrix) {
    Tensor out = Tensor.allocate(arena, DType.F64, matrix.dimension(), matrix.dimension());
    matrix.toDense(out);
    return array(out);
  }

  private static double[][] identity(int d) {
    double[][] m = new double[d][d];
    for (int i = 0; i < d; i++) {
      m[i][i] = 1;
    }
    return m;
  }

  private static double[] times(double[][] m, double[] v) {
    double[] w = new double[m.length];
    for (int i = 0; i < m.length; i++) {
      w[i] = dot(m[i], v);
    }
    return w;
  }

  static double dot(double[] x, double[] y) {
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      sum += x[i] * y[i];
    }
    return sum;
  }

  /** {@code p m + c I + q y y'}. */
  private static double[][] updated(double[][] m, double p, double c, double q, double[] y) {
    int d = m.length;
    double[][] out = new double[d][d];
    for (int i = 0; i < d; i++) {
      for (int j = 0; j < d; j++) {
        out[i][j] = p * m[i][j] + (i == j ? c : 0) + q * y[i] * y[j];
      }
    }
    return out;
  }

  /** The rule as section 4 of the paper's supplement and the released program state it. */
  private static double[][] updated(double[][] j, UpdateRule rule, double gamma, double[] v) {
    double[] w = times(j, v);
    return switch (rule) {
      case CODE -> {
        double[] y = times(updated(j, gamma, 1 - gamma, 0, v), v);
        yield updated(j, gamma, 1 - gamma, -1 / (1 + dot(v, y)), y);
      }
      case PAPER ->
          updated(
              j,
              gamma,
              0,
              (1 - gamma) / (gamma * gamma * (1 + gamma * (1 - gamma) * dot(v, w))),
              w);
      case EXACT -> exact(j, gamma, 1 - gamma, v, w);
      case LEGACY_LEFT -> exact(j, gamma, (1 - gamma) * (1 - gamma), v, w);
    };
  }

  private static double[][] exact(
      double[][] j, double gamma, double weight, double[] v, double[] w) {
    return updated(j, 1 / gamma, 0, -weight / (gamma + weight * dot(v, w)) / gamma, w);
  }

  private static double max(double[][] m) {
    double max = 0;
    for (double[] row : m) {
      for (double x : row) {
        max = Math.max(max, Math.abs(x));
      }
    }
    return max;
  }

  private static double difference(double[][] x, double[][] y) {
    return max(minus(x, y));
  }

  private static double[][] minus(double[][] x, double[][] y) {
    double[][] out = new double[x.length][x.length];
    for (int i = 0; i < x.length; i++) {
      for (int j = 0; j < x.length; j++) {
        out[i][j] = x[i][j] - y[i][j];
      }
    }
    return out;
  }

  static void assertSymmetric(double[][] m, String what) {
    for (int i = 0; i < m.length; i++) {
      for (int j = 0; j < i; j++) {
        if (m[i][j] != m[j][i]) {
          fail(what + ": element " + i + ", " + j + " is not that of " + j + ", " + i);
        }
      }
    }
  }

  // The matrix alone.

  private static SymmetricMatrix random(
      Arena arena,
      SplittableRandom random,
      int d,
      SymmetricMatrix.Layout layout,
      DType type,
      int threads,
      Tier tier) {
    SymmetricMatrix matrix = SymmetricMatrix.create(arena, d, layout, type, threads, tier);
    double[][] m = new double[d][d];
    for (int i = 0; i < d; i++) {
      for (int j = 0; j <= i; j++) {
        m[i][j] = random.nextGaussian();
      }
    }
    matrix.fromDense(tensor(arena, m));
    return matrix;
  }

  @ParameterizedTest
  @MethodSource("tiersAndMatrices")
  void updatesAndProductsAgreeWithTheFormula(Tier tier, SymmetricMatrix.Layout layout, DType type) {
    for (int d : SIZES) {
      checkPass(tier, layout, type, d, 0.75, 0.5, -0.3);
      checkPass(tier, layout, type, d, 1, 0.5, 0.3);
      checkPass(tier, layout, type, d, 1, 0, -2);
      checkPass(tier, layout, type, d, 0, 1, 1);
      checkPass(tier, layout, type, d, -1, 0, 0);
    }
  }

  private static void checkPass(
      Tier tier, SymmetricMatrix.Layout layout, DType type, int d, double p, double c, double q) {
    SplittableRandom random = new SplittableRandom(d);
    try (Arena arena = Arena.ofConfined()) {
      SymmetricMatrix matrix = random(arena, random, d, layout, type, 1, tier);
      SymmetricMatrix twin = random(arena, new SplittableRandom(d), d, layout, type, 1, tier);
      double[][] before = dense(arena, matrix);
      double[] y = vector(random, d, 1);
      double[] v = vector(random, d, 1);
      Tensor w = Tensor.allocate(arena, DType.F32, d);
      String what = tier + " " + layout + " " + type + " d " + d + " p " + p;

      matrix.updateAndMultiply(p, c, q, tensor(arena, y), tensor(arena, v), w);
      double[][] after = dense(arena, matrix);
      double[][] want = updated(before, p, c, q, y);
      assertEquals(0, difference(want, after), (unit(type) + 0x1p-22) * (1 + max(want)), what);
      assertSymmetric(after, what);
      assertProduct(after, v, w, what);

      // The same in two passes, to the bit.
      twin.update(p, c, q, tensor(arena, y));
      assertEquals(0, difference(after, dense(arena, twin)), 0, what);
      Tensor again = Tensor.allocate(arena, DType.F32, d);
      twin.multiply(tensor(arena, v), again);
      assertProduct(after, v, again, what);
    }
  }

  /** The bound of a sum of d products in F32 (Higham, section 3.1). */
  private static void assertProduct(double[][] m, double[] v, Tensor w, String what) {
    for (int i = 0; i < m.length; i++) {
      double size = 0;
      for (int j = 0; j < m.length; j++) {
        size += Math.abs(m[i][j] * v[j]);
      }
      assertEquals(
          dot(m[i], v), w.getDouble(i), (m.length + 2) * 0x1p-24 * size, what + " element " + i);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void aMatrixOfTheCallerIsUpdatedInPlaceAndNothingBesides(Tier tier) {
    for (int d : SIZES) {
      SplittableRandom random = new SplittableRandom(100 + d);
      try (Arena arena = Arena.ofConfined()) {
        int stride = d + 3;
        Tensor whole = Tensor.allocate(arena, DType.F32, d, stride);
        whole.fill(77);
        Tensor s = Tensor.of(whole.memory(), DType.F32, stride, new long[] {d, d});
        SymmetricMatrix matrix =
            SymmetricMatrix.of(arena, d, SymmetricMatrix.Layout.FULL, s, 1, tier);
        matrix.setIdentity(2);
        double[][] want = updated(identity(d), 2, 0, 0, new double[d]);
        for (int t = 0; t < 3; t++) {
          double[] y = vector(random, d, 1);
          matrix.update(0.9, 0.1, 0.5, tensor(arena, y));
          want = updated(want, 0.9, 0.1, 0.5, y);
        }
        assertEquals(0, difference(want, array(s)), 1e-6 * max(want), tier + " d " + d);
        for (int i = 0; i < d; i++) {
          for (int j = d; j < stride; j++) {
            assertEquals(77, whole.getDouble(i, j), tier + " wrote between the rows");
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndMatrices")
  void anyNumberOfThreadsGivesTheSameBits(Tier tier, SymmetricMatrix.Layout layout, DType type) {
    int d = 520;
    try (Arena arena = Arena.ofShared()) {
      SplittableRandom random = new SplittableRandom(5);
      Tensor y = tensor(arena, vector(random, d, 1));
      Tensor v = tensor(arena, vector(random, d, 1));
      SymmetricMatrix one = random(arena, new SplittableRandom(6), d, layout, type, 1, tier);
      Tensor w = Tensor.allocate(arena, DType.F32, d);
      one.updateAndMultiply(0.9, 0.1, -0.2, y, v, w);
      for (int threads : new int[] {2, 3}) {
        SymmetricMatrix many =
            random(arena, new SplittableRandom(6), d, layout, type, threads, tier);
        Tensor x = Tensor.allocate(arena, DType.F32, d);
        many.updateAndMultiply(0.9, 0.1, -0.2, y, v, x);
        assertEquals(-1, w.memory().mismatch(x.memory()), tier + " w");
        assertEquals(-1, one.memory().memory().mismatch(many.memory().memory()), tier + " S");
      }
      assertProduct(dense(arena, one), v.toDoubleArray(), w, tier + " " + layout + " " + type);
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndMatrices")
  void rowsUnpackWithBothTriangles(Tier tier, SymmetricMatrix.Layout layout, DType type) {
    for (int d : new int[] {1, 17, 64, 65, 130, 193}) {
      try (Arena arena = Arena.ofConfined()) {
        SymmetricMatrix matrix = random(arena, new SplittableRandom(d), d, layout, type, 1, tier);
        double[][] want = dense(arena, matrix);
        for (int from : new int[] {0, 1, 64, 100}) {
          for (int to : new int[] {from, from + 1, 64, 128, d}) {
            if (from > to || to > d) {
              continue;
            }
            int stride = d + 2;
            Tensor out = Tensor.allocate(arena, DType.F32, to - from + 1, stride);
            out.fill(55);
            matrix.unpackRows(from, to, out.memory(), 0, stride);
            for (int i = 0; i <= to - from; i++) {
              double[] expected = new double[stride];
              Arrays.fill(expected, 55);
              if (i < to - from) {
                System.arraycopy(want[from + i], 0, expected, 0, d);
              }
              assertArrayEquals(
                  expected, out.row(i).toDoubleArray(), tier + " " + layout + " d " + d);
            }
          }
        }
      }
    }
  }

  // Recorded cases.

  private static SymmetricFactor factor(
      Arena arena, int d, Storage storage, UpdateRule rule, double gamma, Tier tier) {
    return new SymmetricFactor(arena, d, storage, rule, gamma, 1, tier);
  }

  /** The factor after an update, as it is, and as it is once the pass has been made. */
  private static void assertUpdated(
      InverseFactor factor, double[][] want, double tolerance, String what) {
    try (Arena arena = Arena.ofConfined()) {
      double[][] got = dense(arena, factor);
      assertEquals(0, difference(want, got), tolerance, what);
      assertSymmetric(got, what);
      SplittableRandom random = new SplittableRandom(want.length);
      double[] v = vector(random, want.length, 1);
      Tensor w = Tensor.allocate(arena, DType.F32, want.length);
      factor.multiply(tensor(arena, v), w);
      double[] product = times(got, v);
      for (int i = 0; i < v.length; i++) {
        assertEquals(product[i], w.getDouble(i), 4e-7 * v.length * max(got), what + " product");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void recordedUpdatesAreReproduced(Tier tier, Storage storage) throws IOException {
    Path path = GOLDEN.resolve("kern_update_rules.safetensors");
    assumeTrue(Files.isRegularFile(path), "recorded cases are absent");
    double unit = unit(type(storage));
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile file = SafetensorsFile.open(path)) {
      for (int d : new int[] {1, 2, 3, 7, 16, 33, 48}) {
        for (UpdateRule rule : UpdateRule.values()) {
          String what = tier + " " + storage + " d " + d + " " + rule;
          String key = "d" + d + "." + rule.name().toLowerCase(Locale.ROOT);
          double[][] want = array(file.load(key + ".J", arena));
          SymmetricFactor factor = factor(arena, d, storage, rule, 0.95, tier);
          factor.fromDense(file.load("d" + d + ".J", arena));
          double start = max(dense(arena, factor));
          Tensor v = file.load("d" + d + ".v", arena).to(DType.F32, arena);
          assertEquals(InverseFactor.Outcome.APPLIED, factor.update(v), what);
          double s = file.load(key + ".s", arena).getDouble(0);
          // A stored element off by a unit moves w by that many products.
          double spread = (1e-5 + 4 * d * unit(type(storage))) * Math.max(1, start);
          if (unit == 0x1p-24) {
            assertEquals(s, factor.quadraticForm(), 1e-5 * Math.abs(s), what);
            assertUpdated(factor, want, 1e-5 * max(want), what);
          } else {
            assertUpdated(factor, want, spread * Math.max(1, max(want)), what);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void recordedExtremesAreReproduced(Tier tier, Storage storage) throws IOException {
    Path path = GOLDEN.resolve("kern_update_special.safetensors");
    assumeTrue(Files.isRegularFile(path), "recorded cases are absent");
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile file = SafetensorsFile.open(path)) {
      for (double gamma : new double[] {0, 0.5, 0.9, 0.99, 1}) {
        for (String kind : List.of("zero", "e0", "tiny", "big", "norm")) {
          String key = "g" + gamma + "." + kind;
          String what = tier + " " + storage + " " + key;
          double[][] want = array(file.load(key + ".J", arena));
          double s = file.load(key + ".s", arena).getDouble(0);
          SymmetricFactor factor = factor(arena, 12, storage, UpdateRule.CODE, gamma, tier);
          factor.fromDense(file.load("J", arena));
          Tensor v = file.load(key + ".v", arena).to(DType.F32, arena);
          assertEquals(InverseFactor.Outcome.APPLIED, factor.update(v), what);
          double unit = unit(type(storage));
          if (unit == 0x1p-24) {
            assertEquals(s, factor.quadraticForm(), 1e-5 * s, what);
            assertUpdated(factor, want, 1e-5 * max(want), what);
          } else {
            assertUpdated(factor, want, 24 * unit * Math.max(1, max(want)), what);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void theRecordedSequenceIsReproduced(Tier tier, Storage storage) throws IOException {
    Path path = GOLDEN.resolve("kern_sequence.safetensors");
    assumeTrue(Files.isRegularFile(path), "recorded cases are absent");
    double unit = unit(type(storage));
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile file = SafetensorsFile.open(path)) {
      Tensor vectors = file.load("V", arena).to(DType.F32, arena);
      for (UpdateRule rule : List.of(UpdateRule.CODE, UpdateRule.EXACT)) {
        if (rule == UpdateRule.EXACT && unit != 0x1p-24) {
          continue; // It grows as gamma^-t; a 16-bit type has not the digits.
        }
        InverseFactor factor = factor(arena, 48, storage, rule, 0.95, tier);
        for (int t = 0; t < 60; t++) {
          factor.update(vectors.row(t));
          if (t % 10 == 9) {
            String key = "t" + t + "." + rule.name().toLowerCase(Locale.ROOT);
            double[][] want = array(file.load(key, arena));
            // Section 10 of the specification: roundings add up to 1/(1-gamma) of one.
            double deviation = max(updated(want, -1, 1, 0, new double[48]));
            double tolerance =
                unit == 0x1p-24
                    ? (rule == UpdateRule.CODE ? 2e-6 : 1e-5) * Math.max(1, max(want))
                    : 20 * unit * deviation;
            assertUpdated(factor, want, tolerance, tier + " " + storage + " " + key);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void recordedNormsBlendsAndResetsAreReproduced(Tier tier, Storage storage) throws IOException {
    Path path = GOLDEN.resolve("kern_stabiliser.safetensors");
    assumeTrue(Files.isRegularFile(path), "recorded cases are absent");
    double unit = unit(type(storage)) + 1e-6;
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile file = SafetensorsFile.open(path)) {
      for (int n = 0; n < 3; n++) {
        double[][] j = array(file.load("c" + n + ".J", arena));
        double rows = 0;
        for (double[] row : j) {
          rows = Math.max(rows, sumOfAbs(row));
        }
        int d = j.length;
        for (String norm : List.of("maxabs", "inf")) {
          double[][] blended = array(file.load("c" + n + "." + norm + ".blend", arena));
          double[][] reset = array(file.load("c" + n + "." + norm + ".reset", arena));
          InverseFactor factor = factor(arena, d, storage, UpdateRule.CODE, 0.95, tier);
          factor.fromDense(tensor(arena, j));
          double size = 1 + max(j);
          assertEquals(max(j), factor.maxAbs(), unit * size);
          assertEquals(rows, factor.infinityNorm(), d * unit * size);
          boolean above = (norm.equals("inf") ? rows : max(j)) > 2;
          assertEquals(above, difference(j, reset) > 0, "case " + n + " " + norm);
          if (above) {
            factor.blend(0.9);
            assertUpdated(factor, blended, unit * size, tier + " " + storage);
            assertEquals(max(blended), factor.maxAbs(), unit * size);
            factor.reset();
            assertUpdated(factor, reset, 0, tier + " " + storage);
          }
        }
      }
    }
  }

  private static double sumOfAbs(double[] row) {
    double sum = 0;
    for (double x : row) {
      sum += Math.abs(x);
    }
    return sum;
  }

  // Properties.

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void everyUpdateFollowsTheRule(Tier tier, Storage storage) {
    double unit = unit(type(storage));
    for (UpdateRule rule : UpdateRule.values()) {
      for (int d : rule == UpdateRule.CODE ? SIZES : new int[] {2, 65}) {
        SplittableRandom random = new SplittableRandom(d);
        try (Arena arena = Arena.ofConfined()) {
          InverseFactor factor = InverseFactor.create(arena, d, storage, rule, 0.9, tier);
          for (int t = 0; t < 10; t++) {
            double[][] before = dense(arena, factor);
            double[] v = vector(random, d, 1 / Math.sqrt(d));
            double[][] want = updated(before, rule, 0.9, v);
            assertEquals(InverseFactor.Outcome.APPLIED, factor.update(tensor(arena, v)));
            String what = tier + " " + storage + " " + rule + " d " + d + " step " + t;
            double[][] got = dense(arena, factor);
            // The pass rounds every element of the stored matrix once, the rest is in F32.
            double size = Math.max(1, Math.max(max(want), max(before)));
            assertEquals(0, difference(want, got), (4 * unit + 4e-6) * size, what);
            assertSymmetric(got, what);
            double s =
                rule == UpdateRule.CODE
                    ? dot(v, times(updated(before, 0.9, 1 - 0.9, 0, v), v))
                    : dot(v, times(before, v));
            // w comes from the matrix after the pass.
            double spread = (unit + 1e-6) * size * sumOfAbs(v) * sumOfAbs(v) + 1e-6;
            assertEquals(s, factor.quadraticForm(), spread, what);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void theInverseOfTheResultIsWhatTheRuleSays(Tier tier, Storage storage) {
    int d = 9;
    double gamma = 0.9;
    double unit = unit(type(storage));
    for (UpdateRule rule : List.of(UpdateRule.CODE, UpdateRule.EXACT)) {
      SplittableRandom random = new SplittableRandom(11);
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor factor = InverseFactor.create(arena, d, storage, rule, gamma, tier);
        double[][] inverse = identity(d);
        for (int t = 0; t < 12; t++) {
          double[] v = vector(random, d, 0.5);
          if (rule == UpdateRule.CODE) {
            // The inverse is known exactly only with the leak, which is on J.
            inverse = inverted(updated(inverted(inverse), gamma, 1 - gamma, 0, v));
            inverse = updated(inverse, 1, 0, 1, v);
          } else {
            inverse = updated(inverse, gamma, 0, 1 - gamma, v);
          }
          factor.update(tensor(arena, v));
          double[][] j = dense(arena, factor);
          double[][] product = new double[d][d];
          for (int r = 0; r < d; r++) {
            product[r] = times(inverse, j[r]);
          }
          double rounding = (unit + 1e-6) / (1 - gamma) * (t + 1) * max(inverse) * d;
          assertEquals(
              0, difference(product, identity(d)), rounding, tier + " " + storage + " " + rule);
        }
      }
    }
  }

  /** The inverse by elimination; for matrices that need no exchange of rows. */
  private static double[][] inverted(double[][] m) {
    int d = m.length;
    double[][] a = updated(m, 1, 0, 0, new double[d]);
    double[][] b = identity(d);
    for (int k = 0; k < d; k++) {
      double pivot = a[k][k];
      for (int j = 0; j < d; j++) {
        a[k][j] /= pivot;
        b[k][j] /= pivot;
      }
      for (int i = 0; i < d; i++) {
        double factor = a[i][k];
        for (int j = 0; i != k && j < d; j++) {
          a[i][j] -= factor * a[k][j];
          b[i][j] -= factor * b[k][j];
        }
      }
    }
    return b;
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void pendingTermsAreEqualToEagerUpdates(Tier tier, Storage storage) {
    int d = 70;
    double gamma = 0.95;
    SplittableRandom random = new SplittableRandom(21);
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor factor = InverseFactor.create(arena, d, storage, UpdateRule.CODE, gamma, tier);
      boolean deviation = storage instanceof Storage.Deviation;
      SymmetricMatrix eager =
          SymmetricMatrix.create(arena, d, SymmetricMatrix.Layout.TILES, type(storage), 1, tier);
      eager.setIdentity(deviation ? 0 : 1);
      Tensor w = Tensor.allocate(arena, DType.F32, d);
      for (int t = 0; t < 40; t++) {
        double[] v = vector(random, d, 0.3);
        factor.update(tensor(arena, v));
        eager.multiply(tensor(arena, v), w);
        double[] y = new double[d];
        for (int i = 0; i < d; i++) {
          double jv = deviation ? v[i] - w.getDouble(i) : w.getDouble(i);
          y[i] = gamma * jv + (1 - gamma) * v[i];
        }
        double q = -1 / (1 + dot(v, y));
        eager.update(gamma, deviation ? 0 : 1 - gamma, deviation ? -q : q, tensor(arena, y));
      }
      double[][] want = dense(arena, eager);
      if (deviation) {
        want = updated(want, -1, 1, 0, new double[d]);
      }
      double[][] got = dense(arena, factor);
      double roundings = 20 * unit(type(storage)) * max(updated(got, -1, 1, 0, new double[d]));
      assertEquals(0, difference(want, got), 2 * roundings + 2e-6, tier + " " + storage);
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void turningTheVectorsTurnsTheFactor(Tier tier, Storage storage) {
    int d = 67;
    SplittableRandom random = new SplittableRandom(31);
    double[] axis = vector(random, d, 1);
    double length = Math.sqrt(dot(axis, axis));
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor plain = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.95, tier);
      InverseFactor turned = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.95, tier);
      InverseFactor mirrored = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.95, tier);
      for (int t = 0; t < 20; t++) {
        double[] v = vector(random, d, 0.3);
        double[] backwards = new double[d];
        double[] reflected = new double[d];
        double along = 2 * dot(axis, v) / (length * length);
        for (int i = 0; i < d; i++) {
          backwards[i] = v[d - 1 - i];
          reflected[i] = v[i] - along * axis[i];
        }
        plain.update(tensor(arena, v));
        turned.update(tensor(arena, backwards));
        mirrored.update(tensor(arena, reflected));
      }
      double[][] j = dense(arena, plain);
      double[][] reversed = dense(arena, turned);
      double[][] forwards = new double[d][d];
      for (int i = 0; i < d; i++) {
        for (int k = 0; k < d; k++) {
          forwards[i][k] = reversed[d - 1 - i][d - 1 - k];
        }
      }
      assertEquals(0, difference(j, forwards), tolerance(storage), tier + " " + storage);
      // H J(Hv) H = J(v) for the reflection H.
      double[][] h = updated(identity(d), 1, 0, -2 / (length * length), axis);
      double[][] back = product(product(h, dense(arena, mirrored)), h);
      assertEquals(0, difference(j, back), 4 * tolerance(storage), tier + " " + storage);
    }
  }

  private static double tolerance(Storage storage) {
    return 40 * unit(type(storage)) * 0.25 + 4e-6;
  }

  private static double[][] product(double[][] x, double[][] symmetric) {
    double[][] out = new double[x.length][];
    for (int i = 0; i < x.length; i++) {
      out[i] = times(symmetric, x[i]);
    }
    return out;
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void aConstantVectorLeadsToTheFixedPoint(Tier tier, Storage storage) {
    int d = 5;
    double[] squares = {1, 100, 1e4};
    double[] values = {0.18274, 8.5317e-3, 9.98e-5};
    for (int n = 0; n < squares.length; n++) {
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor factor = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.95, tier);
        double[] v = new double[d];
        Arrays.fill(v, (float) Math.sqrt(squares[n] / d));
        for (int t = 0; t < 400; t++) {
          factor.update(tensor(arena, v));
        }
        double[][] j = dense(arena, factor);
        double along = dot(v, times(j, v)) / dot(v, v);
        double tolerance = 5e-6 + (type(storage) == DType.F32 ? 0 : unit(type(storage)));
        assertEquals(values[n], along, tolerance, tier + " " + storage);
        double[] across = {1, -1, 0, 0, 0};
        assertEquals(
            1,
            dot(across, times(j, across)) / 2,
            tolerance * 20,
            tier + " " + storage + ": other directions stay");
      }
    }
  }

  // Bad input.

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void whatIsNotFiniteIsSkippedAndZeroOnlyLeaks(Tier tier, Storage storage) {
    int d = 66;
    try (Arena arena = Arena.ofConfined()) {
      SplittableRandom random = new SplittableRandom(41);
      InverseFactor factor = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.9, tier);
      assertTrue(Double.isNaN(factor.quadraticForm()));
      for (int t = 0; t < 5; t++) {
        factor.update(tensor(arena, vector(random, d, 0.4)));
      }
      double[][] before = dense(arena, factor);
      double s = factor.quadraticForm();
      for (double bad : new double[] {Double.NaN, Double.POSITIVE_INFINITY, -1e300}) {
        for (int at : new int[] {0, 40, 65}) {
          double[] v = vector(random, d, 1);
          v[at] = bad;
          assertEquals(InverseFactor.Outcome.SKIPPED, factor.update(tensor(arena, v)));
        }
      }
      assertEquals(0, difference(before, dense(arena, factor)), 0, tier + " " + storage);
      assertEquals(s, factor.quadraticForm());
      assertEquals(
          InverseFactor.Outcome.APPLIED, factor.update(Tensor.allocate(arena, DType.F32, d)));
      assertEquals(0, factor.quadraticForm());
      double[][] leaked = updated(before, 0.9, 0.1, 0, new double[d]);
      assertEquals(
          0,
          difference(leaked, dense(arena, factor)),
          unit(type(storage)) + 1e-6,
          tier + " " + storage);
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void vectorsOfAnyLengthAreTaken(Tier tier, Storage storage) {
    int d = 130;
    for (double size : new double[] {1e-42, 1e-30, 1e-20, 1e8, 1e15, 1e25, 1e37}) {
      try (Arena arena = Arena.ofConfined()) {
        SplittableRandom random = new SplittableRandom(51);
        InverseFactor factor = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.9, tier);
        double[][] want = identity(d);
        for (int t = 0; t < 4; t++) {
          double[] v = vector(random, d, size);
          double[] unitVector = new double[d];
          for (int i = 0; i < d; i++) {
            unitVector[i] = v[i] / size;
          }
          // In double, with v = size x: J = M - (Mx)(Mx)' / (size^-2 + x'Mx).
          double[][] m = updated(want, 0.9, 0.1, 0, v);
          double[] y = times(m, unitVector);
          want = updated(m, 1, 0, -1 / (1 / (size * size) + dot(unitVector, y)), y);
          assertEquals(InverseFactor.Outcome.APPLIED, factor.update(tensor(arena, v)));
          double s = dot(unitVector, y) * size * size;
          assertEquals(s, factor.quadraticForm(), (1e-4 + 8 * unit(type(storage))) * s);
        }
        double tolerance = 4 * unit(type(storage)) + 4e-6;
        assertEquals(
            0,
            difference(want, dense(arena, factor)),
            tolerance,
            tier + " " + storage + " " + size);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void aFactorThatIsNotPositiveIsReset(Tier tier, Storage storage) {
    int d = 4;
    try (Arena arena = Arena.ofConfined()) {
      double[] v = {3, 0, 0, 0};
      for (UpdateRule rule : UpdateRule.values()) {
        InverseFactor factor = InverseFactor.create(arena, d, storage, rule, 0.5, tier);
        factor.fromDense(tensor(arena, updated(identity(d), -16, 0, 0, v)));
        assertEquals(InverseFactor.Outcome.RESET, factor.update(tensor(arena, v)), rule.name());
        assertEquals(0, difference(identity(d), dense(arena, factor)), 0, tier + " " + storage);
        // Not so negative that the rule breaks: applied as it stands.
        double[][] slightly = updated(identity(d), 1, 0, -1.0 / 9 - 1.0 / 400, v);
        factor.fromDense(tensor(arena, slightly));
        assertEquals(InverseFactor.Outcome.APPLIED, factor.update(tensor(arena, v)), rule.name());
      }
      if (type(storage) == DType.F32) {
        InverseFactor factor = InverseFactor.create(arena, d, storage, UpdateRule.EXACT, 0.5, tier);
        factor.fromDense(tensor(arena, updated(identity(d), 3e38, 0, 0, v)));
        assertEquals(InverseFactor.Outcome.RESET, factor.update(tensor(arena, v)), "J v overflows");
      }
    }
  }

  @Test
  void badArgumentsAreNamed() {
    try (Arena arena = Arena.ofConfined()) {
      Storage storage = Storage.symmetricTiles();
      assertMessage(
          "d: expected at least 1, got 0",
          () -> InverseFactor.create(arena, 0, storage, UpdateRule.CODE, 0.9));
      for (double gamma : new double[] {0, -0.1, 1.01, Double.NaN}) {
        assertMessage(
            "gamma: expected one in (0, 1], got " + gamma,
            () -> InverseFactor.create(arena, 2, storage, UpdateRule.CODE, gamma));
      }
      assertMessage(
          "threads: expected at least 1, got 0",
          () -> InverseFactor.create(arena, 2, storage, UpdateRule.CODE, 0.9, 0, null));
      assertMessage(
          "rule: expected CODE",
          () -> InverseFactor.create(arena, 2, Storage.lowRank(2, 0), UpdateRule.EXACT, 0.9));
      assertMessage("d: expected at least 1, got -1", () -> InverseFactor.bytes(-1, storage));
      InverseFactor factor = InverseFactor.create(arena, 3, storage, UpdateRule.CODE, 0.9);
      Tensor three = Tensor.allocate(arena, DType.F32, 3);
      Tensor four = Tensor.allocate(arena, DType.F32, 4);
      Tensor doubles = Tensor.allocate(arena, DType.F64, 3);
      Tensor square = Tensor.allocate(arena, DType.F32, 4, 4);
      assertMessage("v: expected 3 contiguous", () -> factor.update(four));
      assertMessage("v: expected 3 contiguous", () -> factor.update(doubles));
      assertMessage("w: expected 3 contiguous", () -> factor.multiply(three, four));
      assertMessage("zeta: expected one in [0, 1], got 1.5", () -> factor.blend(1.5));
      assertMessage("zeta: expected one in [0, 1], got NaN", () -> factor.blend(Double.NaN));
      assertMessage("out: expected 3 x 3", () -> factor.toDense(square));
      assertMessage("j: expected 3 x 3", () -> factor.fromDense(square));
      assertMessage("state: expected matrix", () -> factor.restore(Map.of()));
      SymmetricMatrix matrix =
          SymmetricMatrix.create(arena, 3, SymmetricMatrix.Layout.TILES, DType.F32);
      assertMessage("y: expected 3", () -> matrix.update(1, 0, 1, four));
      assertMessage("q: expected a finite", () -> matrix.update(1, 0, Double.NaN, three));
      assertMessage("p: expected a finite", () -> matrix.update(1e300 * 1e300, 0, 1, three));
      assertMessage(
          "type: expected F32, got BF16",
          () -> SymmetricMatrix.create(arena, 3, SymmetricMatrix.Layout.FULL, DType.BF16));
      assertMessage(
          "type: expected F32, F16 or BF16, got F64",
          () -> SymmetricMatrix.create(arena, 3, SymmetricMatrix.Layout.TILES, DType.F64));
      assertMessage(
          "memory: expected 3 x 3",
          () -> SymmetricMatrix.of(arena, 3, SymmetricMatrix.Layout.FULL, square, 1, null));
      assertMessage(
          "memory: expected 4096 contiguous",
          () -> SymmetricMatrix.of(arena, 3, SymmetricMatrix.Layout.TILES, square, 1, null));
    }
  }

  private static void assertMessage(String start, Executable executable) {
    String message = assertThrows(IllegalArgumentException.class, executable).getMessage();
    assertTrue(message.startsWith(start), message);
  }

  // State.

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void aRestoredFactorGoesOnToTheBit(Tier tier, Storage storage) {
    int d = 65;
    for (int stop : new int[] {0, 1, 2, 5, 11}) {
      SplittableRandom random = new SplittableRandom(61);
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor factor = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.9, tier);
        for (int t = 0; t < stop; t++) {
          factor.update(tensor(arena, vector(random, d, 0.3)));
        }
        InverseFactor twin = InverseFactor.create(arena, d, storage, UpdateRule.CODE, 0.9, tier);
        twin.update(tensor(arena, vector(new SplittableRandom(1), d, 1)));
        twin.restore(factor.state(arena));
        for (int t = 0; t < 10; t++) {
          Map<String, Tensor> want = factor.state(arena);
          Map<String, Tensor> got = twin.state(arena);
          assertEquals(List.copyOf(want.keySet()), List.copyOf(got.keySet()));
          for (String name : want.keySet()) {
            assertArrayEquals(want.get(name).shape(), got.get(name).shape(), name);
            assertEquals(-1, want.get(name).memory().mismatch(got.get(name).memory()), name);
          }
          assertEquals(factor.quadraticForm(), twin.quadraticForm());
          Tensor v = tensor(arena, vector(random, d, 0.3));
          factor.update(v);
          twin.update(v);
        }
      }
    }
  }
}
