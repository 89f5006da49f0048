package org.quern.prune;

import java.util.Arrays;

/**
 * GBLM pruning as one would write it at first, on arrays: score a group, sort it, take the first.
 */
final class PlainPruning {
  private PlainPruning() {}

  /**
   * Marks the pruned columns of one row.
   *
   * @param pattern unstructured by row, or N of every M
   * @param pruned receives true for pruned columns, false for others
   */
  static void prune(
      float[] weights, float[] gradients, float[] norms, Pattern pattern, boolean[] pruned) {
    int n = weights.length;
    switch (pattern) {
      case Pattern.Unstructured unstructured ->
          prune(weights, gradients, norms, 0, n, (int) (n * unstructured.ratio()), pruned);
      case Pattern.NM nm -> {
        for (int from = 0; from < n; from += nm.of()) {
          prune(weights, gradients, norms, from, from + nm.of(), nm.prune(), pruned);
        }
      }
      case Pattern.Cumulative cumulative ->
          throw new IllegalArgumentException(
              "pattern: expected one of fixed counts, got " + cumulative);
    }
  }

  /** The count smallest of the columns [from, to); a key is the score's bits above the column. */
  private static void prune(
      float[] weights,
      float[] gradients,
      float[] norms,
      int from,
      int to,
      int count,
      boolean[] pruned) {
    long[] keys = new long[to - from];
    for (int j = from; j < to; j++) {
      float weight = Math.abs(weights[j]);
      float score = weight * norms[j] + weight * Math.abs(gradients[j]);
      keys[j - from] = (long) Float.floatToRawIntBits(score) << Integer.SIZE | j;
      pruned[j] = false;
    }
    Arrays.sort(keys);
    for (int i = 0; i < count; i++) {
      pruned[(int) keys[i]] = true;
    }
  }
}
