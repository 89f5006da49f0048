package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;
import org.quern.runtime.Parallel;

/**
 * The score of a given rank among those of a block, without sorting: scores are never negative, so
 * their bits order like integers, and three passes count 11, 10 and 10 of them, the later ones only
 * those scores that agree with what is known. Reads the scores three times.
 */
final class BlockThreshold {
  private static final int[] SHIFTS = {20, 10, 0};
  private static final int[] BITS = {11, 10, 10};

  /** Scores per chunk. */
  private static final long GRAIN = 1 << 16;

  /** Counters side by side, so that equal scores in a row do not wait for one another. */
  private static final int LANES = 4;

  private BlockThreshold() {}

  /**
   * The score of ascending rank {@code rank}, counted from 0.
   *
   * @param scores {@code n} floats, none negative or NaN
   */
  static float find(MemorySegment scores, long n, long rank, int threads) {
    int prefix = 0;
    long left = rank;
    for (int pass = 0; pass < SHIFTS.length; pass++) {
      int shift = SHIFTS[pass];
      int bins = 1 << BITS[pass];
      int known = prefix;
      int knownShift = shift + BITS[pass];
      int[] counts =
          Parallel.reduce(
              n,
              GRAIN,
              threads,
              (from, to) -> count(scores, from, to, shift, bins, known, knownShift),
              BlockThreshold::add);
      int bin = 0;
      while (left >= counts[bin]) {
        left -= counts[bin++];
      }
      prefix = prefix | bin << shift;
    }
    return Float.intBitsToFloat(prefix);
  }

  private static int[] count(
      MemorySegment scores, long from, long to, int shift, int bins, int known, int knownShift) {
    MemorySegment view =
        NativeViews.exact(scores.asSlice(Integer.BYTES * from, Integer.BYTES * (to - from)));
    int[] counts = new int[bins * LANES];
    int n = (int) (to - from);
    for (int i = 0; i < n; i++) {
      int bits = view.getAtIndex(JAVA_INT, i);
      if ((bits ^ known) >>> knownShift == 0) {
        counts[(bits >>> shift & bins - 1) * LANES + i % LANES]++;
      }
    }
    int[] sums = new int[bins];
    for (int i = 0; i < counts.length; i++) {
      sums[i / LANES] += counts[i];
    }
    return sums;
  }

  private static int[] add(int[] a, int[] b) {
    for (int i = 0; i < a.length; i++) {
      a[i] += b[i];
    }
    return a;
  }
}
