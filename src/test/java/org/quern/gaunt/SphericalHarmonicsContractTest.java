package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** What every tier must do, compared with formulas in angles written for this test alone. */
class SphericalHarmonicsContractTest {
  /** The recorded cases, beside the project where it is developed. */
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "gaunt");

  /** Around the lanes of every vector width, and more than a block. */
  private static final int[] COUNTS = {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33, 35, 67};

  private static final double GUARD = 12345.5;

  static Stream<Tier> tiers() {
    return SphericalHarmonics.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static SphericalHarmonics harmonics(Tier tier, int degree) {
    return SphericalHarmonics.builder(degree).tier(tier).build();
  }

  /** Y of a direction by angles. */
  private static double[] expected(int degree, double x, double y, double z) {
    double largest = Math.max(Math.abs(x), Math.max(Math.abs(y), Math.abs(z)));
    double across = Math.hypot(x / largest, z / largest);
    double length = Math.hypot(across, y / largest);
    double[] functions = new double[Legendre.size(degree)];
    new Legendre(degree).values(y / largest / length, across / length, functions);
    double alpha = Math.atan2(x, z);
    double[] values = new double[(degree + 1) * (degree + 1)];
    for (int l = 0; l <= degree; l++) {
      values[l * l + l] = functions[Legendre.index(l, 0)];
      for (int m = 1; m <= l; m++) {
        double function = Math.sqrt(2) * functions[Legendre.index(l, m)];
        values[l * l + l + m] = function * Math.cos(m * alpha);
        values[l * l + l - m] = function * Math.sin(m * alpha);
      }
    }
    return values;
  }

  private static Tensor strided(Arena arena, DType type, int rows, int n, int gap) {
    long stride = n + (long) gap;
    MemorySegment memory = arena.allocate(Math.max(1, rows * stride * type.bytes()), type.bytes());
    Tensor all = Tensor.of(memory, type, (long) rows * stride);
    all.fill(GUARD);
    return Tensor.of(memory, type, stride, new long[] {rows, n});
  }

  private static Tensor randomVectors(Arena arena, DType type, Random random, int n, int gap) {
    Tensor vectors = strided(arena, type, n, 3, gap);
    for (int p = 0; p < n; p++) {
      double length = Math.exp(random.nextGaussian());
      for (int axis = 0; axis < 3; axis++) {
        vectors.setDouble(random.nextGaussian() * length, p, axis);
      }
    }
    return vectors;
  }

  private static double[] values(SphericalHarmonics harmonics, double... xyz) {
    try (Arena arena = Arena.ofConfined()) {
      int n = xyz.length / 3;
      Tensor out = Tensor.allocate(arena, DType.F64, n, harmonics.components());
      harmonics.values(Tensor.copyOf(arena, xyz, n, 3), out);
      return out.toDoubleArray();
    }
  }

  private static double[] jacobian(SphericalHarmonics harmonics, double... xyz) {
    try (Arena arena = Arena.ofConfined()) {
      int n = xyz.length / 3;
      Tensor out = Tensor.allocate(arena, DType.F64, n, harmonics.components(), 3);
      harmonics.jacobian(Tensor.copyOf(arena, xyz, n, 3), out);
      return out.toDoubleArray();
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void agreesWithTheFormulaInAnglesForAllCountsStridesAndDegrees(Tier tier) {
    for (int seed = 0; seed < 60; seed++) {
      Random random = new Random(seed);
      int n = COUNTS[seed % COUNTS.length];
      int degree = seed % 7 == 0 ? 32 : random.nextInt(13);
      DType type = random.nextBoolean() ? DType.F32 : DType.F64;
      int components = (degree + 1) * (degree + 1);
      int gap = random.nextInt(4);
      try (Arena arena = Arena.ofConfined()) {
        Tensor vectors = randomVectors(arena, type, random, n, random.nextInt(3));
        Tensor out = strided(arena, type, n, components, gap);
        harmonics(tier, degree).values(vectors, out);
        for (int p = 0; p < n; p++) {
          double[] expected =
              expected(
                  degree,
                  vectors.getDouble(p, 0),
                  vectors.getDouble(p, 1),
                  vectors.getDouble(p, 2));
          for (int i = 0; i < components; i++) {
            double tolerance =
                type == DType.F32
                    ? 0.51 * Math.ulp((float) expected[i]) + 1e-13
                    : 3e-15 * (degree + 3);
            assertEquals(
                expected[i],
                out.getDouble(p, i),
                tolerance,
                tier + " seed " + seed + " degree " + degree + " vector " + p + " component " + i);
          }
        }
        assertGaps(out, n, components, gap, tier + " seed " + seed);
      }
    }
  }

  private static void assertGaps(Tensor out, int n, int row, int gap, String what) {
    Tensor all = Tensor.of(out.memory(), out.type(), (long) n * (row + gap));
    for (int p = 0; p < n; p++) {
      for (int i = row; i < row + gap; i++) {
        assertEquals(GUARD, all.getDouble((long) p * (row + gap) + i), what + " wrote into a gap");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void derivativesAgreeWithOneAnotherForAllCountsAndStrides(Tier tier) {
    for (int seed = 0; seed < 48; seed++) {
      Random random = new Random(1000 + seed);
      int n = COUNTS[seed % COUNTS.length];
      int degree = seed % 11 == 0 ? 32 : random.nextInt(9);
      DType type = random.nextBoolean() ? DType.F32 : DType.F64;
      SphericalHarmonics harmonics = harmonics(tier, degree);
      int components = harmonics.components();
      String what = tier + " seed " + seed + " degree " + degree;
      try (Arena arena = Arena.ofConfined()) {
        Tensor vectors = randomVectors(arena, type, random, n, random.nextInt(3));
        Tensor jacobian = Tensor.allocate(arena, type, n, components, 3);
        harmonics.jacobian(vectors, jacobian);
        Tensor gradients = strided(arena, type, n, components, random.nextInt(3));
        Tensor directions = strided(arena, type, n, 3, random.nextInt(3));
        for (int p = 0; p < n; p++) {
          for (int i = 0; i < components; i++) {
            gradients.setDouble(random.nextGaussian(), p, i);
          }
          for (int axis = 0; axis < 3; axis++) {
            directions.setDouble(random.nextGaussian(), p, axis);
          }
        }
        Tensor back = strided(arena, type, n, 3, 2);
        Tensor forward = strided(arena, type, n, components, 3);
        harmonics.pullback(vectors, gradients, back);
        harmonics.pushforward(vectors, directions, forward);
        double unit = type == DType.F32 ? 1e-7 : 1e-15;
        for (int p = 0; p < n; p++) {
          double x = vectors.getDouble(p, 0);
          double y = vectors.getDouble(p, 1);
          double z = vectors.getDouble(p, 2);
          double[] exact = exactJacobian(degree, x, y, z);
          double size = (degree + 1) * (degree + 1) / Math.sqrt(x * x + y * y + z * z);
          double[] sums = new double[3];
          for (int i = 0; i < components; i++) {
            double sum = 0;
            for (int axis = 0; axis < 3; axis++) {
              double slope = exact[3 * i + axis];
              assertEquals(slope, jacobian.getDouble(p, i, axis), 4 * unit * size, what);
              sums[axis] += gradients.getDouble(p, i) * slope;
              sum += slope * directions.getDouble(p, axis);
            }
            assertEquals(sum, forward.getDouble(p, i), 20 * unit * size, what);
          }
          for (int axis = 0; axis < 3; axis++) {
            assertEquals(
                sums[axis], back.getDouble(p, axis), 4 * unit * size * (degree + 1) * 4, what);
          }
        }
        assertGaps(back, n, 3, 2, what);
        assertGaps(forward, n, components, 3, what);
      }
    }
  }

  /** By angles: dY/dtheta along the unit vector of theta, (dY/dalpha)/sin along that of alpha. */
  private static double[] exactJacobian(int degree, double x, double y, double z) {
    double across = Math.hypot(x, z);
    double length = Math.hypot(across, y);
    double cos = y / length;
    double sin = across / length;
    Legendre legendre = new Legendre(degree);
    double[] functions = new double[Legendre.size(degree)];
    double[] slopes = functions.clone();
    double[] overSine = functions.clone();
    legendre.values(cos, sin, functions);
    legendre.thetaDerivatives(functions, slopes);
    legendre.timesOrderOverSine(functions, overSine);
    double alpha = Math.atan2(x, z);
    double sa = Math.sin(alpha);
    double ca = Math.cos(alpha);
    double[] towardsTheta = {cos * sa, -sin, cos * ca};
    double[] towardsAlpha = {ca, 0, -sa};
    double[] jacobian = new double[3 * (degree + 1) * (degree + 1)];
    for (int l = 0; l <= degree; l++) {
      for (int m = -l; m <= l; m++) {
        int at = Legendre.index(l, Math.abs(m));
        double root = m == 0 ? 1 : Math.sqrt(2);
        double angle = Math.abs(m) * alpha;
        double byTheta = root * slopes[at] * (m < 0 ? Math.sin(angle) : Math.cos(angle));
        double byAlpha = root * overSine[at] * (m < 0 ? Math.cos(angle) : -Math.sin(angle));
        for (int axis = 0; axis < 3; axis++) {
          jacobian[3 * (l * l + l + m) + axis] =
              (byTheta * towardsTheta[axis] + byAlpha * towardsAlpha[axis]) / length;
        }
      }
    }
    return jacobian;
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void derivativesAreFiniteDifferences(Tier tier) {
    for (int seed = 0; seed < 4; seed++) {
      Random random = new Random(seed);
      double[] v = {random.nextGaussian(), random.nextGaussian(), random.nextGaussian()};
      SphericalHarmonics harmonics = harmonics(tier, 8);
      double[] jacobian = jacobian(harmonics, v);
      double step = 1e-3;
      for (int axis = 0; axis < 3; axis++) {
        double[] shifted = new double[12];
        double[] steps = {-2 * step, -step, step, 2 * step};
        for (int k = 0; k < 4; k++) {
          System.arraycopy(v, 0, shifted, 3 * k, 3);
          shifted[3 * k + axis] += steps[k];
        }
        double[] values = values(harmonics, shifted);
        for (int i = 0; i < 81; i++) {
          double difference =
              (values[i] - 8 * values[81 + i] + 8 * values[162 + i] - values[243 + i])
                  / (12 * step);
          assertEquals(difference, jacobian[3 * i + axis], 2e-7, "seed " + seed + ", " + i);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void recordedValuesAndGradientsAreReproduced(Tier tier) throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile golden = SafetensorsFile.open(GOLDEN.resolve("sh_L8.safetensors"))) {
      double[] expected = golden.load("Y", arena).toDoubleArray();
      double[] values = values(harmonics(tier, 8), golden.load("xyz", arena).toDoubleArray());
      assertArrayEquals(expected, values, 1e-14);
      double[] slopes = golden.load("grad", arena).toDoubleArray();
      double[] jacobian =
          jacobian(harmonics(tier, 4), golden.load("grad_xyz", arena).toDoubleArray());
      double largest = Arrays.stream(slopes).map(Math::abs).max().orElseThrow();
      assertArrayEquals(slopes, jacobian, 1e-12 * largest);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void squaresSumToWhatTheNormalizationSays(Tier tier) {
    Random random = new Random(8);
    for (Normalization normalization : Normalization.values()) {
      SphericalHarmonics harmonics =
          SphericalHarmonics.builder(32).normalization(normalization).tier(tier).build();
      for (int p = 0; p < 20; p++) {
        double[] y =
            values(harmonics, random.nextGaussian(), random.nextGaussian(), random.nextGaussian());
        for (int l = 0; l <= 32; l++) {
          double sum = 0;
          for (int i = l * l; i < (l + 1) * (l + 1); i++) {
            sum += y[i] * y[i];
          }
          double expected =
              switch (normalization) {
                case INTEGRAL -> (2 * l + 1) / (4 * Math.PI);
                case COMPONENT -> 2 * l + 1;
                case NORM -> 1;
              };
          assertEquals(expected, sum, 3e-14 * expected, normalization + " degree " + l);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void productsOfTwoDirectionsSumToTheLegendrePolynomial(Tier tier) {
    Random random = new Random(9);
    SphericalHarmonics harmonics = harmonics(tier, 32);
    double[] functions = new double[Legendre.size(32)];
    for (int p = 0; p < 20; p++) {
      double[] v = random.doubles(6, -1, 1).toArray();
      double[] y = values(harmonics, v);
      double first = Math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
      double second = Math.sqrt(v[3] * v[3] + v[4] * v[4] + v[5] * v[5]);
      double cos = (v[0] * v[3] + v[1] * v[4] + v[2] * v[5]) / (first * second);
      new Legendre(32).values(cos, Math.sqrt((1 - cos) * (1 + cos)), functions);
      for (int l = 0; l <= 32; l++) {
        double sum = 0;
        for (int i = l * l; i < (l + 1) * (l + 1); i++) {
          sum += y[i] * y[1089 + i];
        }
        double expected = Math.sqrt((2 * l + 1) / (4 * Math.PI)) * functions[Legendre.index(l, 0)];
        assertEquals(expected, sum, 1e-12, "degree " + l);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theBasisIsOrthonormalOnTheSphere(Tier tier) {
    int degree = 10;
    GaussLegendre rule = GaussLegendre.of(degree + 1);
    int turns = 2 * degree + 1;
    double[] vectors = new double[3 * rule.size() * turns];
    for (int t = 0; t < rule.size(); t++) {
      for (int a = 0; a < turns; a++) {
        double alpha = 2 * Math.PI * a / turns;
        int at = 3 * (t * turns + a);
        vectors[at] = rule.sin(t) * Math.sin(alpha);
        vectors[at + 1] = rule.cos(t);
        vectors[at + 2] = rule.sin(t) * Math.cos(alpha);
      }
    }
    double[] y = values(harmonics(tier, degree), vectors);
    int components = (degree + 1) * (degree + 1);
    for (int i = 0; i < components; i++) {
      for (int j = 0; j <= i; j++) {
        double sum = 0;
        for (int p = 0; p < rule.size() * turns; p++) {
          sum +=
              rule.weight(p / turns)
                  * 2
                  * Math.PI
                  / turns
                  * y[p * components + i]
                  * y[p * components + j];
        }
        assertEquals(i == j ? 1 : 0, sum, 1e-14, i + " " + j);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void degreeOneIsXyz(Tier tier) {
    double[] y =
        values(
            SphericalHarmonics.builder(1).normalization(Normalization.NORM).tier(tier).build(),
            1,
            2,
            -2);
    assertArrayEquals(new double[] {1, 1 / 3.0, 2 / 3.0, -2 / 3.0}, y, 1e-15);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void polesAndExtremeLengthsAreExactToRounding(Tier tier) {
    double[] lengths = {
      Double.MIN_VALUE,
      1e-310,
      Double.MIN_NORMAL,
      1e-160,
      1e-20,
      1,
      1e20,
      1e150,
      1e300,
      Double.MAX_VALUE
    };
    double[][] directions = {
      {0, 1, 0}, {0, -1, 0}, {1, 0, 0}, {0, 0, -1}, {1e-9, 1, 0}, {-1e-17, -1, 1e-12}, {1, 1, 1}
    };
    SphericalHarmonics harmonics = harmonics(tier, 32);
    for (double length : lengths) {
      for (double[] d : directions) {
        double[] v = {d[0] * length, d[1] * length, d[2] * length};
        assertArrayEquals(expected(32, v[0], v[1], v[2]), values(harmonics, v), 1e-13);
        double[] jacobian = jacobian(harmonics, v);
        for (int i = 1; i < 1089; i++) {
          for (int axis = 0; axis < 3; axis++) {
            assertTrue(length < 1e-300 || Double.isFinite(jacobian[3 * i + axis]));
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void derivativesAtThePolesAreTheLimits(Tier tier) {
    double[] jacobian = jacobian(harmonics(tier, 32), 0, 2, 0, 0, -0.5, 0);
    for (int p = 0; p < 2; p++) {
      double length = p == 0 ? 2 : 0.5;
      for (int l = 1; l <= 32; l++) {
        double side = p == 0 || l % 2 == 1 ? 1 : -1;
        double slope = Math.sqrt(l * (l + 1.0) * (2 * l + 1) / (8 * Math.PI)) / length * side;
        for (int m = -l; m <= l; m++) {
          int at = 3 * (p * 1089 + l * l + l + m);
          assertEquals(m == -1 ? slope : 0, jacobian[at], 1e-13 * Math.abs(slope), l + " " + m);
          assertEquals(0, jacobian[at + 1], 1e-13 * Math.abs(slope), l + " " + m);
          assertEquals(m == 1 ? slope : 0, jacobian[at + 2], 1e-13 * Math.abs(slope), l + " " + m);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void extremeLengthsInSinglePrecision(Tier tier) {
    float[] lengths = {Float.MIN_VALUE, 1e-42f, 1e-30f, 1, 1e30f, 1e38f};
    SphericalHarmonics harmonics = harmonics(tier, 16);
    try (Arena arena = Arena.ofConfined()) {
      for (float length : lengths) {
        float[] v = {3 * length, -2 * length, length, 0, length, 0, length, 0, -length};
        Tensor out = Tensor.allocate(arena, DType.F32, 3, harmonics.components());
        harmonics.values(Tensor.copyOf(arena, v, 3, 3), out);
        for (int p = 0; p < 3; p++) {
          double[] expected = expected(16, v[3 * p], v[3 * p + 1], v[3 * p + 2]);
          for (int i = 0; i < expected.length; i++) {
            assertEquals(
                expected[i],
                out.getDouble(p, i),
                0.51 * Math.ulp((float) expected[i]) + 1e-13,
                length + " " + i);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void zeroVectorsAreErrorsThatNameTheFirstRow(Tier tier) {
    for (DType type : new DType[] {DType.F32, DType.F64}) {
      for (int bad : new int[] {0, 3, 7, 8, 20}) {
        try (Arena arena = Arena.ofConfined()) {
          Tensor vectors = randomVectors(arena, type, new Random(bad), 23, 1);
          for (int row = bad; row < 23; row += 5) {
            for (int axis = 0; axis < 3; axis++) {
              vectors.setDouble(axis == 1 ? -0.0 : 0, row, axis);
            }
          }
          assertRejected(
              tier,
              arena,
              vectors,
              "vectors: expected a length above 0, which has a direction, got a zero vector in row "
                  + bad);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void vectorsThatAreNotFiniteAreErrorsThatNameTheFirstRow(Tier tier) {
    for (DType type : new DType[] {DType.F32, DType.F64}) {
      for (double value :
          new double[] {Double.NaN, Double.POSITIVE_INFINITY, Double.NEGATIVE_INFINITY}) {
        for (int axis = 0; axis < 3; axis++) {
          try (Arena arena = Arena.ofConfined()) {
            Tensor vectors = randomVectors(arena, type, new Random(axis), 23, 0);
            vectors.setDouble(1, 11, 0);
            vectors.setDouble(2, 11, 1);
            vectors.setDouble(3, 11, 2);
            double[] row = {1, 2, 3};
            row[axis] = value;
            vectors.setDouble(value, 11, axis);
            vectors.setDouble(value, 19, axis);
            assertRejected(
                tier,
                arena,
                vectors,
                "vectors: expected finite components, got " + Arrays.toString(row) + " in row 11");
          }
        }
      }
    }
  }

  private static void assertRejected(Tier tier, Arena arena, Tensor vectors, String message) {
    for (int threads : new int[] {1, 2}) {
      SphericalHarmonics harmonics =
          SphericalHarmonics.builder(3).tier(tier).threads(threads).build();
      int n = (int) vectors.dim(0);
      Tensor wide = Tensor.allocate(arena, vectors.type(), n, 16);
      Tensor narrow = Tensor.allocate(arena, vectors.type(), n, 3);
      Tensor cube = Tensor.allocate(arena, vectors.type(), n, 16, 3);
      assertMessage(message, () -> harmonics.values(vectors, wide));
      assertMessage(message, () -> harmonics.jacobian(vectors, cube));
      Tensor wide2 = Tensor.allocate(arena, vectors.type(), n, 16);
      Tensor narrow2 = Tensor.allocate(arena, vectors.type(), n, 3);
      assertMessage(message, () -> harmonics.pullback(vectors, wide2, narrow));
      assertMessage(message, () -> harmonics.pushforward(vectors, narrow2, wide));
    }
  }

  private static void assertMessage(String message, Runnable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call::run).getMessage());
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void zeroVectorsCanBeAllowed(Tier tier) {
    SphericalHarmonics harmonics =
        SphericalHarmonics.builder(2)
            .zeroVectors(ZeroVectors.CONSTANT)
            .normalization(Normalization.COMPONENT)
            .tier(tier)
            .build();
    SphericalHarmonics strict =
        SphericalHarmonics.builder(2).normalization(Normalization.COMPONENT).tier(tier).build();
    for (int zero = 0; zero < 19; zero++) {
      double[] v = new Random(zero).doubles(57, -1, 1).toArray();
      double[] expected = values(strict, v);
      double[] slopes = jacobian(strict, v);
      Arrays.fill(v, 3 * zero, 3 * zero + 3, 0);
      Arrays.fill(expected, 9 * zero, 9 * zero + 9, 0);
      expected[9 * zero] = 1;
      Arrays.fill(slopes, 27 * zero, 27 * zero + 27, 0);
      assertArrayEquals(expected, values(harmonics, v), 1e-15);
      assertArrayEquals(slopes, jacobian(harmonics, v), 1e-15);
      try (Arena arena = Arena.ofConfined()) {
        Tensor vectors = Tensor.copyOf(arena, v, 19, 3);
        Tensor ones = Tensor.allocate(arena, DType.F64, 19, 9);
        ones.fill(1);
        Tensor back = Tensor.allocate(arena, DType.F64, 19, 3);
        back.fill(7);
        harmonics.pullback(vectors, ones, back);
        assertEquals(0, back.getDouble(zero, 0));
        assertEquals(0, back.getDouble(zero, 1));
        assertEquals(0, back.getDouble(zero, 2));
        Tensor forward = Tensor.allocate(arena, DType.F64, 19, 9);
        forward.fill(7);
        harmonics.pushforward(vectors, vectors, forward);
        for (int i = 0; i < 9; i++) {
          assertEquals(0, forward.getDouble(zero, i));
        }
      }
      Arrays.fill(v, 3 * zero, 3 * zero + 3, Double.NaN);
      assertThrows(IllegalArgumentException.class, () -> values(harmonics, v));
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void resultsDoNotDependOnThreadsOrNeighbours(Tier tier) {
    try (Arena arena = Arena.ofShared();
        SphereWorkspace workspace = new SphereWorkspace()) {
      int n = 1203;
      for (DType type : new DType[] {DType.F32, DType.F64}) {
        Tensor vectors = randomVectors(arena, type, new Random(4), n, 0);
        Tensor one = Tensor.allocate(arena, type, n, 1089);
        Tensor three = Tensor.allocate(arena, type, n, 1089);
        Tensor shifted = Tensor.allocate(arena, type, n - 5, 1089);
        harmonics(tier, 32).values(vectors, one, workspace);
        SphericalHarmonics.builder(32)
            .tier(tier)
            .threads(3)
            .build()
            .values(vectors, three, workspace);
        harmonics(tier, 32).values(vectors.rows(5, n), shifted, workspace);
        assertEquals(-1, one.memory().mismatch(three.memory()));
        long skipped = 5L * 1089 * type.bytes();
        assertEquals(-1, one.memory().asSlice(skipped).mismatch(shifted.memory()));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void wrongArgumentsAreNamed(Tier tier) {
    for (int degree : new int[] {-1, 33}) {
      assertMessage(
          "degree: expected 0 to 32, got " + degree, () -> SphericalHarmonics.builder(degree));
    }
    assertMessage(
        "threads: expected at least 1, got 0", () -> SphericalHarmonics.builder(1).threads(0));
    try (Arena arena = Arena.ofConfined()) {
      SphericalHarmonics harmonics = harmonics(tier, 2);
      Tensor vectors = Tensor.allocate(arena, DType.F32, 4, 3);
      Tensor out = Tensor.allocate(arena, DType.F32, 4, 9);
      Tensor half = Tensor.allocate(arena, DType.F16, 4, 3);
      assertMessage(
          "vectors: expected F32 or F64, got F16[4, 3] on cpu", () -> harmonics.values(half, out));
      Tensor pairs = Tensor.allocate(arena, DType.F32, 4, 2);
      assertMessage(
          "vectors: expected a shape [N, 3], got F32[4, 2] on cpu",
          () -> harmonics.values(pairs, out));
      Tensor flat = Tensor.allocate(arena, DType.F32, 12);
      assertMessage(
          "vectors: expected a shape [N, 3], got F32[12] on cpu",
          () -> harmonics.values(flat, out));
      for (Tensor wrong :
          new Tensor[] {
            Tensor.allocate(arena, DType.F32, 4, 8),
            Tensor.allocate(arena, DType.F32, 5, 9),
            Tensor.allocate(arena, DType.F64, 4, 9),
            Tensor.allocate(arena, DType.F32, 4, 9, 1)
          }) {
        assertMessage(
            "out: expected F32[4, 9], got " + wrong, () -> harmonics.values(vectors, wrong));
        assertMessage(
            "gradients: expected F32[4, 9], got " + wrong,
            () -> harmonics.pullback(vectors, wrong, vectors));
        assertMessage(
            "out: expected F32[4, 9, 3], got " + wrong, () -> harmonics.jacobian(vectors, wrong));
        assertMessage(
            "directions: expected F32[4, 3], got " + wrong,
            () -> harmonics.pushforward(vectors, wrong, out));
      }
    }
  }
}
