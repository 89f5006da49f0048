package org.quern.prune;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/**
 * The arguments of a score over a matrix: flat memory, types and strides, checked by the caller.
 * One object per {@link PruneWorkspace}, filled anew for every call, so that a call allocates
 * nothing.
 */
final class Operands {
  /** The score. */
  Method method = Method.MAGNITUDE;

  /** True to round |W| |G| to F16 before it is added. */
  boolean halfProducts;

  /** Weights, rows x n. */
  MemorySegment w = MemorySegment.NULL;

  /** F32, F16 or BF16. */
  DType wType = DType.F32;

  /** Bytes from row to row of w. */
  long wStride;

  /** Gradient statistic of the shape of w; {@link MemorySegment#NULL} where the method has none. */
  MemorySegment g = MemorySegment.NULL;

  /** F32, F16 or BF16. */
  DType gType = DType.F32;

  /** Bytes from row to row of g. */
  long gStride;

  /** F32 column norms, n of them; {@link MemorySegment#NULL} where the method has none. */
  MemorySegment c = MemorySegment.NULL;

  /** Rows. */
  long rows;

  /**
   * Number of the first row in the matrix that errors refer to: 0, unless these are rows of a
   * larger one.
   */
  long firstRow;

  /** Columns. */
  int n;

  /** True to zero the pruned weights in w, false to leave w alone. */
  boolean inPlace;
}
