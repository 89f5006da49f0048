package org.quern.gaunt;

import java.lang.foreign.MemorySegment;

/**
 * The derivatives of one {@link TrilinearForm} by its operands, for a tile of channels: {@code
 * out_i = sum over j, k of T(i, j, k) x_j y_k}. By operand 2 this is the product, by 0 and 1 it is
 * the gradients.
 *
 * <p>An operand of a tile has one row per component, {@link #channels} elements each of the type
 * that the algorithm was made for, rows a fixed number of bytes apart. Rows begin at any multiple
 * of the element size. The output overlaps no input and no scratch. Immutable; threads share it,
 * each with scratch memory of its own. A call allocates nothing on the heap.
 */
interface ProductAlgorithm {
  /** Channels of a tile; every call works on all of them. */
  int channels();

  /** Bytes of 64-byte aligned scratch memory that one call needs. */
  long scratchBytes();

  /**
   * The derivative by one operand.
   *
   * @param target the operand to differentiate by: 0, 1 or 2
   * @param x native memory with the first of the other two operands
   * @param xAt byte of its first component
   * @param xStep bytes between its components
   * @param y native memory with the second of the other two operands
   * @param yAt byte of its first component
   * @param yStep bytes between its components
   * @param out receives the components of the target
   * @param outAt byte of its first component
   * @param outStep bytes between its components
   */
  void contract(
      int target,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment out,
      long outAt,
      long outStep,
      MemorySegment scratch);

  /**
   * The derivatives by operands 0 and 1 at once, of the same tile: {@code contract(0, x2, g)} and
   * {@code contract(1, x1, g)}, for algorithms that share work between them.
   */
  default void gradients(
      MemorySegment x1,
      long x1At,
      long x1Step,
      MemorySegment x2,
      long x2At,
      long x2Step,
      MemorySegment g,
      long gAt,
      long gStep,
      MemorySegment gx1,
      long gx1At,
      long gx1Step,
      MemorySegment gx2,
      long gx2At,
      long gx2Step,
      MemorySegment scratch) {
    contract(0, x2, x2At, x2Step, g, gAt, gStep, gx1, gx1At, gx1Step, scratch);
    contract(1, x1, x1At, x1Step, g, gAt, gStep, gx2, gx2At, gx2Step, scratch);
  }
}
