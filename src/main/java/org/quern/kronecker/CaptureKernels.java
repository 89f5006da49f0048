package org.quern.kronecker;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/**
 * Column sums of rows, the primitive behind the mean input and the mean output gradient of a layer.
 *
 * <p>Flat: memory, byte offsets and strides, sizes. One addition for an element; traffic is every
 * byte of the rows once, so that reading is the floor.
 */
interface CaptureKernels {
  /** Bytes of 64-byte aligned scratch memory that one call needs. */
  long scratchBytes();

  /**
   * {@code sums[j] += sum over r of clamp(x[r,j], -limit, limit)}, in binary64, the rows of a
   * column one after the other, so that the result does not depend on how rows are cut into calls.
   * A NaN stays one.
   *
   * @param x rows of F32, F16 or BF16
   * @param offset of the first row, in bytes
   * @param stride bytes from row to row
   * @param rows number of rows
   * @param columns number of columns
   * @param limit greatest absolute value that counts as it is, &gt; 0; infinity for no limit
   * @param sums one for each column
   * @param at index of the first sum
   */
  void addRows(
      MemorySegment x,
      long offset,
      long stride,
      DType type,
      long rows,
      int columns,
      float limit,
      double[] sums,
      int at,
      MemorySegment scratch);

  /**
   * Greatest absolute value of rows; NaN where one is NaN.
   *
   * @param x rows of F32, F16 or BF16
   * @param offset of the first row, in bytes
   * @param stride bytes from row to row
   */
  float magnitude(MemorySegment x, long offset, long stride, DType type, long rows, int columns);
}
