package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.runtime.Parallel;

/**
 * Thresholds by cumulative score, the "variant" of the released Wanda program: every row loses its
 * smallest scores as long as their running sum stays within a share of the row's sum, and one share
 * for all rows is found by bisection. Sums are taken in F64 and rounded to F32, as that program's
 * are.
 */
final class CumulativeSelection {
  /** A row that loses nothing: below every score. */
  private static final float NONE = -1;

  private CumulativeSelection() {}

  /**
   * The threshold of every row, -1 where the row loses nothing: scores up to it are pruned.
   *
   * @param rows rows of the matrix
   * @param n columns
   * @param ratio share of the matrix to prune, above 0
   * @param grain rows per chunk
   */
  static float[] thresholds(
      MatrixSelection.RowScores scores, long rows, int n, double ratio, long grain, int threads) {
    float[][] sorted = new float[Math.toIntExact(rows)][];
    Parallel.forRanges(
        rows,
        grain,
        threads,
        (from, to, worker) -> {
          for (long row = from; row < to; row++) {
            float[] values = new float[n];
            MemorySegment.copy(scores.of(row, worker), JAVA_FLOAT, 0, values, 0, n);
            Arrays.sort(values);
            sorted[(int) row] = values;
          }
        });
    float[] thresholds = new float[sorted.length];
    double share = 0.4;
    double low = 0;
    double high = 0.8;
    double reached = thresholds(sorted, share, thresholds);
    while (Math.abs(reached - ratio) > 0.001 && high - low >= 0.001) {
      if (reached > ratio) {
        high = share;
        share = (share + low) / 2;
      } else {
        low = share;
        share = (share + high) / 2;
      }
      reached = thresholds(sorted, share, thresholds);
    }
    return thresholds;
  }

  /** Fills the thresholds for a share of the sums; returns the sparsity that they give. */
  private static double thresholds(float[][] sorted, double share, float[] thresholds) {
    long pruned = 0;
    for (int row = 0; row < sorted.length; row++) {
      float[] values = sorted[row];
      double sum = 0;
      for (float value : values) {
        sum += value;
      }
      float bound = (float) share * (float) sum;
      double running = 0;
      int count = 0;
      while (count < values.length && (float) (running += values[count]) <= bound) {
        count++;
      }
      thresholds[row] = count == 0 ? NONE : values[count - 1];
      while (count > 0 && count < values.length && values[count] == thresholds[row]) {
        count++;
      }
      pruned += count;
    }
    return (double) pruned / ((double) sorted.length * sorted[0].length);
  }
}
