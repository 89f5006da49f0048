package org.quern.kronecker;

import java.lang.foreign.MemorySegment;

/**
 * The primitives of factors of low rank, I - U diag(c) U' with U of d x k floats, and of the
 * products with them.
 *
 * <p>U lies in groups of {@link #GROUP} columns, one group after the other. A group is a row of
 * panels, one for every {@link #PANEL} rows of U, and a panel holds those rows of its columns, one
 * column after the other. So both products of an update run along the memory with nothing to be
 * summed across a vector, and more columns are more memory behind the rest. Rows and columns beyond
 * d and k are zero.
 *
 * <p>Offsets and steps are in bytes. Nothing is allocated; whoever calls keeps the memory
 * reachable. Source: Mozaffari et al., arXiv 2306.01685, in the form J = I - K.
 */
interface LowRankKernels {
  /** Rows of a panel. */
  int PANEL = 16;

  /** Columns of a group, and rows of a tile of {@link #multiplyAdd}. */
  int GROUP = 8;

  /** Columns of a tile of {@link #multiplyAdd}: rows of U are padded to as many. */
  int TILE = 2 * PANEL;

  /** Bytes from a column of a panel to the next. */
  long COLUMN_BYTES = Float.BYTES * (long) PANEL;

  /** Bytes from a panel of a group to the next. */
  long PANEL_BYTES = GROUP * COLUMN_BYTES;

  /** Columns of a block. */
  int BLOCK_COLUMNS = 512;

  /** Bytes from a row of a block to the next: not a power of two, which would crowd the caches. */
  long BLOCK_ROW = Float.BYTES * (BLOCK_COLUMNS + 16L);

  /** Bytes of work memory that {@link #project} needs for a group. */
  long PROJECT_BYTES = PANEL_BYTES;

  /** Bytes of work memory that {@link #dots} needs. */
  long DOTS_BYTES = 16 * COLUMN_BYTES;

  /** Bytes of work memory that {@link #recombine} needs for a group. */
  long RECOMBINE_BYTES = 2 * PANEL_BYTES;

  /** Bits of the greatest magnitude of n floats; at least 0x7f800000 where one is not finite. */
  int magnitude(int n, MemorySegment v, long vAt);

  /** {@code out = a v}; v and out may be the same. */
  void scale(int n, float a, MemorySegment v, long vAt, MemorySegment out, long outAt);

  /** {@code x.y}, in chains of single precision of at most n / 4 terms, joined in double. */
  double dot(int n, MemorySegment x, long xAt, MemorySegment y, long yAt);

  /**
   * {@code z = U'v}; 2 d k flops, reads U once.
   *
   * @param work {@link #PROJECT_BYTES} of memory
   * @param z takes 8 sums for every group
   */
  void project(
      int panels,
      int groups,
      MemorySegment u,
      long uAt,
      MemorySegment v,
      long vAt,
      MemorySegment work,
      long workAt,
      double[] z);

  /**
   * {@code x = x - U w}; 2 d k flops, reads U once, from the end, where {@link #project} has left
   * it in the cache.
   *
   * @param w 8 weights for every group
   */
  void subtract(
      int panels,
      int groups,
      MemorySegment u,
      long uAt,
      MemorySegment w,
      long wAt,
      MemorySegment x,
      long xAt);

  /**
   * Writes a vector into a column of U.
   *
   * @param uAt where the column starts in its first panel
   */
  void putColumn(int panels, MemorySegment x, long xAt, MemorySegment u, long uAt);

  /**
   * {@code U <- U T}, panel by panel in place; 2 d k m flops.
   *
   * @param panels an even number
   * @param groups groups of columns before
   * @param outGroups groups of columns after, at most {@code groups}
   * @param t T in blocks of 8 columns, a block row by row
   * @param work {@link #RECOMBINE_BYTES} of memory for every group after
   */
  void recombine(
      int panels,
      int groups,
      int outGroups,
      MemorySegment u,
      long uAt,
      MemorySegment t,
      long tAt,
      MemorySegment work,
      long workAt);

  /**
   * Products of four rows with four rows, {@code out[4 i + j] = x_i.y_j}, in chains of single
   * precision that are joined in double every few hundred terms.
   *
   * <p>Rows i and i + 1 start {@code row} bytes apart. A row is pieces of {@code length} floats, a
   * multiple of 16, that start {@code step} bytes apart.
   *
   * @param work {@link #DOTS_BYTES} of memory
   */
  void dots(
      int pieces,
      int length,
      MemorySegment memory,
      long xAt,
      long yAt,
      long row,
      long step,
      MemorySegment work,
      long workAt,
      double[] out);

  /**
   * {@code C = scale (C + A B)} for 8 groups rows and 32 tiles columns of C; 512 groups tiles depth
   * flops. A comes in groups of 8 rows, each a run of columns of 8 floats; rows of 32 floats of B
   * and C are contiguous. Every element of C is one chain of fused multiply-adds.
   *
   * @param groups groups of rows of C and A
   * @param tiles tiles of columns of C and B
   * @param depth columns of A, rows of B
   * @param aGroup from a group of A to the next
   * @param aStep from a column of a group of A to the next
   * @param bStep from a row of B to the next
   * @param bTile from a tile of B to the next
   * @param cRow from a row of C to the next
   * @param cTile from a tile of C to the next
   */
  void multiplyAdd(
      int groups,
      int tiles,
      int depth,
      MemorySegment a,
      long aAt,
      long aGroup,
      long aStep,
      MemorySegment b,
      long bAt,
      long bStep,
      long bTile,
      MemorySegment c,
      long cAt,
      long cRow,
      long cTile,
      float scale);

  /**
   * {@code C = C + A B} where A is a block: rows {@link #BLOCK_ROW} apart. That this is a constant
   * spares the kernel the registers that addresses of eight rows would take.
   */
  void multiplyAddBlock(
      int groups,
      int tiles,
      int depth,
      MemorySegment block,
      long blockAt,
      MemorySegment b,
      long bAt,
      long bStep,
      long bTile,
      MemorySegment c,
      long cAt,
      long cRow,
      long cTile);

  /**
   * {@code y = y + A x} for 8 groups rows, with the bits that {@link #multiplyAdd} gives a column.
   *
   * @param depth columns of A, elements of x
   */
  void multiplyAddColumn(
      int groups,
      int depth,
      MemorySegment a,
      long aAt,
      long aGroup,
      MemorySegment x,
      long xAt,
      MemorySegment y,
      long yAt);

  /**
   * Writes 8 groups rows as {@link #multiplyAdd} takes A, a column of 8 floats after the other.
   *
   * @param columns an even number
   * @param row from a row to the next
   * @param outGroup from a group to the next
   */
  void pack(
      int groups,
      int columns,
      MemorySegment rows,
      long rowsAt,
      long row,
      MemorySegment out,
      long outAt,
      long outGroup);

  /** Fills rows with zeros. */
  void clear(int rows, int columns, MemorySegment out, long outAt, long row);

  /** {@code y = y + x}. */
  void add(int n, MemorySegment x, long xAt, MemorySegment y, long yAt);

  /**
   * Copies rows and sums their squares, in single precision for at most 512 elements of a row and
   * in double beyond; not finite where a square is not.
   *
   * @param columns elements of a row, at least 0
   * @param row from a row to the next
   * @param outRow from a row of the copy to the next
   */
  double copyRows(
      int rows,
      int columns,
      MemorySegment g,
      long gAt,
      long row,
      MemorySegment out,
      long outAt,
      long outRow);
}
