package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;

/** The formulas as they read. */
final class ScalarRefitKernels implements RefitKernels {
  static final ScalarRefitKernels INSTANCE = new ScalarRefitKernels();

  private ScalarRefitKernels() {}

  private static MemorySegment floats(MemorySegment memory, long offset, int n) {
    return NativeViews.exact(memory.asSlice(offset, (long) Float.BYTES * n));
  }

  @Override
  public double dot(MemorySegment x, long xOffset, MemorySegment y, long yOffset, int n) {
    MemorySegment left = floats(x, xOffset, n);
    MemorySegment right = floats(y, yOffset, n);
    double sum = 0;
    for (int j = 0; j < n; j++) {
      sum += (double) left.getAtIndex(JAVA_FLOAT, j) * right.getAtIndex(JAVA_FLOAT, j);
    }
    return sum;
  }

  @Override
  public void add(float a, MemorySegment x, long xOffset, MemorySegment y, long yOffset, int n) {
    MemorySegment from = floats(x, xOffset, n);
    MemorySegment to = floats(y, yOffset, n);
    for (int j = 0; j < n; j++) {
      float value = to.getAtIndex(JAVA_FLOAT, j) + a * from.getAtIndex(JAVA_FLOAT, j);
      to.setAtIndex(JAVA_FLOAT, j, value);
    }
  }

  @Override
  public void multiply(
      MemorySegment x,
      long xOffset,
      MemorySegment y,
      long yOffset,
      MemorySegment z,
      long zOffset,
      int n) {
    MemorySegment left = floats(x, xOffset, n);
    MemorySegment right = floats(y, yOffset, n);
    MemorySegment out = floats(z, zOffset, n);
    for (int j = 0; j < n; j++) {
      float value = left.getAtIndex(JAVA_FLOAT, j) * right.getAtIndex(JAVA_FLOAT, j);
      out.setAtIndex(JAVA_FLOAT, j, value);
    }
  }
}
