package org.quern.linalg;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;

/**
 * Cholesky factorization of symmetric positive definite matrices in single precision, recursively,
 * so that nearly all work is in products of {@link Gemm}; blocks on the diagonal are factored in
 * double precision. The backward error is of the order of n times the rounding unit (Higham,
 * "Accuracy and Stability of Numerical Algorithms", theorem 10.3).
 */
public final class Cholesky {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

  /** Order at which recursion ends. */
  private static final int BASE = 32;

  private Cholesky() {}

  /**
   * Replaces the lower triangle of A by L with {@code A = L L^T}; n^3 / 3 flops. Elements above the
   * diagonal are neither read nor written.
   *
   * @param gemm computes the products
   * @param n rows and columns of A
   * @param a A, floats in native memory
   * @param lda floats between the rows of A, at least n
   * @throws NotPositiveDefiniteException where a pivot is not positive and finite; the lower
   *     triangle is then undefined
   * @throws IllegalArgumentException where n, the stride or memory does not fit
   */
  public static void factor(Gemm gemm, int n, MemorySegment a, long lda) {
    Matrices.checkExtent("n", n);
    Matrices.check("a", a, n, n, lda);
    try {
      factor(gemm, n, a, 0, lda, 0);
    } finally {
      Reference.reachabilityFence(a);
    }
  }

  /**
   * Replaces A by the upper triangular U with {@code A^-1 = U^T U}, zero below the diagonal; 2 n^3
   * / 3 flops. The inverse is never formed: with P the reversal of order and {@code P A P = L L^T},
   * U is {@code P L^-1 P}. Only the upper triangle of A is read.
   *
   * @param gemm computes the products
   * @param n rows and columns of A
   * @param a A, floats in native memory
   * @param lda floats between the rows of A, at least n
   * @throws NotPositiveDefiniteException where a pivot is not positive and finite, with its index
   *     in A; A is then undefined
   * @throws IllegalArgumentException where n, the stride or memory does not fit
   */
  public static void inverseFactor(Gemm gemm, int n, MemorySegment a, long lda) {
    Matrices.checkExtent("n", n);
    Matrices.check("a", a, n, n, lda);
    try {
      // Reversing rows and columns carries the upper triangle onto the lower.
      reverse(n, a, lda);
      factor(gemm, n, a, 0, lda, 0);
      Triangular.invert(gemm, n, a, 0, lda);
      reverse(n, a, lda);
    } catch (NotPositiveDefiniteException e) {
      throw new NotPositiveDefiniteException(n - 1 - e.index(), e.pivot());
    } finally {
      Reference.reachabilityFence(a);
    }
    for (int i = 1; i < n; i++) {
      a.asSlice(Float.BYTES * (i * lda), (long) Float.BYTES * i).fill((byte) 0);
    }
  }

  private static void factor(Gemm gemm, int n, MemorySegment a, long offset, long lda, int index) {
    if (n <= BASE) {
      factorBase(n, a, offset, lda, index);
      return;
    }
    int half = Triangular.half(n);
    int rest = n - half;
    long below = offset + Float.BYTES * (half * lda);
    long last = below + (long) Float.BYTES * half;
    factor(gemm, half, a, offset, lda, index);
    Triangular.solve(gemm, Triangular.Side.RIGHT, true, half, rest, a, offset, lda, a, below, lda);
    gemm.run(false, true, rest, rest, half, -1, a, below, lda, a, below, lda, 1, a, last, lda, 0);
    factor(gemm, rest, a, last, lda, index + half);
  }

  /** Row by row, sums in double. */
  private static void factorBase(int n, MemorySegment memory, long offset, long lda, int index) {
    MemorySegment a = Matrices.view(memory, offset, n, n, lda);
    double[] lower = new double[n * n];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        double sum = a.getAtIndex(FLOAT, i * lda + j);
        for (int p = 0; p < j; p++) {
          sum -= lower[i * n + p] * lower[j * n + p];
        }
        if (j < i) {
          lower[i * n + j] = sum / lower[j * n + j];
        } else if (sum > 0 && sum < Double.POSITIVE_INFINITY) {
          lower[i * n + i] = Math.sqrt(sum);
        } else {
          throw new NotPositiveDefiniteException(index + i, sum);
        }
      }
    }
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        a.setAtIndex(FLOAT, i * lda + j, (float) lower[i * n + j]);
      }
    }
  }

  /** Exchanges element (i, j) with (n - 1 - i, n - 1 - j). */
  private static void reverse(int n, MemorySegment a, long lda) {
    MemorySegment view = Matrices.view(a, 0, n, n, lda);
    for (int i = 0; i <= n - 1 - i; i++) {
      int other = n - 1 - i;
      int end = i == other ? n / 2 : n;
      for (int j = 0; j < end; j++) {
        long here = i * lda + j;
        long there = other * lda + n - 1 - j;
        float kept = view.getAtIndex(FLOAT, here);
        view.setAtIndex(FLOAT, here, view.getAtIndex(FLOAT, there));
        view.setAtIndex(FLOAT, there, kept);
      }
    }
  }
}
