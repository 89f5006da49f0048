package org.quern.gaunt;

import java.math.BigInteger;

/**
 * The Gauss-Legendre rule of n nodes in cos(theta): the integral over cos(theta) from -1 to 1 of a
 * polynomial of degree 2n-1 in it is the weighted sum of its values at the nodes.
 *
 * <p>Nodes by Newton's method on P<sub>n</sub> in double precision, then once more in fixed point
 * with 110 bits behind the point; nodes, sines and weights are rounded once from there. They ascend
 * in theta, and lie in exact pairs: {@code cos(n-1-i) = -cos(i)}. Immutable.
 */
final class GaussLegendre {
  /** Most nodes. */
  static final int MAX_NODES = 128;

  private static final int BITS = 110;
  private static final BigInteger ONE = BigInteger.ONE.shiftLeft(BITS);
  private static final double UNIT = 0x1p-110;

  private final double[] cosines;
  private final double[] sines;
  private final double[] weights;

  private GaussLegendre(int nodes) {
    cosines = new double[nodes];
    sines = new double[nodes];
    weights = new double[nodes];
    for (int i = 0; i < (nodes + 1) / 2; i++) {
      BigInteger x = 2 * i + 1 == nodes ? BigInteger.ZERO : refined(nodes, start(nodes, i));
      BigInteger[] values = legendre(nodes, x);
      BigInteger square = ONE.subtract(times(x, x));
      // w = 2 (1 - x^2) / (n P_{n-1}(x))^2
      BigInteger slope = values[1].multiply(BigInteger.valueOf(nodes));
      BigInteger weight = over(square.shiftLeft(1), times(slope, slope));
      cosines[i] = x.doubleValue() * UNIT;
      sines[i] = square.shiftLeft(BITS).sqrt().doubleValue() * UNIT;
      weights[i] = weight.doubleValue() * UNIT;
      int pair = nodes - 1 - i;
      cosines[pair] = pair == i ? 0 : -cosines[i];
      sines[pair] = sines[i];
      weights[pair] = weights[i];
    }
  }

  /**
   * The rule of {@code nodes} nodes.
   *
   * @throws IllegalArgumentException where {@code nodes} is not 1 to {@link #MAX_NODES}
   */
  static GaussLegendre of(int nodes) {
    if (nodes < 1 || nodes > MAX_NODES) {
      throw new IllegalArgumentException("nodes: expected 1 to " + MAX_NODES + ", got " + nodes);
    }
    return new GaussLegendre(nodes);
  }

  /** Number of nodes. */
  int size() {
    return cosines.length;
  }

  /** cos(theta) of a node. */
  double cos(int node) {
    return cosines[node];
  }

  /** sin(theta) of a node. */
  double sin(int node) {
    return sines[node];
  }

  /** The weight of a node; they sum to 2. */
  double weight(int node) {
    return weights[node];
  }

  /** A node of the upper half in double precision, from Tricomi's estimate. */
  private static double start(int nodes, int i) {
    double x = Math.cos(Math.PI * (4 * i + 3) / (4 * nodes + 2));
    for (int step = 0; step < 6; step++) {
      double below = 1;
      double value = x;
      for (int k = 1; k < nodes; k++) {
        double next = ((2 * k + 1) * x * value - k * below) / (k + 1);
        below = value;
        value = next;
      }
      x -= value * (1 - x * x) / (nodes * (below - x * value));
    }
    return x;
  }

  /** One step of Newton's method, which doubles the digits of a double. */
  private static BigInteger refined(int nodes, double start) {
    BigInteger x = BigInteger.valueOf((long) Math.scalb(start, 60)).shiftLeft(BITS - 60);
    BigInteger[] values = legendre(nodes, x);
    // x - P (1 - x^2) / (n (P_{n-1} - x P))
    BigInteger slope = values[1].subtract(times(x, values[0])).multiply(BigInteger.valueOf(nodes));
    return x.subtract(over(times(values[0], ONE.subtract(times(x, x))), slope));
  }

  /** P<sub>n</sub> and P<sub>n-1</sub> at x. */
  private static BigInteger[] legendre(int n, BigInteger x) {
    BigInteger below = ONE;
    BigInteger value = x;
    for (int k = 1; k < n; k++) {
      BigInteger next =
          times(x, value)
              .multiply(BigInteger.valueOf(2L * k + 1))
              .subtract(below.multiply(BigInteger.valueOf(k)))
              .divide(BigInteger.valueOf(k + 1L));
      below = value;
      value = next;
    }
    return new BigInteger[] {value, below};
  }

  private static BigInteger times(BigInteger a, BigInteger b) {
    return a.multiply(b).shiftRight(BITS);
  }

  private static BigInteger over(BigInteger a, BigInteger b) {
    return a.shiftLeft(BITS).divide(b);
  }
}
