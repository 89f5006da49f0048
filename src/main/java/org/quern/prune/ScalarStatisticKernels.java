package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;

/** The sums as written: the oracle that every other tier is tested against. */
final class ScalarStatisticKernels implements StatisticKernels {
  static final ScalarStatisticKernels INSTANCE = new ScalarStatisticKernels();

  private ScalarStatisticKernels() {}

  @Override
  public void addSquares(
      MemorySegment x,
      long offset,
      long rowBytes,
      DType type,
      long rows,
      int columns,
      double[] sums,
      int at) {
    for (long row = 0; row < rows; row++) {
      for (int j = 0; j < columns; j++) {
        double value = ScalarPruneKernels.load(x, offset + row * rowBytes, type, j);
        sums[at + j] += value * value;
      }
    }
  }

  @Override
  public int addMagnitudes(
      MemorySegment g,
      long gOffset,
      DType type,
      float scale,
      int n,
      @Nullable MemorySegment l1,
      @Nullable MemorySegment l2,
      long sumOffset) {
    int bad = ALL_FINITE;
    for (int i = 0; i < n; i++) {
      float value = ScalarPruneKernels.load(g, gOffset, type, i);
      float scaled = Math.abs(scale * value);
      add(l1, sumOffset, i, scaled);
      add(l2, sumOffset, i, scaled * scaled);
      if (bad == ALL_FINITE && !Float.isFinite(value)) {
        bad = i;
      }
    }
    return bad;
  }

  private static void add(@Nullable MemorySegment sums, long offset, int i, float value) {
    if (sums != null) {
      long at = offset + (long) i * Float.BYTES;
      sums.set(JAVA_FLOAT, at, sums.get(JAVA_FLOAT, at) + value);
    }
  }
}
