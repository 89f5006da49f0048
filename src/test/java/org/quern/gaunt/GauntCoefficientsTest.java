package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.math.MathContext;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.io.Csv;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class GauntCoefficientsTest {
  /** The recorded cases, beside the project where it is developed. */
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "gaunt");

  /** The recorded values were not rounded once: some are that far from the exact root. */
  private static final int RECORDED_ULPS = 3;

  private static final BigDecimal PI =
      new BigDecimal("3.14159265358979323846264338327950288419716939937510582097494");

  /** The double next to an exact coefficient, by decimal arithmetic. */
  private static double rounded(SignedRoot exact) {
    MathContext digits = new MathContext(50);
    return exact.sign()
        * new BigDecimal(exact.numerator())
            .divide(new BigDecimal(exact.denominator()), digits)
            .divide(PI.multiply(BigDecimal.valueOf(4)), digits)
            .sqrt(digits)
            .doubleValue();
  }

  @ParameterizedTest
  @ValueSource(strings = {"gaunt_2_2_4.csv", "gaunt_3_3_6.csv"})
  void recordedFractionsAreReproduced(String file) throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    Csv golden = Csv.read(GOLDEN.resolve(file));
    int degree = file.charAt(6) - '0';
    Couplings table = GauntCoefficients.table(degree, degree, 2 * degree);
    assertEquals(golden.size(), table.size());
    for (int n = 0; n < golden.size(); n++) {
      String row = "row " + n;
      int l1 = (int) golden.number(n, "l1");
      int m1 = (int) golden.number(n, "m1");
      int l2 = (int) golden.number(n, "l2");
      int m2 = (int) golden.number(n, "m2");
      int l3 = (int) golden.number(n, "l3");
      int m3 = (int) golden.number(n, "m3");
      double value = golden.number(n, "value");
      SignedRoot exact = GauntCoefficients.exact(l1, m1, l2, m2, l3, m3);
      assertEquals((int) golden.number(n, "sign"), exact.sign(), row);
      assertEquals(
          new BigInteger(golden.text(n, "four_pi_times_square_num")), exact.numerator(), row);
      assertEquals(
          new BigInteger(golden.text(n, "four_pi_times_square_den")), exact.denominator(), row);
      assertEquals(rounded(exact), exact.value(), row);
      assertEquals(value, exact.value(), RECORDED_ULPS * Math.ulp(value), row);
      assertEquals(exact.value(), GauntCoefficients.value(l1, m1, l2, m2, l3, m3), row);
      assertEquals(l1 * l1 + l1 + m1, table.first(n), row);
      assertEquals(l2 * l2 + l2 + m2, table.second(n), row);
      assertEquals(l3 * l3 + l3 + m3, table.out(n), row);
      assertEquals(exact.value(), table.value(n), row);
    }
  }

  @Test
  void theRecordedTableIsReproduced() throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile golden = SafetensorsFile.open(GOLDEN.resolve("gaunt_6_6_12.safetensors"))) {
      double[] value = golden.load("value", arena).toDoubleArray();
      double[] i = golden.load("i", arena).toDoubleArray();
      double[] j = golden.load("j", arena).toDoubleArray();
      double[] k = golden.load("k", arena).toDoubleArray();
      Couplings table = GauntCoefficients.table(6, 6, 12);
      assertEquals(value.length, table.size());
      for (int n = 0; n < value.length; n++) {
        assertEquals(i[n], table.first(n));
        assertEquals(j[n], table.second(n));
        assertEquals(k[n], table.out(n));
        assertEquals(value[n], table.value(n), RECORDED_ULPS * Math.ulp(value[n]));
      }
    }
  }

  @Test
  void recordedPathConstantsAreReproduced() throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    Csv golden = Csv.read(GOLDEN.resolve("path_constants.csv"));
    for (int n = 0; n < golden.size(); n++) {
      double expected = golden.number(n, "constant");
      double constant =
          GauntCoefficients.pathConstant(
              (int) golden.number(n, "l1"),
              (int) golden.number(n, "l2"),
              (int) golden.number(n, "l3"));
      assertEquals(expected, constant, 4 * Math.ulp(expected), "row " + n);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "2,2,4,162",
    "3,3,6,708",
    "4,4,8,2229",
    "5,5,10,5605",
    "6,6,12,12322",
    "8,8,16,44287",
    "10,10,20,122442",
    "4,4,4,1158",
    "6,6,6,6460",
    "8,8,8,23621",
    "10,10,10,65913"
  })
  void tablesHaveTheKnownNumberOfEntries(int degree1, int degree2, int degree3, int size) {
    assertEquals(size, GauntCoefficients.table(degree1, degree2, degree3).size());
  }

  /** A grid on which products of three harmonics of these degrees are summed exactly. */
  private static final class Grid {
    final int points;
    final int components;
    final double[] weights;
    final double[] vectors;
    final double[] values;
    final double[] slopes;

    Grid(int degree) {
      GaussLegendre rule = GaussLegendre.of(3 * degree / 2 + 1);
      int turns = 3 * degree + 1;
      points = rule.size() * turns;
      components = (degree + 1) * (degree + 1);
      weights = new double[points];
      vectors = new double[3 * points];
      for (int p = 0; p < points; p++) {
        double alpha = 2 * Math.PI * (p % turns) / turns;
        weights[p] = rule.weight(p / turns) * 2 * Math.PI / turns;
        vectors[3 * p] = rule.sin(p / turns) * Math.sin(alpha);
        vectors[3 * p + 1] = rule.cos(p / turns);
        vectors[3 * p + 2] = rule.sin(p / turns) * Math.cos(alpha);
      }
      SphericalHarmonics harmonics = SphericalHarmonics.builder(degree).build();
      try (Arena arena = Arena.ofConfined()) {
        Tensor v = Tensor.copyOf(arena, vectors, points, 3);
        Tensor y = Tensor.allocate(arena, DType.F64, points, components);
        Tensor d = Tensor.allocate(arena, DType.F64, points, components, 3);
        harmonics.values(v, y);
        harmonics.jacobian(v, d);
        values = y.toDoubleArray();
        slopes = d.toDoubleArray();
      }
    }

    double product(int i, int j, int k) {
      double sum = 0;
      for (int p = 0; p < points; p++) {
        int at = p * components;
        sum += weights[p] * values[at + i] * values[at + j] * values[at + k];
      }
      return sum;
    }

    /** The integral of n.(grad Yi x grad Yj) Yk. */
    double bracket(int i, int j, int k) {
      double sum = 0;
      for (int p = 0; p < points; p++) {
        int a = 3 * (p * components + i);
        int b = 3 * (p * components + j);
        double x = slopes[a + 1] * slopes[b + 2] - slopes[a + 2] * slopes[b + 1];
        double y = slopes[a + 2] * slopes[b] - slopes[a] * slopes[b + 2];
        double z = slopes[a] * slopes[b + 1] - slopes[a + 1] * slopes[b];
        double triple = vectors[3 * p] * x + vectors[3 * p + 1] * y + vectors[3 * p + 2] * z;
        sum += weights[p] * triple * values[p * components + k];
      }
      return sum;
    }
  }

  private static int degree(int component) {
    return (int) Math.sqrt(component);
  }

  private static int order(int component) {
    return component - degree(component) * (degree(component) + 1);
  }

  @Test
  void coefficientsAreTheIntegralsThatDefineThem() {
    int degree = 4;
    Grid grid = new Grid(degree);
    double[][][] gaunt = dense(GauntCoefficients.table(degree, degree, degree), 25);
    double[][][] cross = dense(GauntCoefficients.crossTable(degree, degree, degree), 25);
    for (int i = 0; i < 25; i++) {
      for (int j = 0; j < 25; j++) {
        for (int k = 0; k < 25; k++) {
          String what = i + " " + j + " " + k;
          int l1 = degree(i);
          int l2 = degree(j);
          int l3 = degree(k);
          double g = GauntCoefficients.value(l1, order(i), l2, order(j), l3, order(k));
          double x = GauntCoefficients.crossValue(l1, order(i), l2, order(j), l3, order(k));
          assertEquals(grid.product(i, j, k), g, 1e-14, what);
          assertEquals(grid.bracket(i, j, k), x, 1e-12, what);
          assertEquals(g, gaunt[i][j][k], what);
          assertEquals(x, cross[i][j][k], what);
          if ((l1 + l2 + l3) % 2 == 0) {
            assertEquals(0, x, what);
          } else {
            assertEquals(0, g, what);
          }
        }
      }
    }
  }

  private static double[][][] dense(Couplings table, int n) {
    double[][][] dense = new double[n][n][n];
    for (int entry = 0; entry < table.size(); entry++) {
      assertTrue(table.value(entry) != 0);
      dense[table.first(entry)][table.second(entry)][table.out(entry)] = table.value(entry);
    }
    return dense;
  }

  @Test
  void exchangesOfPairsKeepGauntAndTurnCrossCoefficients() {
    for (int l1 = 0; l1 <= 7; l1++) {
      for (int l2 = 0; l2 <= 7; l2++) {
        for (int l3 = 0; l3 <= 7; l3++) {
          int m1 = l1 / 2;
          int m2 = -l2 / 3;
          for (int m3 = -l3; m3 <= l3; m3++) {
            double g = GauntCoefficients.value(l1, m1, l2, m2, l3, m3);
            assertEquals(g, GauntCoefficients.value(l2, m2, l1, m1, l3, m3));
            assertEquals(g, GauntCoefficients.value(l3, m3, l1, m1, l2, m2));
            double x = GauntCoefficients.crossValue(l1, m1, l2, m2, l3, m3);
            assertEquals(-x + 0.0, GauntCoefficients.crossValue(l2, m2, l1, m1, l3, m3) + 0.0);
            assertEquals(x, GauntCoefficients.crossValue(l3, m3, l1, m1, l2, m2));
          }
        }
      }
    }
  }

  /** Beyond a sum of degrees of 66 the integers no longer fit a long. */
  @ParameterizedTest
  @CsvSource({"22,22,22", "16,16,32", "23,23,22", "32,32,32", "40,30,50", "64,64,64"})
  void coefficientsOfHighDegree(int l1, int l2, int l3) {
    Legendre legendre = new Legendre(Math.max(l1, Math.max(l2, l3)));
    double[] functions = new double[Legendre.size(legendre.degree())];
    GaussLegendre rule = GaussLegendre.of((l1 + l2 + l3) / 2 + 1);
    int[][] orders = {{0, 0, 0}, {1, 1, 0}, {3, 4, 7}, {-5, 2, -3}, {l1, 0, l1}, {-9, -9, 18}};
    for (int[] m : orders) {
      if (Math.abs(m[2]) > l3) {
        continue;
      }
      double sum = 0;
      for (int t = 0; t < rule.size(); t++) {
        legendre.values(rule.cos(t), rule.sin(t), functions);
        sum +=
            rule.weight(t)
                * functions[Legendre.index(l1, Math.abs(m[0]))]
                * functions[Legendre.index(l2, Math.abs(m[1]))]
                * functions[Legendre.index(l3, Math.abs(m[2]))];
      }
      double around = 0;
      int turns = 200;
      for (int a = 0; a < turns; a++) {
        double product = 2 * Math.PI / turns;
        for (int order : m) {
          double angle = 2 * Math.PI * a / turns * Math.abs(order);
          product *=
              order == 0 ? 1 : Math.sqrt(2) * (order < 0 ? Math.sin(angle) : Math.cos(angle));
        }
        around += product;
      }
      double value = GauntCoefficients.value(l1, m[0], l2, m[1], l3, m[2]);
      assertEquals(sum * around, value, 2e-13, l1 + " " + l2 + " " + l3);
      assertEquals(rounded(GauntCoefficients.exact(l1, m[0], l2, m[1], l3, m[2])), value);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"cross_1_1_1", "cross_2_2_3", "cross_3_3_5", "product_2_4_3", "product_0_3_3"})
  void recordedProductsAreSumsOverTheTables(String file) throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    String[] parts = file.split("_", -1);
    int l1 = Integer.parseInt(parts[1]);
    int l2 = Integer.parseInt(parts[2]);
    int l3 = Integer.parseInt(parts[3]);
    Couplings table =
        file.startsWith("cross")
            ? GauntCoefficients.crossTable(l1, l2, l3)
            : GauntCoefficients.table(l1, l2, l3);
    try (Arena arena = Arena.ofConfined();
        SafetensorsFile golden = SafetensorsFile.open(GOLDEN.resolve(file + ".safetensors"))) {
      Tensor x1 = golden.load("x1", arena);
      Tensor x2 = golden.load("x2", arena);
      Tensor expected = golden.load("out", arena);
      for (int b = 0; b < x1.dim(0); b++) {
        for (int c = 0; c < x1.dim(1); c++) {
          double[] out = new double[(l3 + 1) * (l3 + 1)];
          for (int entry = 0; entry < table.size(); entry++) {
            out[table.out(entry)] +=
                table.value(entry)
                    * x1.getDouble(b, c, table.first(entry))
                    * x2.getDouble(b, c, table.second(entry));
          }
          for (int k = 0; k < out.length; k++) {
            assertEquals(expected.getDouble(b, c, k), out[k], 1e-12);
          }
        }
      }
    }
  }

  @Test
  void degreesBeyondTheSumOfTheInputsHaveNoEntries() {
    assertEquals(GauntCoefficients.table(1, 2, 3).size(), GauntCoefficients.table(1, 2, 9).size());
    assertEquals(1, GauntCoefficients.table(0, 0, 0).size());
    assertEquals(0, GauntCoefficients.crossTable(0, 3, 3).size());
    assertEquals(0, GauntCoefficients.pathConstant(1, 2, 4));
    assertEquals(0, GauntCoefficients.value(1, 0, 2, 0, 4, 0));
    assertEquals(0, GauntCoefficients.exact(1, 0, 2, 0, 4, 0).sign());
    assertEquals(BigInteger.ONE, GauntCoefficients.exact(1, 0, 2, 0, 4, 0).denominator());
  }

  @Test
  void badDegreesAndOrdersAreNamed() {
    assertMessage(
        "l2: expected a degree from 0 to 64, got -1",
        () -> GauntCoefficients.value(1, 0, -1, 0, 0, 0));
    assertMessage(
        "l3: expected a degree from 0 to 64, got 65",
        () -> GauntCoefficients.pathConstant(1, 2, 65));
    assertMessage(
        "m1: expected an order from -1 to 1, got -2",
        () -> GauntCoefficients.crossExact(1, -2, 2, 0, 2, 0));
    assertMessage(
        "degree3: expected a degree from 0 to 64, got 99", () -> GauntCoefficients.table(1, 2, 99));
    assertMessage(
        "degree1: expected a degree from 0 to 64, got -3",
        () -> GauntCoefficients.crossTable(-3, 2, 2));
  }

  private static void assertMessage(String message, Runnable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call::run).getMessage());
  }
}
