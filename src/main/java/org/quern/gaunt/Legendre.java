package org.quern.gaunt;

/**
 * Associated Legendre functions, normalized so that Pb(l,|m|) times 1, sqrt2 cos(m alpha) or sqrt2
 * sin(m alpha) is orthonormal on the sphere; no Condon-Shortley phase. All degrees and orders up to
 * one degree at a time, for one polar angle theta, by recurrence over the degree, which is stable
 * upward for every order.
 *
 * <p>Values are stored by {@link #index}: l ascending, in it m = 0..l. Immutable.
 *
 * <p>Source of the derivatives: the ladder relations of the associated Legendre functions, which
 * need no division by sin(theta) and hold at the poles (NIST Digital Library of Mathematical
 * Functions, section 14.10).
 */
final class Legendre {
  /** Highest degree of the tables of this package: input degrees 0 to 16 need 32 and their sums. */
  static final int MAX_DEGREE = 64;

  private final int degree;

  /** Per (l,m) with l > m: Pb(l,m) = up (cos Pb(l-1,m) - back Pb(l-2,m)). */
  private final double[] up;

  private final double[] back;

  /** Functions up to a degree from 0 to {@link #MAX_DEGREE}. */
  Legendre(int degree) {
    if (degree < 0 || degree > MAX_DEGREE) {
      throw new IllegalArgumentException("degree: expected 0 to " + MAX_DEGREE + ", got " + degree);
    }
    this.degree = degree;
    up = new double[size(degree)];
    back = new double[size(degree)];
    for (int l = 1; l <= degree; l++) {
      for (int m = 0; m < l; m++) {
        up[index(l, m)] = up(l, m);
        back[index(l, m)] = back(l, m);
      }
    }
  }

  /** The factor "up" of the recurrence for l > m. */
  static double up(int l, int m) {
    return Math.sqrt((4.0 * l * l - 1) / (l * l - m * m));
  }

  /** The factor "back" of the recurrence for l > m; 0 where there is no earlier function. */
  static double back(int l, int m) {
    double below = (double) (l - 1) * (l - 1);
    return m == l - 1 ? 0 : Math.sqrt((below - m * m) / (4 * below - 1));
  }

  /** Pb(m,m) / (sin Pb(m-1,m-1)). */
  static double diagonal(int m) {
    return Math.sqrt((2.0 * m + 1) / (2 * m));
  }

  /** Highest degree. */
  int degree() {
    return degree;
  }

  /** Number of functions of degrees 0 to {@code degree}. */
  static int size(int degree) {
    return (degree + 1) * (degree + 2) / 2;
  }

  /** Where the function of degree l and order m >= 0 is stored. */
  static int index(int l, int m) {
    return l * (l + 1) / 2 + m;
  }

  /**
   * Pb(l,m)(theta).
   *
   * @param cos cos(theta)
   * @param sin sin(theta); where negative, theta lies beyond pi and odd orders change their sign
   * @param out {@link #size} values
   */
  void values(double cos, double sin, double[] out) {
    out[0] = 1 / Math.sqrt(4 * Math.PI);
    for (int m = 1; m <= degree; m++) {
      out[index(m, m)] = diagonal(m) * sin * out[index(m - 1, m - 1)];
    }
    for (int l = 1; l <= degree; l++) {
      for (int m = 0; m < l; m++) {
        int at = index(l, m);
        double before = m == l - 1 ? 0 : back[at] * out[index(l - 2, m)];
        out[at] = up[at] * (cos * out[index(l - 1, m)] - before);
      }
    }
  }

  /**
   * dPb(l,m)/dtheta = (sqrt((l+m)(l-m+1)) Pb(l,m-1) - sqrt((l-m)(l+m+1)) Pb(l,m+1)) / 2, and
   * -sqrt(l(l+1)) Pb(l,1) for m = 0.
   *
   * @param values what {@link #values} wrote
   * @param out {@link #size} values
   */
  void thetaDerivatives(double[] values, double[] out) {
    for (int l = 0; l <= degree; l++) {
      for (int m = 0; m <= l; m++) {
        double above =
            m == l ? 0 : Math.sqrt((double) (l - m) * (l + m + 1)) * values[index(l, m + 1)];
        out[index(l, m)] =
            m == 0
                ? -above
                : (Math.sqrt((double) (l + m) * (l - m + 1)) * values[index(l, m - 1)] - above) / 2;
      }
    }
  }

  /**
   * m Pb(l,m)/sin(theta) = sqrt((2l+1)/(2l-1)) (sqrt((l-m)(l-m-1)) Pb(l-1,m+1) + sqrt((l+m)(l+m-1))
   * Pb(l-1,m-1)) / 2, finite at the poles.
   *
   * @param values what {@link #values} wrote
   * @param out {@link #size} values
   */
  void timesOrderOverSine(double[] values, double[] out) {
    for (int l = 0; l <= degree; l++) {
      out[index(l, 0)] = 0;
      double ratio = l == 0 ? 0 : Math.sqrt((2.0 * l + 1) / (2 * l - 1)) / 2;
      for (int m = 1; m <= l; m++) {
        double above =
            m >= l - 1
                ? 0
                : Math.sqrt((double) (l - m) * (l - m - 1)) * values[index(l - 1, m + 1)];
        double below = Math.sqrt((double) (l + m) * (l + m - 1)) * values[index(l - 1, m - 1)];
        out[index(l, m)] = ratio * (above + below);
      }
    }
  }
}
