package org.quern.prune.reconstruct;

import java.lang.foreign.MemorySegment;

/**
 * What conjugate gradients do to the vectors of a row, of n floats each: memory bound, a few flops
 * per element, against 2 n flops per element of the product that they stand beside.
 *
 * <p>Offsets are in bytes. Products and sums are rounded one by one, so that {@link #add} and
 * {@link #multiply} give the same bits on every tier; the order of the sum in {@link #dot} differs.
 */
interface RefitKernels {
  /** {@code sum x_j y_j}, in binary64. */
  double dot(MemorySegment x, long xOffset, MemorySegment y, long yOffset, int n);

  /** {@code y += a x}. */
  void add(float a, MemorySegment x, long xOffset, MemorySegment y, long yOffset, int n);

  /** {@code z = x y}, element by element. */
  void multiply(
      MemorySegment x,
      long xOffset,
      MemorySegment y,
      long yOffset,
      MemorySegment z,
      long zOffset,
      int n);
}
