package org.quern.linalg;

import java.util.Arrays;

/**
 * Eigenvalues and eigenvectors of small symmetric matrices in double precision: Householder
 * tridiagonalization, then QL steps with Wilkinson's shift (Golub and Van Loan, "Matrix
 * Computations", sections 8.3.1 and 8.3.3); about 7 n^3 flops. An instance holds the work memory,
 * allocates nothing per call and serves one call at a time.
 *
 * <p>The error is of the order of the rounding unit times the norm of the matrix, in every
 * eigenvalue and in the residual of every eigenvector; eigenvectors are orthonormal to that
 * precision.
 */
public final class SymmetricEigen {
  /** QL steps for one eigenvalue; two are the rule, and none is known to need more than ten. */
  private static final int MAX_STEPS = 60;

  private final int capacity;
  private final double[] diagonal;
  private final double[] below;
  private final double[] work;
  private double negligible;

  /**
   * A solver for matrices of order up to {@code capacity}.
   *
   * @throws IllegalArgumentException where {@code capacity < 0}
   */
  public SymmetricEigen(int capacity) {
    Matrices.checkExtent("capacity", capacity);
    this.capacity = capacity;
    this.diagonal = new double[capacity];
    this.below = new double[capacity + 1];
    this.work = new double[capacity];
  }

  /** Greatest order that this instance takes. */
  public int capacity() {
    return capacity;
  }

  /**
   * Decomposes {@code A = Q' diag(values) Q}.
   *
   * @param n order, at most {@link #capacity}
   * @param a A, row by row, of which the lower triangle is read; replaced by Q, whose row j is the
   *     eigenvector of {@code values[j]}
   * @param values n eigenvalues, greatest first
   * @throws IllegalArgumentException where n or the length of an array does not fit, or an element
   *     of A is not finite
   */
  public void decompose(int n, double[] a, double[] values) {
    if (n < 0 || n > capacity) {
      throw new IllegalArgumentException("n: expected 0 to " + capacity + ", got " + n);
    }
    if (a.length < (long) n * n) {
      throw new IllegalArgumentException(
          "a: expected " + (long) n * n + " elements, got " + a.length);
    }
    if (values.length < n) {
      throw new IllegalArgumentException(
          "values: expected " + n + " elements, got " + values.length);
    }
    double scale = 0;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        double x = Math.abs(a[i * n + j]);
        if (!(x < Double.POSITIVE_INFINITY)) {
          throw new IllegalArgumentException(
              "a: expected finite elements, got " + x + " at " + i + ", " + j);
        }
        scale = Math.max(scale, x);
      }
    }
    // A power of two, so that squares neither overflow nor vanish.
    int exponent = scale < Double.MIN_NORMAL ? 0 : -Math.getExponent(scale);
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        a[i * n + j] = Math.scalb(a[i * n + j], exponent);
        a[j * n + i] = a[i * n + j];
      }
    }
    tridiagonalize(n, a);
    accumulate(n, a);
    iterate(n, a);
    sort(n, a);
    for (int i = 0; i < n; i++) {
      values[i] = Math.scalb(diagonal[i], -exponent);
    }
  }

  /**
   * Leaves the tridiagonal matrix in {@link #diagonal} and {@link #below} ({@code below[k]} is
   * element (k + 1, k)), and the vector v of the reflector {@code I - v v'} that acts on rows k + 1
   * to n - 1 in row k of A, from column k + 1.
   */
  private void tridiagonalize(int n, double[] a) {
    double[] p = work;
    for (int k = 0; k < n - 1; k++) {
      int row = k * n;
      diagonal[k] = a[row + k];
      double norm = 0;
      for (int j = k + 2; j < n; j++) {
        norm += a[row + j] * a[row + j];
      }
      double x = a[row + k + 1];
      if (norm == 0) {
        below[k] = x;
        Arrays.fill(a, row + k + 1, row + n, 0);
        continue;
      }
      double length = Math.sqrt(norm + x * x);
      double target = x > 0 ? -length : length;
      below[k] = target;
      // v'v = 2, so that no factor is to be stored.
      a[row + k + 1] = x - target;
      double factor = 1 / Math.sqrt(length * (length + Math.abs(x)));
      for (int j = k + 1; j < n; j++) {
        a[row + j] *= factor;
      }
      double product = 0;
      for (int i = k + 1; i < n; i++) {
        double sum = 0;
        double sum1 = 0;
        double sum2 = 0;
        double sum3 = 0;
        int at = i * n;
        int j = k + 1;
        for (; j <= n - 4; j += 4) {
          sum += a[at + j] * a[row + j];
          sum1 += a[at + j + 1] * a[row + j + 1];
          sum2 += a[at + j + 2] * a[row + j + 2];
          sum3 += a[at + j + 3] * a[row + j + 3];
        }
        for (; j < n; j++) {
          sum += a[at + j] * a[row + j];
        }
        p[i] = sum + sum1 + (sum2 + sum3);
        product += p[i] * a[row + i];
      }
      for (int i = k + 1; i < n; i++) {
        p[i] -= product / 2 * a[row + i];
      }
      for (int i = k + 1; i < n; i++) {
        double left = a[row + i];
        double right = p[i];
        int at = i * n;
        for (int j = k + 1; j < n; j++) {
          a[at + j] -= left * p[j] + right * a[row + j];
        }
      }
    }
    if (n > 0) {
      diagonal[n - 1] = a[n * n - 1];
      below[n - 1] = 0;
    }
  }

  /** Replaces the reflectors by the transpose of their product, so that rows become vectors. */
  private void accumulate(int n, double[] q) {
    for (int k = n - 1; k >= 0; k--) {
      int row = k * n;
      // Row k holds v; the trailing block of q is the product of the later reflectors.
      for (int i = k + 1; i < n; i++) {
        double sum = 0;
        double sum1 = 0;
        int at = i * n;
        int j = k + 1;
        for (; j <= n - 2; j += 2) {
          sum += q[at + j] * q[row + j];
          sum1 += q[at + j + 1] * q[row + j + 1];
        }
        for (; j < n; j++) {
          sum += q[at + j] * q[row + j];
        }
        double product = sum + sum1;
        for (j = k + 1; j < n; j++) {
          q[at + j] -= product * q[row + j];
        }
        q[at + k] = 0;
      }
      Arrays.fill(q, row, row + n, 0);
      q[row + k] = 1;
    }
  }

  /** QL steps until nothing is left below the diagonal; rotations turn pairs of rows of q. */
  private void iterate(int n, double[] q) {
    double norm = 0;
    for (int i = 0; i < n; i++) {
      norm = Math.max(norm, Math.abs(diagonal[i]) + Math.abs(below[i]));
    }
    // Beside eigenvalues of order one, a block of zeros holds rounding errors that never split by
    // their own measure.
    negligible = Math.ulp(1.0) / 2 * norm;
    for (int first = 0; first < n; first++) {
      int steps = 0;
      int last = split(first, n);
      while (last != first) {
        if (++steps > MAX_STEPS) {
          throw new ArithmeticException(
              "no convergence of eigenvalue " + first + " after " + MAX_STEPS + " steps");
        }
        step(first, last, n, q);
        last = split(first, n);
      }
    }
  }

  /** End of the block that starts at {@code first} and is not yet split. */
  private int split(int first, int n) {
    int last = first;
    while (last < n - 1
        && Math.abs(below[last])
            > Math.max(
                negligible,
                Math.ulp(1.0) / 2 * (Math.abs(diagonal[last]) + Math.abs(diagonal[last + 1])))) {
      last++;
    }
    return last;
  }

  private void step(int first, int last, int n, double[] q) {
    double g = (diagonal[first + 1] - diagonal[first]) / (2 * below[first]);
    double r = Math.sqrt(g * g + 1);
    g = diagonal[last] - diagonal[first] + below[first] / (g + (g < 0 ? -r : r));
    double sine = 1;
    double cosine = 1;
    double p = 0;
    for (int i = last - 1; i >= first; i--) {
      double f = sine * below[i];
      double b = cosine * below[i];
      r = Math.sqrt(f * f + g * g);
      below[i + 1] = r;
      if (r == 0) { // the block falls apart here
        diagonal[i + 1] -= p;
        below[last] = 0;
        return;
      }
      sine = f / r;
      cosine = g / r;
      g = diagonal[i + 1] - p;
      double t = (diagonal[i] - g) * sine + 2 * cosine * b;
      p = sine * t;
      diagonal[i + 1] = g + p;
      g = cosine * t - b;
      rotate(n, q, i * n, sine, cosine);
    }
    diagonal[first] -= p;
    below[first] = g;
    below[last] = 0;
  }

  private static void rotate(int n, double[] q, int row, double sine, double cosine) {
    int next = row + n;
    for (int j = 0; j < n; j++) {
      double x = q[row + j];
      double y = q[next + j];
      q[next + j] = sine * x + cosine * y;
      q[row + j] = cosine * x - sine * y;
    }
  }

  private void sort(int n, double[] q) {
    for (int i = 0; i < n - 1; i++) {
      int greatest = i;
      for (int j = i + 1; j < n; j++) {
        if (diagonal[j] > diagonal[greatest]) {
          greatest = j;
        }
      }
      if (greatest != i) {
        double value = diagonal[i];
        diagonal[i] = diagonal[greatest];
        diagonal[greatest] = value;
        for (int j = 0; j < n; j++) {
          double x = q[i * n + j];
          q[i * n + j] = q[greatest * n + j];
          q[greatest * n + j] = x;
        }
      }
    }
  }
}
