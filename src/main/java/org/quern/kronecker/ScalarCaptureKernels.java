package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

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

  @Override
  public float magnitude(
      MemorySegment x, long offset, long stride, DType type, long rows, int columns) {
    int largest = 0;
    for (long r = 0; r < rows; r++) {
      for (int j = 0; j < columns; j++) {
        largest = Math.max(largest, magnitudeBits(x, offset + r * stride, type, j));
      }
    }
    return value(largest, type);
  }

  /** The bits of an element without its sign, whose order is that of the absolute values. */
  static int magnitudeBits(MemorySegment x, long offset, DType type, int j) {
    return type == DType.F32
        ? x.get(JAVA_INT_UNALIGNED, offset + (long) j * Integer.BYTES) & Integer.MAX_VALUE
        : x.get(JAVA_SHORT_UNALIGNED, offset + (long) j * Short.BYTES) & Short.MAX_VALUE;
  }

  /** The element that has these bits. */
  static float value(int bits, DType type) {
    return switch (type) {
      case F16 -> Float.float16ToFloat((short) bits);
      case BF16 -> Float.intBitsToFloat(bits << Short.SIZE);
      default -> Float.intBitsToFloat(bits);
    };
  }
}
