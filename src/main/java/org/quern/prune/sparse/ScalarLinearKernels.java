package org.quern.prune.sparse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The formulas as written, summed in double: the oracle that every other tier is tested against.
 */
final class ScalarLinearKernels implements LinearKernels {
  static final ScalarLinearKernels INSTANCE = new ScalarLinearKernels();

  private ScalarLinearKernels() {}

  @Override
  public void prepare(DType type, MemorySegment x, long xOffset, int n, MemorySegment out) {
    long bytes = (long) n * Float.BYTES;
    MemorySegment.copy(x, xOffset, out, 0, bytes);
    out.asSlice(bytes, (long) LinearKernels.padded(n) * Float.BYTES - bytes).fill((byte) 0);
  }

  @Override
  public void multiply(SparseMatrix w, MemorySegment x, int from, int to, MemorySegment y) {
    for (int row = from; row < to; row++) {
      long at = w.valuesBefore(row);
      double sum = 0;
      for (int j = 0; j < w.columns; j++) {
        float weight = isStored(w, row, j) ? load(w.values, at++, w.type) : 0;
        sum += (double) weight * x.getAtIndex(JAVA_FLOAT, j);
      }
      y.setAtIndex(JAVA_FLOAT, row, (float) sum);
    }
  }

  @Override
  public void multiply(Tensor w, MemorySegment x, int from, int to, MemorySegment y) {
    long n = w.dim(1);
    for (int row = from; row < to; row++) {
      double sum = 0;
      for (int j = 0; j < n; j++) {
        sum += (double) load(w.memory(), row * n + j, w.type()) * x.getAtIndex(JAVA_FLOAT, j);
      }
      y.setAtIndex(JAVA_FLOAT, row, (float) sum);
    }
  }

  @Override
  public void expand(SparseMatrix w, int from, int to, MemorySegment panel, int stride) {
    for (int row = from; row < to; row++) {
      long at = w.valuesBefore(row);
      for (int j = 0; j < stride; j++) {
        boolean stored = j < w.columns && isStored(w, row, j);
        float weight = stored ? load(w.values, at++, w.type) : 0;
        panel.setAtIndex(JAVA_FLOAT, (long) (row - from) * stride + j, weight);
      }
    }
  }

  @Override
  public void multiplyPanel(
      MemorySegment panel,
      int rows,
      int stride,
      MemorySegment x,
      int batch,
      MemorySegment y,
      long yOffset,
      long yStride) {
    for (int b = 0; b < batch; b++) {
      for (int row = 0; row < rows; row++) {
        double sum = 0;
        for (int j = 0; j < stride; j++) {
          sum +=
              (double) panel.getAtIndex(JAVA_FLOAT, (long) row * stride + j)
                  * x.getAtIndex(JAVA_FLOAT, (long) b * stride + j);
        }
        y.set(JAVA_FLOAT, yOffset + (b * yStride + row) * Float.BYTES, (float) sum);
      }
    }
  }

  /** Whether an element is stored. */
  static boolean isStored(SparseMatrix w, int row, int column) {
    byte bits = w.mask.get(JAVA_BYTE, row * w.maskStride + column / Byte.SIZE);
    return (bits >> column % Byte.SIZE & 1) != 0;
  }

  /** Element {@code index} as F32. */
  static float load(MemorySegment memory, long index, DType type) {
    return switch (type) {
      case F32 -> Float.intBitsToFloat(memory.get(MaskedRows.INT, 4 * index));
      case F16 -> Float.float16ToFloat(memory.get(MaskedRows.SHORT, 2 * index));
      case BF16 -> Float.intBitsToFloat(memory.get(MaskedRows.SHORT, 2 * index) << 16);
      default -> throw new IllegalArgumentException("type: expected F32, F16 or BF16, got " + type);
    };
  }
}
