package org.quern.gaunt;

import java.lang.foreign.MemorySegment;

/**
 * One block of {@link SampleKernels#LANES} channels of an operand of many items, each of some rows,
 * in the element type of the kernels.
 *
 * @param memory holds the rows
 * @param at byte of the first row of the first item
 * @param itemStep bytes between items
 * @param rowStep bytes between the rows of an item
 */
record TileView(MemorySegment memory, long at, long itemStep, long rowStep) {
  /** Byte of the first row of an item. */
  long item(long number) {
    return at + number * itemStep;
  }
}
