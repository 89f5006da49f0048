package org.quern.kronecker;

import java.lang.foreign.MemorySegment;

/**
 * The two passes of {@link EvaLayer} over a gradient G of o x i floats: 6 flops and 4 bytes of an
 * element for the first, 2 flops and 8 bytes for the second.
 */
interface EvaKernels {
  /**
   * Adds {@code g' G a} to {@code out[at]} and {@code ||G||^2} to {@code out[at + 1]}, in binary64.
   *
   * @param matrix G, rows of floats
   * @param stride bytes from row to row
   * @param from first row
   * @param to row after the last
   * @param columns i
   * @param g one for each row
   * @param a one for each column
   */
  void measure(
      MemorySegment matrix,
      long stride,
      int from,
      int to,
      int columns,
      double[] g,
      double[] a,
      double[] out,
      int at);

  /** {@code G[r,j] <- scale (G[r,j] - weight g[r] a[j])} in binary32, for rows [from, to). */
  void apply(
      MemorySegment matrix,
      long stride,
      int from,
      int to,
      int columns,
      double[] g,
      float[] a,
      double weight,
      float scale);
}
