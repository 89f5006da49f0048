package org.quern.kronecker;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;

/** The formula as it reads. */
final class ScalarCaptureKernels implements CaptureKernels {
  static final ScalarCaptureKernels INSTANCE = new ScalarCaptureKernels();

  /** Columns that are converted to floats at a time. */
  private static final int STRIP = 256;

  private ScalarCaptureKernels() {}

  @Override
  public long scratchBytes() {
    return (long) STRIP * Float.BYTES;
  }

  @Override
  public void addRows(
      MemorySegment x,
      long offset,
      long stride,
      DType type,
      long rows,
      int columns,
      float limit,
      double[] sums,
      int at,
      MemorySegment scratch) {
    for (long r = 0; r < rows; r++) {
      for (int from = 0; from < columns; from += STRIP) {
        int count = Math.min(STRIP, columns - from);
        long piece = offset + r * stride + (long) from * type.bytes();
        Conversions.toFloat(Tier.SCALAR, x, piece, type, scratch, 0, count);
        for (int j = 0; j < count; j++) {
          double value = scratch.get(ValueLayout.JAVA_FLOAT, (long) j * Float.BYTES);
          // Comparisons, unlike min and max, let a NaN through.
          sums[at + from + j] += value > limit ? limit : value < -limit ? -limit : value;
        }
      }
    }
  }
}
