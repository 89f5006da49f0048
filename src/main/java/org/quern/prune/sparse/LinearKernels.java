package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Products of a matrix W [m, n] with vectors: y[i] = sum over j of W[i, j] x[j], with W dense or
 * stored without its zeros. A zero takes part like any other element: 0 times infinity is NaN in
 * either storage.
 *
 * <p>Work: 2 m n flops per vector. Traffic per element of W: 4 bytes of dense F32, 2 of dense 16
 * bits; with half of the elements zero 2.125 and 1.125, the bit of the mask included. Bound by
 * memory for one vector: sparse is at best 1.88 and 1.78 times as fast as dense.
 *
 * <p>The order of a sum depends on n, the type and the tier alone. Within the vector tier the order
 * is the same for dense and sparse W, so that both give the same bits. Methods work on rows {@code
 * [from, to)} and are free of state; a call may allocate the lanes of its rows' sums, no more.
 *
 * <p>Source of the walk over words of a mask with expanding loads: SparAMX (arXiv 2502.12444).
 */
interface LinearKernels {
  /** Columns of a step: the bits of a word of the mask. */
  int STEP = Long.SIZE;

  /** Most vectors of a call of {@link #multiplyPanel}. */
  int MOST_VECTORS = 8;

  /** Columns rounded up to whole steps. */
  static int padded(int n) {
    return Math.ceilDiv(n, STEP) * STEP;
  }

  /**
   * Brings one vector into the order in which a product of one vector reads it for weights of
   * {@code type}, with zeros up to whole steps.
   *
   * @param x n floats at {@code xOffset}
   * @param out {@link #padded} floats
   */
  void prepare(DType type, MemorySegment x, long xOffset, int n, MemorySegment out);

  /**
   * The product of a sparse matrix with one vector.
   *
   * @param x what {@link #prepare} wrote
   * @param y floats; row i goes to the i-th
   */
  void multiply(SparseMatrix w, MemorySegment x, int from, int to, MemorySegment y);

  /** The product of a contiguous dense matrix of F32, F16 or BF16 with one vector. */
  void multiply(Tensor w, MemorySegment x, int from, int to, MemorySegment y);

  /**
   * Writes rows of a sparse matrix as F32, each followed by zeros up to {@code stride}.
   *
   * @param stride floats from row to row, a whole number of steps
   */
  void expand(SparseMatrix w, int from, int to, MemorySegment panel, int stride);

  /**
   * The products of dense rows of F32 with up to {@link #MOST_VECTORS} vectors.
   *
   * @param panel {@code rows} rows
   * @param stride floats of a row, a whole number of steps, the last of them zero
   * @param x vectors of {@code stride} floats each
   * @param y floats; row i of vector b goes to {@code yOffset / 4 + b yStride + i}
   * @param yOffset in bytes
   */
  void multiplyPanel(
      MemorySegment panel,
      int rows,
      int stride,
      MemorySegment x,
      int batch,
      MemorySegment y,
      long yOffset,
      long yStride);
}
