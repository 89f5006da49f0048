package org.quern.linalg;

/**
 * A Cholesky factorization met a pivot that is not positive: the matrix is not positive definite in
 * its precision.
 */
public final class NotPositiveDefiniteException extends ArithmeticException {
  private static final long serialVersionUID = 1L;

  /** Row and column of the pivot. */
  private final int index;

  /** Value of the pivot. */
  private final double pivot;

  NotPositiveDefiniteException(int index, double pivot) {
    super("expected a positive definite matrix, got pivot " + pivot + " at index " + index);
    this.index = index;
    this.pivot = pivot;
  }

  /** Row and column of the pivot that failed. */
  public int index() {
    return index;
  }

  /** Value of the pivot that failed: zero, negative, infinite or NaN. */
  public double pivot() {
    return pivot;
  }
}
