package org.quern.prune;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;

/**
 * The sums over calibration data (K1, K2): squares of activations, and magnitudes and squares of
 * gradients. Elements are F32, F16 or BF16 and widened exactly. All tiers give the same bits, and
 * no result depends on how a range is cut, because every sum is one chain in the order of the data.
 *
 * <p>Source: Sun et al., arXiv 2306.11695; Das et al., arXiv 2311.04902.
 */
interface StatisticKernels {
  /** Every sum is finite. */
  long ALL_FINITE = -1;

  /**
   * {@code sums[j] += x[t,j]^2} in binary64 for {@code rows} rows t in order; a square of a
   * binary32 is exact there. 2 flops per element, bound by the 4 (or 2) bytes read of each. A value
   * that is not finite leaves a sum that is not.
   *
   * @param x holds the elements
   * @param offset where element 0 of row 0 is, in bytes
   * @param rowBytes from one row to the next
   * @param columns elements of a row
   * @param sums one for each column, from {@code at} on
   */
  void addSquares(
      MemorySegment x,
      long offset,
      long rowBytes,
      DType type,
      long rows,
      int columns,
      double[] sums,
      int at);

  /**
   * {@code l1[i,j] += |scale g[i,j]|} and {@code l2[i,j] += (scale g[i,j])^2}, every operation
   * rounded to binary32 by itself. 3 to 5 flops per element; 4 (or 2) bytes read of g, and 4 read
   * and 4 written of each sum.
   *
   * @param g holds the elements
   * @param gOffset where element 0 of row 0 is, in bytes
   * @param gRowBytes from one row to the next
   * @param rows number of rows i
   * @param n elements of a row
   * @param l1 F32; null where this sum is not wanted
   * @param l2 F32; null where this sum is not wanted
   * @param sumOffset where the sums of element 0 of row 0 are, in bytes
   * @param sumRowBytes from the sums of one row to those of the next
   * @return {@link #ALL_FINITE}, or {@code i * n + j} of the first element with a sum that is not
   *     finite; the sums of the others are unspecified then
   */
  long addMagnitudes(
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
      long sumRowBytes);
}
