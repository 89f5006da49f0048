package org.quern.prune;

import java.lang.foreign.MemorySegment;

/**
 * The fused score, selection and application of a pruning step (K3).
 *
 * <p>Score of weight W[i,j] with column norm c[j] and gradient statistic G[i,j], every product
 * rounded to binary32 by itself and then added: S = |W| c + |W| |G|, or one of its terms, or |W|,
 * or another formula of {@link Method}, whose sums and extremes over the matrix are found before by
 * {@link #columnSums} and {@link #gradientRange}. In every group the weights with the smallest
 * scores are selected, the lowest column first among equals; selected weights are written as +0.0,
 * all others keep their bits.
 *
 * <p>Shapes: W and G are m x n, c is n. Work: 5 flops and the selection per weight. Traffic for F32
 * operands: 8 bytes read and 4 written per weight, 3/4 of that with 16-bit G, half with 16-bit W
 * and G: memory bound on every machine.
 *
 * <p>Every method works on rows {@code [from, to)}, allocates nothing on the heap in the vector
 * tier, and writes one bit per weight, 1 for pruned: bit b of byte a of a row is column 8a + b; row
 * i starts at byte {@code (i - bitsRow) * bitsStride} of {@code bits}, which holds a multiple of 8
 * bytes per row, the bits beyond n zero. A {@code bitsStride} of 0 lets all rows share one buffer.
 *
 * <p>Where a score is not finite in a row although every operand of it is (the product overflows),
 * it counts as the infinity that it is. Where an operand is NaN or infinite, the row is left as it
 * was and its number is returned.
 *
 * <p>Source: Das et al., "Beyond Size: How Gradients Shape Pruning Decisions in Large Language
 * Models", arXiv 2311.04902, and its released program.
 */
interface PruneKernels {
  /** Rows complete, every operand finite. */
  long ALL_FINITE = -1;

  /** Bytes of 64-byte aligned scratch memory that one call needs for rows of n columns. */
  long scratchBytes(int n);

  /**
   * Writes the scores of one row as F32.
   *
   * @param out n floats
   * @return {@link #ALL_FINITE}, or {@code row} where an operand is not finite
   */
  long score(Operands operands, long row, MemorySegment out, MemorySegment scratch);

  /**
   * Prunes the k smallest of every row, 0 &le; k &lt; n. Returns {@link #ALL_FINITE} or the first
   * bad row.
   */
  long pruneSmallest(
      Operands operands,
      int k,
      long from,
      long to,
      MemorySegment bits,
      long bitsRow,
      long bitsStride,
      MemorySegment scratch);

  /**
   * Prunes the {@code prune} smallest of every {@code of} columns. Returns {@link #ALL_FINITE} or
   * the first bad row.
   */
  long pruneGroups(
      Operands operands,
      int prune,
      int of,
      long from,
      long to,
      MemorySegment bits,
      long bitsRow,
      long bitsStride,
      MemorySegment scratch);

  /**
   * Prunes in one row every score below {@code threshold} and the first {@code ties} that equal it.
   * Returns {@link #ALL_FINITE} or {@code row}.
   */
  long pruneBelow(
      Operands operands,
      long row,
      float threshold,
      long ties,
      MemorySegment bits,
      long bitsOffset,
      MemorySegment scratch);

  /**
   * The sum of |W| down each of the columns [from, to), in F64, from the first row to the last, and
   * rounded to F32 at the end: the same bits on every tier. Work: one addition per weight; traffic:
   * W once.
   *
   * @param sums F32 by column, written from column {@code from} on
   */
  void columnSums(Operands operands, int from, int to, MemorySegment sums, MemorySegment scratch);

  /**
   * The smallest |G| of rows [from, to) in bits 0 to 31 and the largest in bits 32 to 63, as the
   * bits of F32; those of the largest are above all finite ones where an element is not finite.
   * Traffic: G once.
   */
  long gradientRange(Operands operands, long from, long to, MemorySegment scratch);
}
