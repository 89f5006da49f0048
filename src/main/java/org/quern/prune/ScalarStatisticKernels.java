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
  public long addMagnitudes(
      MemorySegment g,
      long gOffset,
      long gRowBytes,
      DType type,
      float scale,
      int rows,
      int n,
      @Nullable MemorySegment l1,
      @Nullable MemorySegment l2,
      long sumOffset,
      long sumRowBytes) {
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < n; j++) {
        long at = sumOffset + i * sumRowBytes + (long) j * Float.BYTES;
        float value = ScalarPruneKernels.load(g, gOffset + i * gRowBytes, type, j);
        float scaled = Math.abs(scale * value);
        boolean finite = l1 == null || add(l1, at, scaled);
        finite &= l2 == null || add(l2, at, scaled * scaled);
        if (!finite) {
          return (long) i * n + j;
        }
      }
    }
    return ALL_FINITE;
  }

  /** Returns whether the sum is finite. */
  private static boolean add(MemorySegment sums, long at, float value) {
    float sum = sums.get(JAVA_FLOAT, at) + value;
    sums.set(JAVA_FLOAT, at, sum);
    return Float.isFinite(sum);
  }
}
