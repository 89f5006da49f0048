package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.math.MathContext;
import org.junit.jupiter.api.Test;

class LegendreTest {
  private static final MathContext DIGITS = new MathContext(50);

  /** P<sub>n</sub>(x) in decimal arithmetic. */
  private static BigDecimal legendre(int n, BigDecimal x) {
    BigDecimal below = BigDecimal.ONE;
    BigDecimal value = n == 0 ? BigDecimal.ONE : x;
    for (int k = 1; k < n; k++) {
      BigDecimal next =
          x.multiply(value)
              .multiply(BigDecimal.valueOf(2L * k + 1))
              .subtract(below.multiply(BigDecimal.valueOf(k)))
              .divide(BigDecimal.valueOf(k + 1L), DIGITS);
      below = value;
      value = next;
    }
    return value;
  }

  @Test
  void nodesAreRoundedRoots() {
    for (int n : new int[] {1, 2, 3, 4, 5, 9, 16, 17, 33, 64, 97, 128}) {
      GaussLegendre rule = GaussLegendre.of(n);
      for (int i = 0; i < n; i++) {
        double x = rule.cos(i);
        if (x != 0) {
          BigDecimal low = legendre(n, new BigDecimal(x - Math.ulp(x)));
          BigDecimal high = legendre(n, new BigDecimal(x + Math.ulp(x)));
          assertTrue(low.signum() * high.signum() < 0, n + " nodes: node " + i);
        }
        assertEquals(0.0 - rule.cos(n - 1 - i), x, n + " nodes: node " + i);
        BigDecimal square = new BigDecimal(x).pow(2);
        double sine = BigDecimal.ONE.subtract(square).sqrt(DIGITS).doubleValue();
        // The sine belongs to the exact node, half an ulp from the rounded one.
        double slack = Math.ulp(sine) + Math.ulp(x) * Math.abs(x) / sine;
        assertEquals(sine, rule.sin(i), slack, n + " nodes: node " + i);
        assertTrue(i == 0 || x < rule.cos(i - 1));
      }
    }
  }

  @Test
  void knownRules() {
    assertEquals(0, GaussLegendre.of(1).cos(0));
    assertEquals(2, GaussLegendre.of(1).weight(0));
    assertEquals(1, GaussLegendre.of(2).weight(0));
    assertEquals(Math.sqrt(0.6), GaussLegendre.of(3).cos(0));
    assertEquals(5.0 / 9, GaussLegendre.of(3).weight(2));
    assertEquals(8.0 / 9, GaussLegendre.of(3).weight(1));
  }

  @Test
  void rulesIntegratePowersExactly() {
    for (int n = 1; n <= GaussLegendre.MAX_NODES; n += n < 20 ? 1 : 27) {
      GaussLegendre rule = GaussLegendre.of(n);
      for (int power = 0; power <= 2 * n - 1; power++) {
        double sum = 0;
        for (int i = 0; i < n; i++) {
          sum += rule.weight(i) * Math.pow(rule.cos(i), power);
        }
        assertEquals(power % 2 == 0 ? 2.0 / (power + 1) : 0, sum, 1e-15, n + ", " + power);
      }
      if (n < 20) {
        double sum = 0;
        for (int i = 0; i < n; i++) {
          sum += rule.weight(i) * Math.pow(rule.cos(i), 2 * n);
        }
        assertTrue(Math.abs(sum - 2.0 / (2 * n + 1)) > 1e-12, "one degree more is not exact");
      }
    }
  }

  @Test
  void functionsAreOrthonormal() {
    int degree = Legendre.MAX_DEGREE;
    Legendre legendre = new Legendre(degree);
    GaussLegendre rule = GaussLegendre.of(degree + 1);
    double[][] values = new double[rule.size()][Legendre.size(degree)];
    for (int t = 0; t < rule.size(); t++) {
      legendre.values(rule.cos(t), rule.sin(t), values[t]);
    }
    for (int m = 0; m <= degree; m += 3) {
      for (int l1 = m; l1 <= degree; l1++) {
        for (int l2 = m; l2 <= degree; l2++) {
          double sum = 0;
          for (int t = 0; t < rule.size(); t++) {
            sum +=
                rule.weight(t)
                    * values[t][Legendre.index(l1, m)]
                    * values[t][Legendre.index(l2, m)];
          }
          assertEquals(l1 == l2 ? 1 : 0, 2 * Math.PI * sum, 2e-13, l1 + " " + l2 + " " + m);
        }
      }
    }
  }

  @Test
  void derivativesAreThoseOfTheSpecification() {
    int degree = 40;
    Legendre legendre = new Legendre(degree);
    double[] values = new double[Legendre.size(degree)];
    double[] slopes = values.clone();
    double[] overSine = values.clone();
    for (double theta : new double[] {0.1, 0.7, 1.4, Math.PI / 2, 2.2, 3.0}) {
      double cos = Math.cos(theta);
      double sin = Math.sin(theta);
      legendre.values(cos, sin, values);
      legendre.thetaDerivatives(values, slopes);
      legendre.timesOrderOverSine(values, overSine);
      for (int l = 0; l <= degree; l++) {
        for (int m = 0; m <= l; m++) {
          int at = Legendre.index(l, m);
          double below = m == l ? 0 : values[Legendre.index(l - 1, m)];
          double expected =
              l * cos / sin * values[at]
                  - Math.sqrt((2.0 * l + 1) * (l * l - m * m) / Math.max(1, 2 * l - 1))
                      * below
                      / sin;
          assertEquals(expected, slopes[at], 1e-11 * (1 + l), l + " " + m + " at " + theta);
          assertEquals(m * values[at] / sin, overSine[at], 1e-12 * (1 + l), l + " " + m);
        }
      }
    }
  }

  @Test
  void derivativesAreFiniteAtThePoles() {
    Legendre legendre = new Legendre(20);
    double[] values = new double[Legendre.size(20)];
    double[] out = values.clone();
    for (double cos : new double[] {1, -1}) {
      legendre.values(cos, 0, values);
      legendre.thetaDerivatives(values, out);
      for (int l = 1; l <= 20; l++) {
        double side = cos > 0 || l % 2 == 0 ? 1 : -1;
        // From Pb(l,1) = sqrt(l(l+1)) Pb(l,0)(0) theta / 2 near the pole.
        double slope = Math.sqrt(l * (l + 1.0) * (2 * l + 1) / (4 * Math.PI)) / 2;
        assertEquals(side * slope, out[Legendre.index(l, 1)], 1e-13 * slope);
        assertEquals(0, out[Legendre.index(l, 0)] + 0.0);
      }
      legendre.timesOrderOverSine(values, out);
      for (int l = 1; l <= 20; l++) {
        double side = cos > 0 || l % 2 == 0 ? 1 : -1;
        double slope = Math.sqrt(l * (l + 1.0) * (2 * l + 1) / (4 * Math.PI)) / 2;
        assertEquals(side * cos * slope, out[Legendre.index(l, 1)], 1e-13 * slope);
      }
    }
  }

  @Test
  void badSizesAreNamed() {
    for (int degree : new int[] {-1, Legendre.MAX_DEGREE + 1}) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> new Legendre(degree));
      assertEquals("degree: expected 0 to 64, got " + degree, e.getMessage());
    }
    for (int nodes : new int[] {0, 129}) {
      IllegalArgumentException e =
          assertThrows(IllegalArgumentException.class, () -> GaussLegendre.of(nodes));
      assertEquals("nodes: expected 1 to 128, got " + nodes, e.getMessage());
    }
  }
}
