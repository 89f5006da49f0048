package org.quern.gaunt;

/**
 * A rule of integration like {@link SphereGrid}, whose azimuths are a multiple of four and lie in
 * orbits of four: alpha, -alpha, pi - alpha, pi + alpha. Of a function on an orbit, the parts of
 * cosines and sines of even and odd orders need one sum each; the four values are sums of these
 * with signs. Immutable.
 */
final class OrbitGrid {
  private final GaussLegendre rule;
  private final int azimuths;

  /** The rule that is exact up to a degree. */
  OrbitGrid(int degree) {
    rule = GaussLegendre.of(degree / 2 + 1);
    azimuths = Math.ceilDiv(degree + 1, 4) * 4;
  }

  /** Number of orbits. */
  int size() {
    return rule.size() * (azimuths / 4);
  }

  /** Weight of each point of an orbit; the weights of all points sum to 4 pi. */
  double weight(int orbit) {
    return rule.weight(ring(orbit)) * (2 * Math.PI / azimuths);
  }

  /** Unit vector of a point of an orbit, 0 to 3 in the order above: (x, y, z). */
  double[] point(int orbit, int image) {
    double sine = rule.sin(ring(orbit)) * Math.sin(angle(orbit));
    double cosine = rule.sin(ring(orbit)) * Math.cos(angle(orbit));
    return new double[] {
      image % 2 == 0 ? sine : -sine, rule.cos(ring(orbit)), image < 2 ? cosine : -cosine
    };
  }

  /** Polar node of an orbit. */
  private int ring(int orbit) {
    return orbit / (azimuths / 4);
  }

  private double angle(int orbit) {
    return (2 * (orbit % (azimuths / 4)) + 1) * Math.PI / azimuths;
  }

  /** Values of all harmonics up to a degree at the first point of each orbit. */
  double[][] values(int degree) {
    Legendre legendre = new Legendre(degree);
    double[] functions = new double[Legendre.size(degree)];
    double[][] values = new double[size()][(degree + 1) * (degree + 1)];
    for (int orbit = 0; orbit < values.length; orbit++) {
      legendre.values(rule.cos(ring(orbit)), rule.sin(ring(orbit)), functions);
      for (int l = 0; l <= degree; l++) {
        for (int m = 0; m <= l; m++) {
          double function = functions[Legendre.index(l, m)] * (m == 0 ? 1 : Math.sqrt(2));
          values[orbit][l * l + l + m] = function * Math.cos(m * angle(orbit));
          if (m > 0) {
            values[orbit][l * l + l - m] = function * Math.sin(m * angle(orbit));
          }
        }
      }
    }
    return values;
  }
}
