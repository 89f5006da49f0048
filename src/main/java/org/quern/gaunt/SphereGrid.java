package org.quern.gaunt;

/**
 * A rule of integration that is exact for polynomials on the sphere up to a degree d
 * (specification, section 6, C): Gauss-Legendre in cos(theta) with d/2 + 1 nodes times d + 1
 * equispaced azimuths. Points are numbered ring by ring. Immutable.
 *
 * <p>Azimuths are multiples of a full turn's (d+1)-th part, so that the cosine of m times an
 * azimuth needs no product of angles and keeps its accuracy at every order.
 */
final class SphereGrid {
  private final GaussLegendre rule;
  private final int azimuths;

  /** The least rule for a degree from 0 to twice {@link GaussLegendre#MAX_NODES} less 1. */
  SphereGrid(int degree) {
    this(degree / 2 + 1, degree + 1);
  }

  /** A rule of more nodes or azimuths than are needed. */
  SphereGrid(int nodes, int azimuths) {
    rule = GaussLegendre.of(nodes);
    this.azimuths = azimuths;
  }

  /** Number of points. */
  int size() {
    return rule.size() * azimuths;
  }

  /** Number of rings. */
  int rings() {
    return rule.size();
  }

  /** Points of a ring. */
  int azimuths() {
    return azimuths;
  }

  /** The nodes in theta. */
  GaussLegendre rule() {
    return rule;
  }

  /** Weight of a point; the weights sum to 4 pi. */
  double weight(int point) {
    return rule.weight(point / azimuths) * (2 * Math.PI / azimuths);
  }

  /** cos(m alpha) at an azimuth. */
  double cosine(int m, int turn) {
    return Math.cos(angle(m, turn));
  }

  /** sin(m alpha) at an azimuth. */
  double sine(int m, int turn) {
    return Math.sin(angle(m, turn));
  }

  private double angle(int m, int turn) {
    int step = Math.floorMod(m * turn, azimuths);
    // The nearer way around keeps the angle small.
    return 2 * Math.PI * (2 * step > azimuths ? step - azimuths : step) / azimuths;
  }

  /** Legendre functions by ring, in the order of {@link Legendre}. */
  double[][] rings(int degree) {
    Legendre legendre = new Legendre(degree);
    double[][] functions = new double[rings()][Legendre.size(degree)];
    for (int ring = 0; ring < functions.length; ring++) {
      legendre.values(rule.cos(ring), rule.sin(ring), functions[ring]);
    }
    return functions;
  }

  /** Values of all harmonics up to a degree: {@code [point][component]}, orthonormal. */
  double[][] values(int degree) {
    double[][] functions = rings(degree);
    double[][] values = new double[size()][(degree + 1) * (degree + 1)];
    for (int point = 0; point < values.length; point++) {
      int turn = point % azimuths;
      double[] ring = functions[point / azimuths];
      for (int l = 0; l <= degree; l++) {
        int middle = l * l + l;
        values[point][middle] = ring[Legendre.index(l, 0)];
        for (int m = 1; m <= l; m++) {
          double function = Math.sqrt(2) * ring[Legendre.index(l, m)];
          values[point][middle + m] = function * cosine(m, turn);
          values[point][middle - m] = function * sine(m, turn);
        }
      }
    }
    return values;
  }

  /** The values of {@link #values}, transposed and weighted: {@code [component][point]}. */
  double[][] integrals(int degree) {
    double[][] samples = values(degree);
    double[][] integrals = new double[(degree + 1) * (degree + 1)][samples.length];
    for (int point = 0; point < samples.length; point++) {
      for (int i = 0; i < integrals.length; i++) {
        integrals[i][point] = weight(point) * samples[point][i];
      }
    }
    return integrals;
  }
}
