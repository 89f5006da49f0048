package org.quern.gaunt;

/** Ways to compute a Gaunt product; all are exact, and they differ in cost alone. */
public enum Algorithm {
  /** The sum over all non-zero coefficients. */
  DIRECT,
  /** The paper's route: two-dimensional Fourier series, multiplied by fast transforms. */
  FOURIER,
  /** Values on a Gauss-Legendre times equispaced grid. */
  GRID,
  /** Values at nodes in the polar angle, Fourier series in the azimuth. */
  HYBRID,
  /** Values at as few points as the result has components. */
  POINTS
}
