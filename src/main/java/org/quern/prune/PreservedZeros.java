package org.quern.prune;

/** Checks that the zeros of a matrix fit in what a pattern prunes, so that all can be kept. */
final class PreservedZeros {
  private final Operands o;
  private final Pattern pattern;

  private PreservedZeros(Operands o, Pattern pattern) {
    this.o = o;
    this.pattern = pattern;
  }

  /**
   * Throws where a group has more zeros than the pattern prunes of it.
   *
   * @throws IllegalArgumentException naming the row and the column of the first zero too many
   */
  static void require(Operands o, Pattern pattern) {
    PreservedZeros zeros = new PreservedZeros(o, pattern);
    switch (pattern) {
      case Pattern.NM nm -> zeros.requireInRuns(nm.prune(), nm.of());
      case Pattern.Cumulative cumulative -> zeros.requireInMatrix(cumulative.ratio());
      case Pattern.Unstructured unstructured -> {
        if (unstructured.group() == Group.MATRIX) {
          zeros.requireInMatrix(unstructured.ratio());
        } else {
          zeros.requireInRuns((int) (o.n * unstructured.ratio()), o.n);
        }
      }
    }
  }

  private void requireInRuns(long most, int of) {
    for (long row = 0; row < o.rows; row++) {
      long zeros = 0;
      for (int j = 0; j < o.n; j++) {
        if (j % of == 0) {
          zeros = 0;
        }
        zeros += isZero(row, j) ? 1 : 0;
        if (zeros > most) {
          throw tooMany(of == o.n ? "a row" : "a run of " + of, most, row, j);
        }
      }
    }
  }

  private void requireInMatrix(double ratio) {
    long most = (long) ((double) (o.rows * o.n) * ratio);
    long zeros = 0;
    for (long row = 0; row < o.rows; row++) {
      for (int j = 0; j < o.n; j++) {
        zeros += isZero(row, j) ? 1 : 0;
        if (zeros > most) {
          throw tooMany("the matrix", most, row, j);
        }
      }
    }
  }

  private boolean isZero(long row, int j) {
    return ScalarPruneKernels.load(o.w, row * o.wStride, o.wType, j) == 0;
  }

  private IllegalArgumentException tooMany(String group, long most, long row, int column) {
    return new IllegalArgumentException(
        o.name
            + ": expected at most "
            + most
            + " zeros in "
            + group
            + " to preserve by the pattern "
            + pattern
            + ", got one more at row "
            + (o.firstRow + row)
            + ", column "
            + column
            + "; prune more, or do not preserve the mask");
  }
}
