package org.quern.gaunt;

import java.lang.foreign.MemorySegment;

/**
 * The sums of a product with weights by path, for a tile: {@code out[to] += factors[by] * t} for
 * every group of {@link PathTable}, where t is its sum of coefficients times components of two
 * operands. With the path as {@code by} and the component as {@code to} this is the product or a
 * gradient by an input; the other way round it is the gradient by the weights.
 *
 * <p>Two multiply-adds per coefficient and one per group.
 */
interface PathKernels {
  /**
   * Adds all groups.
   *
   * @param by row of factors of each group
   * @param to row of the output of each group
   */
  void accumulate(
      PathTable.Groups groups,
      int[] by,
      int[] to,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment factors,
      long factorsAt,
      long factorsStep,
      MemorySegment out,
      long outAt,
      long outStep,
      int lanes);
}
