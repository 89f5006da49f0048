package org.quern.gaunt;

/**
 * Harmonics as double Fourier series (specification, section 6, B): with theta extended to a full
 * turn, {@code Y(l, m) = sum over u of s(l, |m|, u) exp(i u theta)} times a wave in alpha, |u| up
 * to l; and the integrals that lead back. Built in double precision. Immutable.
 */
final class FourierTables {
  private final int degree;
  private final int frequencies;

  /** By Legendre function and u: real part for even orders, imaginary part for odd ones. */
  private final double[][] series;

  /** By Legendre function and u: real and imaginary part. */
  private final double[][] integralsRe;

  private final double[][] integralsIm;

  /**
   * Tables.
   *
   * @param degree highest degree
   * @param frequencies highest |u| of the integrals
   */
  FourierTables(int degree, int frequencies) {
    this.degree = degree;
    this.frequencies = frequencies;
    int functions = Legendre.size(degree);
    series = new double[functions][2 * degree + 1];
    integralsRe = new double[functions][2 * frequencies + 1];
    integralsIm = new double[functions][2 * frequencies + 1];
    int samples = 2 * degree + 2;
    Legendre legendre = new Legendre(degree);
    double[] values = new double[functions];
    for (int j = 0; j < samples; j++) {
      double theta = 2 * Math.PI * j / samples;
      legendre.values(Math.cos(theta), Math.sin(theta), values);
      for (int l = 0; l <= degree; l++) {
        for (int m = 0; m <= l; m++) {
          int at = Legendre.index(l, m);
          for (int u = -l; u <= l; u++) {
            double angle = 2 * Math.PI * Math.floorMod(u * j, samples) / samples;
            double wave = m % 2 == 0 ? Math.cos(angle) : -Math.sin(angle);
            series[at][u + degree] += values[at] * wave / samples;
          }
        }
      }
    }
    for (int l = 0; l <= degree; l++) {
      for (int m = 0; m <= l; m++) {
        integrate(Legendre.index(l, m), l, m % 2 == 0);
      }
    }
  }

  private void integrate(int at, int l, boolean even) {
    for (int u = -frequencies; u <= frequencies; u++) {
      double re = 0;
      double im = 0;
      for (int w = -l; w <= l; w++) {
        double factor = series[at][w + degree];
        int n = u + w;
        // Of exp(i n theta) sin(theta) over half a turn.
        double halfRe = n % 2 == 0 ? 2 / (1 - (double) n * n) : 0;
        double halfIm = Math.abs(n) == 1 ? n * Math.PI / 2 : 0;
        re += even ? factor * halfRe : -factor * halfIm;
        im += even ? factor * halfIm : factor * halfRe;
      }
      integralsRe[at][u + frequencies] = re;
      integralsIm[at][u + frequencies] = im;
    }
  }

  /** Highest degree. */
  int degree() {
    return degree;
  }

  /**
   * The coefficient of {@code exp(i (u theta + m alpha))} for slot 0, or {@code exp(i (u theta - m
   * alpha))} for slot 1, in Y(l, m): {re, im}.
   */
  double[] series(int l, int m, int u, int slot) {
    double factor = Math.abs(u) <= l ? series[Legendre.index(l, Math.abs(m))][u + degree] : 0;
    double re = m % 2 == 0 ? factor : 0;
    double im = m % 2 == 0 ? 0 : factor;
    return wave(m, slot, re, im, m == 0 ? (slot == 0 ? 1 : 0) : Math.sqrt(0.5));
  }

  /**
   * The integral over the sphere of Y(l, m) times {@code exp(i (u theta + m alpha))} for slot 0, or
   * {@code exp(i (u theta - m alpha))} for slot 1: {re, im}.
   */
  double[] integral(int l, int m, int u, int slot) {
    int at = Legendre.index(l, Math.abs(m));
    double re = integralsRe[at][u + frequencies];
    double im = integralsIm[at][u + frequencies];
    double size = m == 0 ? (slot == 0 ? 2 * Math.PI : 0) : Math.sqrt(2) * Math.PI;
    return wave(m, 1 - slot, re, im, size);
  }

  /** Times a size and, for a sine, i in slot 0 or -i in slot 1. */
  private static double[] wave(int m, int slot, double re, double im, double size) {
    if (m >= 0) {
      return new double[] {size * re, size * im};
    }
    double turn = slot == 0 ? size : -size;
    return new double[] {-turn * im, turn * re};
  }
}
