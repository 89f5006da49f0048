package org.quern.prune;

import java.util.Arrays;
import org.quern.tensor.Tensor;

/** How a mask differs from a recorded one. */
final class RecordedMask {
  private RecordedMask() {}

  /**
   * Bits that differ, without those of groups in which both masks prune scores that are the same up
   * to a relative tolerance: which of equals a program prunes is its own choice.
   *
   * @param scores F32 [m, n]
   * @param of columns of a group
   */
  static double bitsOutsideTies(
      Tensor got, Tensor expected, Tensor scores, int of, double tolerance) {
    double count = 0;
    for (long row = 0; row < scores.dim(0); row++) {
      for (long from = 0; from < scores.dim(1); from += of) {
        float[] gotScores = prunedScores(got, scores, row, from, of);
        float[] expectedScores = prunedScores(expected, scores, row, from, of);
        double worst = Deviation.relative(gotScores, expectedScores, Float.MIN_NORMAL);
        if (!(worst <= tolerance)) {
          for (long j = from; j < from + of; j++) {
            count += bit(got, row, j) == bit(expected, row, j) ? 0 : 1;
          }
        }
      }
    }
    return count;
  }

  private static float[] prunedScores(Tensor mask, Tensor scores, long row, long from, int of) {
    float[] pruned = new float[of];
    int count = 0;
    for (long j = from; j < from + of; j++) {
      if (bit(mask, row, j)) {
        pruned[count++] = (float) scores.getDouble(row, j);
      }
    }
    float[] sorted = Arrays.copyOf(pruned, count);
    Arrays.sort(sorted);
    return sorted;
  }

  private static boolean bit(Tensor mask, long row, long column) {
    return (mask.getLong(row, column / Byte.SIZE) >> column % Byte.SIZE & 1) != 0;
  }
}
