package org.quern.linalg;

import java.lang.foreign.MemorySegment;

/**
 * The matrix product on flat native memory. A matrix starts at an offset in bytes of a segment; its
 * row i starts {@code i * stride} floats after the first. Whoever calls keeps the segments
 * reachable.
 */
interface GemmKernels {
  /** {@code diagonal} of a product that updates every element. */
  long FULL = Integer.MAX_VALUE;

  /** Bytes that one thread needs in {@code workspace}. */
  long workspaceBytes();

  /**
   * {@code C[i,j] = alpha * sum_p op(A)[i,p] * op(B)[p,j] + beta * C[i,j]} where {@code j <= i +
   * diagonal}; other elements of C are neither read nor written. Costs 2 m n k flops where every
   * element is updated.
   *
   * <p>C is not read where {@code beta = 0}. Products enter the sum even where {@code alpha = 0},
   * so that NaN and infinity propagate as in the formula.
   *
   * @param transposeA op(A) is the transpose: A is stored k x m instead of m x k
   * @param transposeB op(B) is the transpose: B is stored n x k instead of k x n
   * @param m rows of C
   * @param n columns of C
   * @param k length of the sum; 0 leaves {@code beta * C}
   * @param a holds A
   * @param aOffset where A starts
   * @param lda floats between the rows of A as stored
   * @param b holds B
   * @param bOffset where B starts
   * @param ldb floats between the rows of B as stored
   * @param c holds C, which overlaps neither A nor B
   * @param cOffset where C starts
   * @param ldc floats between the rows of C
   * @param diagonal {@link #FULL}, or the distance of the last column to update in row 0
   * @param workspace holds the memory of this thread
   * @param workspaceOffset where it starts, aligned to 64 bytes
   */
  void multiply(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      float alpha,
      MemorySegment a,
      long aOffset,
      long lda,
      MemorySegment b,
      long bOffset,
      long ldb,
      float beta,
      MemorySegment c,
      long cOffset,
      long ldc,
      long diagonal,
      MemorySegment workspace,
      long workspaceOffset);
}
