package org.quern.gaunt;

import java.lang.foreign.MemorySegment;

/**
 * What surrounds a product of a tile: the weights, and the copies that they need. A tile has one
 * row per component and one column per channel, {@code lanes} elements side by side; steps are
 * bytes between rows.
 */
interface TileKernels {
  /**
   * {@code to[i] = weights[degree of i] * from[i]} for all components up to a degree; added to what
   * is there, where {@code add}.
   *
   * @param weights memory of the weights by degree; anything where {@code weighted} is false
   */
  void scale(
      MemorySegment from,
      long fromAt,
      long fromStep,
      boolean weighted,
      MemorySegment weights,
      long weightsAt,
      long weightsStep,
      MemorySegment to,
      long toAt,
      long toStep,
      boolean add,
      int degree,
      int lanes);

  /**
   * {@code sums[l] += sum over the components i of degree l of x[i] * y[i]}; the sums are F64
   * whatever the type of the tiles.
   */
  void dot(
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment sums,
      long sumsAt,
      long sumsStep,
      int degree,
      int lanes);
}
