package org.quern.gaunt;

/**
 * The constants of the recurrence by which the kernels evaluate spherical harmonics of a unit
 * vector (x, y, z) without angles: Y(l,m) = q(l,m)(y) Re (z+ix)<sup>m</sup> for m &ge; 0, and with
 * Im for -m, where q(m,m) is a constant and
 *
 * <pre>q(l,m) = up(l,m) y q(l-1,m) + back(l,m) q(l-2,m)</pre>
 *
 * <p>The factors contain the normalization and sqrt2 of m &gt; 0. Immutable.
 */
final class SphereTables {
  final int degree;

  /** n(L). */
  final int components;

  /** q(m,m). */
  final double[] start;

  /** Factors of q(l,m), l = m..L, at {@link #column} + l - m; the first of a column is not used. */
  final double[] up;

  final double[] back;

  /** The tables of degrees 0 to {@code degree}. */
  SphereTables(int degree, Normalization normalization) {
    this.degree = degree;
    components = (degree + 1) * (degree + 1);
    start = new double[degree + 1];
    up = new double[Legendre.size(degree)];
    back = new double[Legendre.size(degree)];
    double diagonal = 1 / Math.sqrt(4 * Math.PI);
    for (int m = 0; m <= degree; m++) {
      diagonal = m == 0 ? diagonal : diagonal * Legendre.diagonal(m);
      start[m] = diagonal * normalization.factor(m) * (m == 0 ? 1 : Math.sqrt(2));
      for (int l = m + 1; l <= degree; l++) {
        int at = column(m) + l - m;
        double factor = normalization.factor(l) * Legendre.up(l, m);
        up[at] = factor / normalization.factor(l - 1);
        back[at] = l == m + 1 ? 0 : -factor * Legendre.back(l, m) / normalization.factor(l - 2);
      }
    }
  }

  /** Where the factors of order m begin. */
  int column(int m) {
    return m * (degree + 1) - m * (m - 1) / 2;
  }
}
