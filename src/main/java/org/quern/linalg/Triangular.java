package org.quern.linalg;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;

/**
 * Solves and inverts with lower triangular matrices in place, recursively, so that nearly all work
 * is in products of {@link Gemm}. Elements above the diagonal of a triangular matrix are neither
 * read nor written.
 */
public final class Triangular {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

  /** Order at which recursion ends. */
  private static final int BASE = 32;

  /** Right-hand sides that the base case takes at a time. */
  private static final int STRIP = 64;

  private Triangular() {}

  /** On which side of the unknown the triangular matrix stands. */
  public enum Side {
    /** {@code op(L) X = B}. */
    LEFT,
    /** {@code X op(L) = B}. */
    RIGHT
  }

  /**
   * Solves {@code op(L) X = B} or {@code X op(L) = B} for X, in place of B; n^2 flops per
   * right-hand side.
   *
   * <p>A zero on the diagonal of L gives infinities and NaN, as the formula does.
   *
   * @param gemm computes the products
   * @param side where L stands
   * @param transpose op(L) is the transpose of L
   * @param n rows and columns of L
   * @param count columns of B on the left side, rows of B on the right side
   * @param l L, floats in native memory
   * @param ldl floats between the rows of L, at least n
   * @param b B, n x count on the left side, count x n on the right side
   * @param ldb floats between the rows of B
   * @throws IllegalArgumentException where an extent, a stride or memory does not fit, or B
   *     overlaps L
   */
  public static void solve(
      Gemm gemm,
      Side side,
      boolean transpose,
      int n,
      int count,
      MemorySegment l,
      long ldl,
      MemorySegment b,
      long ldb) {
    Matrices.checkExtent("n", n);
    Matrices.checkExtent("count", count);
    int rows = side == Side.LEFT ? n : count;
    int columns = side == Side.LEFT ? count : n;
    Matrices.check("l", l, n, n, ldl);
    Matrices.check("b", b, rows, columns, ldb);
    Matrices.checkApart("b", b, rows, columns, ldb, "l", l, n, n, ldl);
    try {
      solve(gemm, side, transpose, n, count, l, 0, ldl, b, 0, ldb);
    } finally {
      Reference.reachabilityFence(l);
      Reference.reachabilityFence(b);
    }
  }

  /**
   * Replaces a lower triangular matrix by its inverse; n^3 / 3 flops. A zero on the diagonal gives
   * infinities and NaN.
   *
   * @param gemm computes the products
   * @param n rows and columns of L
   * @param l L, floats in native memory
   * @param ldl floats between the rows of L, at least n
   * @throws IllegalArgumentException where n, the stride or memory does not fit
   */
  public static void invert(Gemm gemm, int n, MemorySegment l, long ldl) {
    Matrices.checkExtent("n", n);
    Matrices.check("l", l, n, n, ldl);
    try {
      invert(gemm, n, l, 0, ldl);
    } finally {
      Reference.reachabilityFence(l);
    }
  }

  static void solve(
      Gemm gemm,
      Side side,
      boolean transpose,
      int n,
      int count,
      MemorySegment l,
      long lOffset,
      long ldl,
      MemorySegment b,
      long bOffset,
      long ldb) {
    if (n == 0 || count == 0) {
      return;
    }
    if (n <= BASE) {
      solveBase(side, transpose, n, count, l, lOffset, ldl, b, bOffset, ldb);
      return;
    }
    int half = half(n);
    int rest = n - half;
    long below = lOffset + Float.BYTES * (half * ldl);
    long last = below + (long) Float.BYTES * half;
    long second = bOffset + Float.BYTES * (side == Side.LEFT ? half * ldb : half);
    // L X = B and X L^T = B run down the diagonal, the other two run up.
    boolean down = (side == Side.LEFT) != transpose;
    if (down) {
      solve(gemm, side, transpose, half, count, l, lOffset, ldl, b, bOffset, ldb);
    } else {
      solve(gemm, side, transpose, rest, count, l, last, ldl, b, second, ldb);
    }
    long solved = down ? bOffset : second;
    long open = down ? second : bOffset;
    int from = down ? half : rest;
    int to = down ? rest : half;
    long full = GemmKernels.FULL;
    if (side == Side.LEFT) {
      gemm.run(
          transpose, false, to, count, from, -1, l, below, ldl, b, solved, ldb, 1, b, open, ldb,
          full);
    } else {
      gemm.run(
          false, transpose, count, to, from, -1, b, solved, ldb, l, below, ldl, 1, b, open, ldb,
          full);
    }
    if (down) {
      solve(gemm, side, transpose, rest, count, l, last, ldl, b, second, ldb);
    } else {
      solve(gemm, side, transpose, half, count, l, lOffset, ldl, b, bOffset, ldb);
    }
  }

  static void invert(Gemm gemm, int n, MemorySegment l, long lOffset, long ldl) {
    if (n <= BASE) {
      invertBase(n, l, lOffset, ldl);
      return;
    }
    int half = half(n);
    int rest = n - half;
    long below = lOffset + Float.BYTES * (half * ldl);
    long last = below + (long) Float.BYTES * half;
    // inverse of [L11 0; L21 L22] has -L22^-1 L21 L11^-1 below the diagonal
    solve(gemm, Side.LEFT, false, rest, half, l, last, ldl, l, below, ldl);
    solve(gemm, Side.RIGHT, false, half, rest, l, lOffset, ldl, l, below, ldl);
    MemorySegment block = Matrices.view(l, below, rest, half, ldl);
    for (int i = 0; i < rest; i++) {
      for (long at = i * ldl; at < i * ldl + half; at++) {
        block.setAtIndex(FLOAT, at, -block.getAtIndex(FLOAT, at));
      }
    }
    invert(gemm, half, l, lOffset, ldl);
    invert(gemm, rest, l, last, ldl);
  }

  /** The first half of an order, in whole base cases. */
  static int half(int n) {
    return (n / 2 + BASE - 1) / BASE * BASE;
  }

  /**
   * Substitution on strips of right-hand sides, copied so that equal elements of all of them lie
   * together.
   */
  private static void solveBase(
      Side side,
      boolean transpose,
      int n,
      int count,
      MemorySegment l,
      long lOffset,
      long ldl,
      MemorySegment b,
      long bOffset,
      long ldb) {
    float[] factor = new float[n * n];
    MemorySegment lower = Matrices.view(l, lOffset, n, n, ldl);
    boolean left = side == Side.LEFT;
    boolean down = left != transpose;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        factor[down ? i * n + j : j * n + i] = lower.getAtIndex(FLOAT, i * ldl + j);
      }
    }
    MemorySegment sides = Matrices.view(b, bOffset, left ? n : count, left ? count : n, ldb);
    float[] strip = new float[n * STRIP];
    for (int from = 0; from < count; from += STRIP) {
      int width = Math.min(STRIP, count - from);
      for (int i = 0; i < n; i++) {
        if (left) {
          MemorySegment.copy(sides, FLOAT, Float.BYTES * (i * ldb + from), strip, i * STRIP, width);
        } else {
          for (int s = 0; s < width; s++) {
            strip[i * STRIP + s] = sides.getAtIndex(FLOAT, (from + s) * ldb + i);
          }
        }
      }
      substitute(factor, n, strip, down);
      for (int i = 0; i < n; i++) {
        if (left) {
          MemorySegment.copy(strip, i * STRIP, sides, FLOAT, Float.BYTES * (i * ldb + from), width);
        } else {
          for (int s = 0; s < width; s++) {
            sides.setAtIndex(FLOAT, (from + s) * ldb + i, strip[i * STRIP + s]);
          }
        }
      }
    }
  }

  /**
   * Solves for the rows of {@code strip} in turn: {@code x_i = (b_i - sum of f[i,j] x_j) / f[i,i]}
   * over the rows before.
   */
  private static void substitute(float[] factor, int n, float[] strip, boolean down) {
    for (int step = 0; step < n; step++) {
      int i = down ? step : n - 1 - step;
      int row = i * STRIP;
      for (int before = 0; before < step; before++) {
        int j = down ? before : n - 1 - before;
        subtract(strip, row, factor[i * n + j], j * STRIP);
      }
      float pivot = factor[i * n + i];
      for (int s = 0; s < STRIP; s++) {
        strip[row + s] /= pivot;
      }
    }
  }

  private static void subtract(float[] strip, int row, float scale, int other) {
    for (int s = 0; s < STRIP; s++) {
      strip[row + s] = Math.fma(-scale, strip[other + s], strip[row + s]);
    }
  }

  /**
   * Column by column: {@code x_i = -(sum of L[i,p] x_p) / L[i,i]} below {@code x_j = 1 / L[j,j]},
   * sums in double.
   */
  private static void invertBase(int n, MemorySegment l, long lOffset, long ldl) {
    MemorySegment lower = Matrices.view(l, lOffset, n, n, ldl);
    double[] inverse = new double[n * n];
    for (int j = 0; j < n; j++) {
      inverse[j * n + j] = 1.0 / lower.getAtIndex(FLOAT, j * ldl + j);
      for (int i = j + 1; i < n; i++) {
        double sum = 0;
        for (int p = j; p < i; p++) {
          sum += lower.getAtIndex(FLOAT, i * ldl + p) * inverse[p * n + j];
        }
        inverse[i * n + j] = -sum / lower.getAtIndex(FLOAT, i * ldl + i);
      }
    }
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        lower.setAtIndex(FLOAT, i * ldl + j, (float) inverse[i * n + j]);
      }
    }
  }
}
