package org.quern.prune;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Runs of neighbouring tokens that count, out of a mask over the rows of calibration data. */
final class TokenRuns {
  /** Work on one run. */
  @FunctionalInterface
  interface Body {
    /** Works on the rows {@code [from, to)}. */
    void run(long from, long to);
  }

  private TokenRuns() {}

  /**
   * Checks a mask.
   *
   * @param tokens null, or U8 of the shape of {@code data} without its last dimension
   */
  static void check(@Nullable Tensor tokens, Tensor data) {
    long[] expected = Arrays.copyOf(data.shape(), data.rank() - 1);
    if (tokens != null && (tokens.type() != DType.U8 || !Arrays.equals(tokens.shape(), expected))) {
      throw new IllegalArgumentException(
          "tokens: expected U8" + Arrays.toString(expected) + ", got " + tokens);
    }
  }

  /**
   * Calls {@code body} for every run within the rows {@code [from, to)}, in order.
   *
   * @param tokens 0 where a row does not count; null where all count
   */
  static void forEach(@Nullable Tensor tokens, long from, long to, Body body) {
    long start = from;
    for (long row = from; row < to; row++) {
      if (tokens != null && !counts(tokens, row)) {
        if (start < row) {
          body.run(start, row);
        }
        start = row + 1;
      }
    }
    if (start < to) {
      body.run(start, to);
    }
  }

  private static boolean counts(Tensor tokens, long row) {
    return tokens.row(row / tokens.rowLength()).getLong(row % tokens.rowLength()) != 0;
  }
}
