package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.HashSet;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class FeketePointsTest {
  /** The largest singular value, by the power method on M<sup>T</sup> M. */
  private static double norm(double[] matrix, int n) {
    double[] v = new Random(1).doubles(n).toArray();
    double norm = 0;
    for (int step = 0; step < 300; step++) {
      double[] image = new double[n];
      double[] back = new double[n];
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
          image[i] += matrix[i * n + j] * v[j];
        }
      }
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
          back[j] += matrix[i * n + j] * image[i];
        }
      }
      double length = Math.sqrt(Arrays.stream(back).map(x -> x * x).sum());
      norm = Math.sqrt(length);
      v = Arrays.stream(back).map(x -> x / length).toArray();
    }
    return norm;
  }

  /** A search by pivoted elimination alone reaches these conditions; exchanges only improve. */
  @ParameterizedTest
  @CsvSource({"1, 1.8", "2, 2.1", "4, 2.7", "6, 3.8", "8, 6.3"})
  void pointsAreWellConditioned(int degree, double bound) {
    FeketePoints points = FeketePoints.of(degree);
    double condition = norm(points.values(), points.size()) * norm(points.inverse(), points.size());
    assertTrue(condition <= bound, "degree " + degree + ": condition " + condition);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 2, 3, 5, 8, 11})
  void valuesDetermineTheCoefficients(int degree) {
    FeketePoints points = FeketePoints.of(degree);
    int n = (degree + 1) * (degree + 1);
    assertEquals(n, points.size());
    assertEquals(degree, points.degree());
    double[] values = points.values();
    double[] inverse = points.inverse();
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) {
        double sum = 0;
        for (int k = 0; k < n; k++) {
          sum += inverse[i * n + k] * values[k * n + j];
        }
        assertEquals(i == j ? 1 : 0, sum, 1e-13);
      }
    }
    double[] directions = points.directions();
    Set<String> distinct = new HashSet<>();
    Legendre legendre = new Legendre(degree);
    double[] functions = new double[Legendre.size(degree)];
    for (int p = 0; p < n; p++) {
      double x = directions[3 * p];
      double y = directions[3 * p + 1];
      double z = directions[3 * p + 2];
      assertEquals(1, x * x + y * y + z * z, 1e-15);
      assertTrue(distinct.add(x + " " + y + " " + z));
      legendre.values(y, Math.hypot(x, z), functions);
      for (int l = 0; l <= degree; l++) {
        assertEquals(functions[Legendre.index(l, 0)], values[p * n + l * l + l], 1e-13);
      }
    }
  }

  @Test
  void badDegreesAreNamed() {
    for (int degree : new int[] {-1, 25}) {
      assertEquals(
          "degree: expected 0 to 24, got " + degree,
          assertThrows(IllegalArgumentException.class, () -> FeketePoints.of(degree)).getMessage());
    }
  }
}
