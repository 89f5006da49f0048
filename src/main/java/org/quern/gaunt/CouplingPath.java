package org.quern.gaunt;

import java.math.BigInteger;

/**
 * The exact coupling coefficients of three degrees that form a triangle: Gaunt coefficients where
 * their sum is even, cross coefficients where it is odd. The formulas stand at {@link
 * GauntCoefficients}.
 *
 * <p>With J = l1+l2+l3, F(l,m) = (l+m)! (l-m)!, and Racah's sum S over products of three binomial
 * coefficients, w3j(l1 l2 l3; p q r)<sup>2</sup> = S<sup>2</sup> F(l1,p) F(l2,q) F(l3,r) / T with T
 * = (J-2l1)! (J-2l2)! (J-2l3)! (J+1)!. What does not depend on the orders is kept per path.
 */
final class CouplingPath {
  /** Up to this J the sum fits a long: C(J, J/2) bounds it. */
  private static final int LONG_SUM = 66;

  private static final BigInteger[] FACTORIALS = factorials(3 * GauntCoefficients.MAX_DEGREE + 1);
  private static final long[][] BINOMIALS = binomials();

  private final int l1;
  private final int l2;
  private final int l3;

  /** J. */
  private final int sum;

  /** T. */
  private final BigInteger triangle;

  /** 4 pi times the square of a coefficient is k^2 S^2 F F F times this fraction. */
  private final BigInteger numerator;

  private final BigInteger denominator;

  /** Sign of the first 3j symbol. */
  private final int sign;

  /** The path of three degrees up to {@link GauntCoefficients#MAX_DEGREE} that form a triangle. */
  CouplingPath(int l1, int l2, int l3) {
    this.l1 = l1;
    this.l2 = l2;
    this.l3 = l3;
    sum = l1 + l2 + l3;
    triangle =
        FACTORIALS[sum - 2 * l1]
            .multiply(FACTORIALS[sum - 2 * l2])
            .multiply(FACTORIALS[sum - 2 * l3])
            .multiply(FACTORIALS[sum + 1]);
    BigInteger dimensions = BigInteger.valueOf((2L * l1 + 1) * (2L * l2 + 1) * (2L * l3 + 1));
    if (isCross()) {
      BigInteger first = racahSum(1, -1);
      numerator =
          dimensions
              .multiply(BigInteger.valueOf((long) l1 * (l1 + 1) * l2 * (l2 + 1)))
              .multiply(first.pow(2))
              .multiply(factorialPair(l1, 1))
              .multiply(factorialPair(l2, 1))
              .multiply(factorialPair(l3, 0));
      denominator = triangle.pow(2);
      sign = first.signum() * power(l1 - l2);
    } else {
      // w3j(l1 l2 l3; 0 0 0) in closed form; its factorials of T cancel those of the other symbol.
      int half = sum / 2;
      BigInteger multinomial =
          FACTORIALS[half].divide(
              FACTORIALS[half - l1]
                  .multiply(FACTORIALS[half - l2])
                  .multiply(FACTORIALS[half - l3]));
      numerator = dimensions.multiply(multinomial.pow(2));
      denominator = FACTORIALS[sum + 1].pow(2);
      sign = power(half);
    }
  }

  /** True where the coefficients of these degrees are not all zero by selection. */
  static boolean isTriangle(int l1, int l2, int l3) {
    return l3 >= Math.abs(l1 - l2) && l3 <= l1 + l2;
  }

  /** True for cross coefficients. */
  boolean isCross() {
    return sum % 2 != 0;
  }

  /** The positive factor between a block of coefficients and the 3j symbols of e3nn. */
  double constant() {
    return SignedRoot.value(1, numerator.multiply(triangle), denominator);
  }

  /** The coefficient of three orders, exact. */
  SignedRoot exact(int m1, int m2, int m3) {
    int k = sign(m1, m2, m3);
    int a = Math.abs(m1);
    int b = Math.abs(m2);
    int c = Math.abs(m3);
    BigInteger s = k == 0 ? BigInteger.ZERO : racahSum(a, b, c);
    return s.signum() == 0
        ? SignedRoot.ZERO
        : new SignedRoot(
            k * s.signum() * commonSign(a, b, c), squareAbove(s, a, b, c), squareBelow(a, b, c));
  }

  /**
   * The coefficient of orders of these magnitudes, rounded once, up to {@link #sign(int, int, int)}
   * of the orders. One magnitude is the sum of the others.
   */
  double value(int a, int b, int c) {
    BigInteger s = racahSum(a, b, c);
    return SignedRoot.value(
        s.signum() * commonSign(a, b, c), squareAbove(s, a, b, c), squareBelow(a, b, c));
  }

  /** The sign of k for three orders; 0 where they have no coefficient by selection. */
  int sign(int m1, int m2, int m3) {
    int a = Math.abs(m1);
    int b = Math.abs(m2);
    int c = Math.abs(m3);
    int sines = (m1 < 0 ? 1 : 0) + (m2 < 0 ? 1 : 0) + (m3 < 0 ? 1 : 0);
    boolean balanced = a + b == c || a + c == b || b + c == a;
    if (!balanced || (sines % 2 != 0) != isCross()) {
      return 0;
    }
    int largest = a + b == c ? m3 : b + c == a ? m1 : m2;
    boolean negative = isCross() ? sines == 1 && largest < 0 : sines == 2 && largest >= 0;
    return negative ? -1 : 1;
  }

  /** (-1)^max and the signs of both 3j symbols but for that of the sum S. */
  private int commonSign(int a, int b, int c) {
    int r = a + b == c ? -c : c;
    return sign * power(Math.max(a, Math.max(b, c))) * power(l1 - l2 - r);
  }

  private BigInteger squareAbove(BigInteger s, int a, int b, int c) {
    return numerator
        .multiply(s.pow(2))
        .multiply(factorialPair(l1, a))
        .multiply(factorialPair(l2, b))
        .multiply(factorialPair(l3, c));
  }

  private BigInteger squareBelow(int a, int b, int c) {
    return a == 0 || b == 0 || c == 0 ? denominator : denominator.shiftLeft(1);
  }

  /** S for magnitudes of which the largest is negated. */
  private BigInteger racahSum(int a, int b, int c) {
    if (a + b == c) {
      return racahSum(a, b);
    }
    return b + c == a ? racahSum(-a, b) : racahSum(a, -b);
  }

  /**
   * S(p,q) = sum over n of (-1)^n C(l1+l2-l3, n) C(l1-l2+l3, l1-p-n) C(-l1+l2+l3, l2+q-n); the 3j
   * symbol has the sign of (-1)^(l1-l2-r) S.
   */
  private BigInteger racahSum(int p, int q) {
    int x = sum - 2 * l3;
    int y = sum - 2 * l2;
    int z = sum - 2 * l1;
    int from = Math.max(0, Math.max(l1 - p - y, l2 + q - z));
    int to = Math.min(x, Math.min(l1 - p, l2 + q));
    if (sum <= LONG_SUM) {
      long total = 0;
      for (int n = from; n <= to; n++) {
        total += power(n) * BINOMIALS[x][n] * BINOMIALS[y][l1 - p - n] * BINOMIALS[z][l2 + q - n];
      }
      return BigInteger.valueOf(total);
    }
    BigInteger total = BigInteger.ZERO;
    for (int n = from; n <= to; n++) {
      BigInteger product =
          binomial(x, n).multiply(binomial(y, l1 - p - n)).multiply(binomial(z, l2 + q - n));
      total = n % 2 == 0 ? total.add(product) : total.subtract(product);
    }
    return total;
  }

  /** (-1)^n. */
  private static int power(int n) {
    return n % 2 == 0 ? 1 : -1;
  }

  /** F(l,m). */
  private static BigInteger factorialPair(int l, int m) {
    return FACTORIALS[l + m].multiply(FACTORIALS[l - m]);
  }

  private static BigInteger binomial(int n, int k) {
    return FACTORIALS[n].divide(FACTORIALS[k].multiply(FACTORIALS[n - k]));
  }

  private static BigInteger[] factorials(int most) {
    BigInteger[] factorials = new BigInteger[most + 1];
    factorials[0] = BigInteger.ONE;
    for (int n = 1; n <= most; n++) {
      factorials[n] = factorials[n - 1].multiply(BigInteger.valueOf(n));
    }
    return factorials;
  }

  private static long[][] binomials() {
    long[][] binomials = new long[LONG_SUM + 1][LONG_SUM + 1];
    for (int n = 0; n <= LONG_SUM; n++) {
      binomials[n][0] = 1;
      for (int k = 1; k <= n; k++) {
        binomials[n][k] = binomials[n - 1][k - 1] + binomials[n - 1][k];
      }
    }
    return binomials;
  }
}
