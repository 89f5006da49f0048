package org.quern.gaunt;

import java.math.BigInteger;

/**
 * An exact coupling coefficient: {@code sign * sqrt(numerator / denominator / (4 pi))}, the
 * fraction in lowest terms.
 *
 * @param sign -1, 0 or 1
 * @param numerator of 4 pi times the square
 * @param denominator of 4 pi times the square, positive
 */
public record SignedRoot(int sign, BigInteger numerator, BigInteger denominator) {
  /** pi, scaled by 2<sup>128</sup>. */
  private static final BigInteger PI = new BigInteger("3243F6A8885A308D313198A2E03707344", 16);

  private static final int PI_BITS = 128;
  private static final int LOW_BITS = 62;

  /** Zero. */
  static final SignedRoot ZERO = new SignedRoot(0, BigInteger.ZERO, BigInteger.ONE);

  /** Reduces the fraction. */
  public SignedRoot {
    BigInteger common = numerator.gcd(denominator);
    numerator = numerator.divide(common);
    denominator = denominator.divide(common);
  }

  /** The coefficient, rounded once. */
  public double value() {
    return value(sign, numerator, denominator);
  }

  /** As {@link #value()} of a fraction that need not be in lowest terms. */
  static double value(int sign, BigInteger numerator, BigInteger denominator) {
    if (sign == 0) {
      return 0;
    }
    // The square as an integer of 121 to 123 bits, scaled by an even power of two.
    BigInteger divisor = denominator.multiply(PI);
    int length = numerator.bitLength() - divisor.bitLength() + PI_BITS - 2;
    int scale = (122 - length) & ~1;
    int shift = scale + PI_BITS - 2;
    BigInteger square =
        (shift >= 0 ? numerator.shiftLeft(shift) : numerator.shiftRight(-shift)).divide(divisor);
    long high = square.shiftRight(LOW_BITS).longValue();
    long low = square.longValue() & ((1L << LOW_BITS) - 1);
    double leading = high;
    double rest = (high - (long) leading) + Math.scalb((double) low, -LOW_BITS);
    double root = Math.sqrt(leading);
    // One step of Newton's method; its last addition is the only rounding that counts.
    double value = root + (Math.fma(-root, root, leading) + rest) / (2 * root);
    return sign * Math.scalb(value, (LOW_BITS - scale) / 2);
  }
}
