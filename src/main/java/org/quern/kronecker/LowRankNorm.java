package org.quern.kronecker;

/**
 * The norm of {@code P = G - U C X - B Y}, the product of {@link LowRankProduct}, without the
 * column of the bias, from small matrices in double precision:
 *
 * <pre>{@code
 * ||P||^2 = ||G||^2 - 2 <A, C X> - 2 <G Y', B>
 *         + <C U'U C, X X'> + 2 <C U'B, X Y'> + <B'B, Y Y'>
 * }</pre>
 *
 * where {@code U'B = S}, {@code G Y' = B E}, {@code A = X + S Y}, and the column of the bias, which
 * B has seen and the rest is to leave out, is taken from each product as a matrix of rank 1. A, S,
 * X and Y come with their signs turned.
 */
final class LowRankNorm {
  /** C. */
  final double[] leftWeights;

  /** E. */
  final double[] rightWeights;

  /** U'U. */
  final double[] uu;

  /** X X', without the column of the bias. */
  final double[] xx;

  /** Y Y', without the column of the bias. */
  final double[] yy;

  /** B'B. */
  final double[] bb;

  /** Minus S = A V, with the column of the bias. */
  final double[] s;

  /** The column of the bias of minus A. */
  final double[] aBias;

  /** The row of the bias of V; zero without a bias. */
  final double[] vBias;

  /** B'db; zero without a bias. */
  final double[] bBias;

  private final double[] xy;
  private int kl;
  private int kr;
  private double magnitude;

  /** Memory for up to so many columns of U and V. */
  LowRankNorm(int left, int right) {
    leftWeights = new double[left];
    rightWeights = new double[right];
    uu = new double[left * left];
    xx = new double[left * left];
    yy = new double[right * right];
    bb = new double[right * right];
    s = new double[left * right];
    aBias = new double[left];
    vBias = new double[right];
    bBias = new double[right];
    xy = new double[left * right];
  }

  /** Sets the columns of U and V; matrices are then row by row without gaps. */
  void resize(int left, int right) {
    kl = left;
    kr = right;
  }

  /**
   * {@code ||P||^2}, at least 0.
   *
   * @param gSquare ||G||^2
   */
  double square(double gSquare) {
    // With the signs of A, S, X and Y turned, X Y' stays, and so do products with one of them and
    // C U'B = -C S of its turned sign.
    double left = 0;
    double leftSquare = 0;
    double both = 0;
    for (int j = 0; j < kl; j++) {
      for (int m = 0; m < kr; m++) {
        double ay = (aBias[j] * vBias[m] - s[j * kr + m]) * rightWeights[m];
        xy[j * kr + m] = ay;
      }
      for (int n = 0; n < kr; n++) {
        double factor = s[j * kr + n];
        for (int m = 0; m < kr; m++) {
          xy[j * kr + m] += factor * yy[n * kr + m];
        }
      }
      double sx = 0;
      for (int m = 0; m < kr; m++) {
        sx += s[j * kr + m] * xy[j * kr + m];
      }
      left -= leftWeights[j] * (xx[j * kl + j] - sx);
      both -= leftWeights[j] * sx;
      double row = 0;
      for (int n = 0; n < kl; n++) {
        row += leftWeights[n] * uu[j * kl + n] * xx[j * kl + n];
      }
      leftSquare += leftWeights[j] * row;
    }
    double right = 0;
    double rightSquare = 0;
    for (int m = 0; m < kr; m++) {
      right -= rightWeights[m] * (bb[m * kr + m] - vBias[m] * bBias[m]);
      for (int n = 0; n < kr; n++) {
        rightSquare += bb[m * kr + n] * yy[m * kr + n];
      }
    }
    magnitude =
        gSquare
            + 2 * Math.abs(left)
            + 2 * Math.abs(right)
            + leftSquare
            + 2 * Math.abs(both)
            + rightSquare;
    return Math.max(0, gSquare + 2 * (left + right + both) + leftSquare + rightSquare);
  }

  /** The sum of the moduli of what the last {@link #square} was made of. */
  double magnitude() {
    return magnitude;
  }
}
