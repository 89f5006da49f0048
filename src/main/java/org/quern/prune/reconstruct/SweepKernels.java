package org.quern.prune.reconstruct;

import java.lang.foreign.MemorySegment;

/**
 * The sweep of SparseGPT through the columns of one block, for {@link #ROWS} rows at a time, which
 * do not know one another once the mask, or the rule for it, is given.
 *
 * <p>For column i of the block, ascending, with U the factor of the inverse Hessian:
 *
 * <pre>
 *   q_i = 0 where pruned, else w_i
 *   e_i = (w_i - q_i) / U_ii
 *   w_j = w_j - e_i U_ij   for every later column j of the block
 * </pre>
 *
 * Each product and difference is rounded to binary32 by itself, and the columns i meet w_j in
 * ascending order: every tier gives the same bits, and those of the released program where a block
 * is all there is. Work: width (width - 1) flops and width divisions per row.
 *
 * <p>A panel is column-major: the {@link #ROWS} values of column j start at {@code j * ROWS}. It
 * stays in the first-level cache. U of the block is packed, {@link #WIDTH} floats per row, zero
 * beyond the width.
 *
 * <p>Source: Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in
 * One-Shot", arXiv 2301.00774, algorithm 1, and its released program.
 */
interface SweepKernels {
  /** Rows of a panel; whole vectors of every width. */
  int ROWS = 32;

  /** Most columns of a block. */
  int WIDTH = 128;

  /** Floats of a panel. */
  int PANEL = ROWS * WIDTH;

  /** Bytes of a panel. */
  long PANEL_BYTES = (long) Float.BYTES * PANEL;

  /** Bytes of U of a block. */
  long UPPER_BYTES = (long) Float.BYTES * WIDTH * WIDTH;

  /**
   * The scores of a run of weights: {@code s_j = w_j^2 / d_j}, both squares rounded.
   *
   * @param w floats
   * @param d squares of the diagonal of U
   * @param s receives the scores
   * @param n how many
   */
  void score(
      MemorySegment w,
      long wOffset,
      MemorySegment d,
      long dOffset,
      MemorySegment s,
      long sOffset,
      int n);

  /**
   * Transposes rows into a panel; rows that are not there become zero.
   *
   * @param a rows, {@code lda} floats apart
   * @param rows at most {@link #ROWS}
   * @param width columns
   */
  void load(MemorySegment a, long aOffset, long lda, int rows, int width, MemorySegment panel);

  /** Transposes a panel into rows. */
  void store(MemorySegment panel, MemorySegment a, long aOffset, long lda, int rows, int width);

  /**
   * Marks the weights to prune with 1 and the others with 0: {@code w_j^2 / d_j <= threshold}.
   *
   * @param panel weights before the sweep
   * @param marks a panel
   */
  void markBelow(
      MemorySegment panel, int width, MemorySegment d, float threshold, MemorySegment marks);

  /**
   * The sweep.
   *
   * @param upper U of the block, packed
   * @param d squares of its diagonal
   * @param width columns of the block
   * @param panel weights; receives the errors e
   * @param kept a panel that receives the new weights q, +0.0 where pruned
   * @param marks a panel, 1 where a weight is pruned; where {@code of > 0}, it is written: in every
   *     run of {@code of} columns the {@code prune} smallest scores of the weights as they are when
   *     the sweep gets there, the lowest column first among equals
   * @param prune weights to prune in each run
   * @param of columns of a run, at most 16, a divisor of the width; 0 where the marks are given
   * @param losses {@link #ROWS} floats, to which the {@code e^2} of each row are added
   */
  void sweep(
      MemorySegment upper,
      MemorySegment d,
      int width,
      MemorySegment panel,
      MemorySegment kept,
      MemorySegment marks,
      int prune,
      int of,
      MemorySegment losses);
}
