package org.quern.linalg;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;

class SymmetricEigenTest {
  private static final double TOLERANCE = 1e-13;

  @Test
  void decompositionsMultiplyOut() {
    for (int n = 0; n <= 40; n++) {
      SplittableRandom random = new SplittableRandom(n);
      double[] a = new double[n * n];
      for (int i = 0; i < n; i++) {
        for (int j = 0; j <= i; j++) {
          a[i * n + j] = random.nextDouble(-1, 1);
          a[j * n + i] = a[i * n + j];
        }
      }
      check(n, a, "random");
    }
  }

  @Test
  void matricesOfLowRankAndWithEqualEigenvaluesDecompose() {
    int n = 33;
    SplittableRandom random = new SplittableRandom(1);
    for (int rank : new int[] {0, 1, 5, 32}) {
      double[] x = random.doubles((long) rank * n, -1, 1).toArray();
      double[] a = new double[n * n];
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
          for (int k = 0; k < rank; k++) {
            a[i * n + j] += x[k * n + i] * x[k * n + j];
          }
        }
      }
      double[] values = check(n, a, "rank " + rank);
      for (int i = rank; i < n; i++) {
        assertEquals(0, values[i], 1e-12, "rank " + rank);
      }
    }
    double[] identity = new double[n * n];
    for (int i = 0; i < n; i++) {
      identity[i * n + i] = 3;
    }
    assertEquals(3, check(n, identity, "identity")[n - 1]);
  }

  @Test
  void valuesAreKnownForDiagonalAndSmallMatrices() {
    double[] diagonal = {2, 0, 0, 0, -1, 0, 0, 0, 5};
    double[] values = new double[3];
    new SymmetricEigen(3).decompose(3, diagonal, values);
    assertArrayEquals(new double[] {5, 2, -1}, values, TOLERANCE);
    double[] pair = {1, 2, 2, 1};
    new SymmetricEigen(3).decompose(2, pair, values);
    assertEquals(3, values[0], TOLERANCE);
    assertEquals(-1, values[1], TOLERANCE);
    assertEquals(1, Math.abs(pair[0] / pair[1]), TOLERANCE);
  }

  @Test
  void elementsOfAnySizeNeitherOverflowNorVanish() {
    for (double scale : new double[] {1e-300, 1e300}) {
      double[] a = {2 * scale, scale, scale, 2 * scale};
      double[] values = new double[2];
      new SymmetricEigen(2).decompose(2, a, values);
      assertEquals(3, values[0] / scale, TOLERANCE);
      assertEquals(1, values[1] / scale, TOLERANCE);
    }
  }

  @Test
  void badArgumentsAreNamed() {
    SymmetricEigen eigen = new SymmetricEigen(2);
    assertEquals(2, eigen.capacity());
    assertMessage("capacity: expected at least 0", () -> new SymmetricEigen(-1));
    assertMessage(
        "n: expected 0 to 2, got 3", () -> eigen.decompose(3, new double[9], new double[3]));
    assertMessage("a: expected 4 elements", () -> eigen.decompose(2, new double[3], new double[2]));
    assertMessage(
        "values: expected 2 elements", () -> eigen.decompose(2, new double[4], new double[1]));
    assertMessage(
        "a: expected finite elements",
        () -> eigen.decompose(2, new double[] {1, 0, Double.NaN, 1}, new double[2]));
  }

  private static void assertMessage(String part, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  /** Checks that {@code Q' diag(values) Q = A} and {@code Q Q' = I}, and gives the values. */
  private static double[] check(int n, double[] a, String what) {
    double[] q = a.clone();
    double[] values = new double[n];
    new SymmetricEigen(n).decompose(n, q, values);
    for (int i = 0; i < n; i++) {
      assertTrue(i == 0 || values[i - 1] >= values[i], what + ": not sorted");
      for (int j = 0; j < n; j++) {
        double product = 0;
        double matrix = 0;
        for (int k = 0; k < n; k++) {
          product += q[i * n + k] * q[j * n + k];
          matrix += q[k * n + i] * values[k] * q[k * n + j];
        }
        String place = what + " " + n + ": " + i + ", " + j;
        assertEquals(i == j ? 1 : 0, product, TOLERANCE, place);
        assertEquals(a[i * n + j], matrix, TOLERANCE * (1 + Math.abs(values[0])), place);
      }
    }
    return values;
  }
}
