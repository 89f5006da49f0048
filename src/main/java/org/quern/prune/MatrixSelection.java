package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.Parallel;

/**
 * The score of a given rank over a whole matrix, without sorting it: scores are never negative, so
 * their bits order like integers. One pass counts the upper 16 bits of all scores, a second the
 * lower 15 bits of those in the bucket that holds the rank.
 *
 * <p>Traffic: every pass reads the operands once; 2 passes find the threshold, a third applies it.
 */
final class MatrixSelection {
  private static final int LOW_BITS = 15;

  /** Score at the rank. */
  final float threshold;

  /** Scores below it. */
  final long below;

  /** Scores equal to it. */
  final long equal;

  private MatrixSelection(float threshold, long below, long equal) {
    this.threshold = threshold;
    this.below = below;
    this.equal = equal;
  }

  /** Gives the scores of a row. */
  interface RowScores {
    /** Writes the scores of one row to the worker's memory and returns it. */
    MemorySegment of(long row, int worker);
  }

  /**
   * Finds the score of ascending rank {@code rank}, counted from 0.
   *
   * @param rows rows of the matrix
   * @param n columns
   * @param grain rows per chunk
   */
  static MatrixSelection find(
      RowScores scores, long rows, int n, long rank, long grain, int threads) {
    long[] upper = histogram(scores, rows, n, grain, threads, -1);
    long below = 0;
    int bucket = 0;
    while (below + upper[bucket] <= rank) {
      below += upper[bucket++];
    }
    long[] lower = histogram(scores, rows, n, grain, threads, bucket);
    int low = 0;
    while (below + lower[low] <= rank) {
      below += lower[low++];
    }
    return new MatrixSelection(Float.intBitsToFloat(bucket << LOW_BITS | low), below, lower[low]);
  }

  /** How many scores of all rows before each row equal the threshold. */
  long[] equalBefore(RowScores scores, long rows, int n, long grain, int threads) {
    long[] before = new long[Math.toIntExact(rows + 1)];
    Parallel.forRanges(
        rows,
        grain,
        threads,
        (from, to, worker) -> {
          for (long row = from; row < to; row++) {
            MemorySegment values = scores.of(row, worker);
            for (int j = 0; j < n; j++) {
              if (values.get(JAVA_FLOAT, (long) j * Float.BYTES) == threshold) {
                before[(int) row + 1]++;
              }
            }
          }
        });
    for (int row = 0; row < rows; row++) {
      before[row + 1] += before[row];
    }
    return before;
  }

  /** Counts upper bits, or with a {@code bucket} the lower bits of the scores in it. */
  private static long[] histogram(
      RowScores scores, long rows, int n, long grain, int threads, int bucket) {
    int size = bucket < 0 ? 1 << (Integer.SIZE - 1 - LOW_BITS) : 1 << LOW_BITS;
    long[][] byWorker = new long[threads][];
    Parallel.forRanges(
        rows,
        grain,
        threads,
        (from, to, worker) -> {
          if (byWorker[worker] == null) {
            byWorker[worker] = new long[size];
          }
          long[] counts = byWorker[worker];
          for (long row = from; row < to; row++) {
            MemorySegment values = scores.of(row, worker);
            for (int j = 0; j < n; j++) {
              int score = values.get(JAVA_INT, (long) j * Integer.BYTES);
              if (bucket < 0) {
                counts[score >>> LOW_BITS]++;
              } else if (score >>> LOW_BITS == bucket) {
                counts[score & size - 1]++;
              }
            }
          }
        });
    long[] sum = new long[size];
    for (long[] counts : byWorker) {
      for (int i = 0; counts != null && i < size; i++) {
        sum[i] += counts[i];
      }
    }
    return sum;
  }
}
