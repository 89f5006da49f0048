package org.quern.prune.reconstruct;

import java.lang.foreign.MemorySegment;

/**
 * What conjugate gradients do to the vectors of a row, of n floats each: memory bound, a few flops
 * per element, against 2 n flops per element of the product that they stand beside.
 *
 * <p>Offsets are in bytes. Products and sums are rounded one by one, so that {@link #add} and
 * {@link #multiply} give the same bits on every tier; the order of the sum in {@link #dot} differs.
 *
 * <p>Source: Saad, "Iterative Methods for Sparse Linear Systems", algorithm 9.1.
 */
interface RefitKernels {
  /** {@code sum x_j y_j}, in binary64: 2 flops and 8 bytes read per element. */
  double dot(MemorySegment x, long xOffset, MemorySegment y, long yOffset, int n);

  /** {@code y += a x}: 2 flops, 8 bytes read and 4 written per element. */
  void add(float a, MemorySegment x, long xOffset, MemorySegment y, long yOffset, int n);

  /** {@code z = x y}, element by element: 1 flop, 8 bytes read and 4 written for each. */
  void multiply(
      MemorySegment x,
      long xOffset,
      MemorySegment y,
      long yOffset,
      MemorySegment z,
      long zOffset,
      int n);
}
