package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/** The linear map of an edge's filter, made per edge and applied to tiles. Immutable. */
interface EdgeFilter {
  /** Elements of the tables of one edge. */
  long tableElements();

  /** Rows of scratch tiles that {@link #apply} needs. */
  int scratchRows();

  /**
   * Makes the tables of an edge.
   *
   * @param r the edge vector; not zero unless the filter has degree 0
   * @param f the filter's coefficients, one per component
   * @param h the radial values, one per degree
   * @param tables receives {@link #tableElements} elements of {@code type}
   */
  void prepare(double[] r, double[] f, double[] h, MemorySegment tables, DType type);

  /**
   * Multiplies the map, or its transpose, by a tile.
   *
   * @param tables what {@link #prepare} made
   * @param inAt byte of the first row of {@code in}; rows are {@code inStep} bytes apart
   * @param outAt byte of the first row of {@code out}, whose rows follow one another
   * @param scratch tiles
   * @param scratchAt byte of the first of {@link #scratchRows} rows
   */
  void apply(
      SampleKernels kernels,
      boolean transposed,
      MemorySegment tables,
      MemorySegment in,
      long inAt,
      long inStep,
      MemorySegment out,
      long outAt,
      MemorySegment scratch,
      long scratchAt);
}
