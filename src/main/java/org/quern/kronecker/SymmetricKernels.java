package org.quern.kronecker;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/**
 * Work on a run of square tiles of a symmetric matrix that lie side by side, {@link #TILE} x {@link
 * #TILE} elements each, whose rows are {@code stride} elements apart and the tiles {@code step};
 * and on vectors of whole tiles:
 *
 * <pre>{@code
 * T <- p T + sum over t of zs_t z_t'          update
 * sums <- sums + T' v_rows                    multiply, column side
 * partials_r <- partials_r + T_r v_columns    multiply, row side
 * }</pre>
 *
 * where zs = z or -z. A tile (I, J) below the diagonal serves as its own mirror image in this way;
 * for one on the diagonal v_rows is 0. Since zs_r z_c is the product of the same two floats above
 * and below the diagonal, the result is symmetric to the bit.
 *
 * <p>Cost per tile: update with k terms {@code (1 + 2k) TILE^2} flops, multiply {@code 4 TILE^2};
 * 16 KiB read, and written by an update. The sums of the row side stay partial, one vector per row,
 * until {@link #fold} adds them up, once per row of tiles.
 *
 * <p>Memory is given as a segment and an offset in {@link org.quern.runtime.NativeViews#base} of
 * it; {@code work} holds everything but the tiles. Parts of vectors that belong to the columns are
 * given for the first tile; those of the next follow. Nothing is allocated. Lengths n are multiples
 * of TILE.
 *
 * <p>Source of the rules: Mozaffari et al., arXiv 2306.01685 ({@link UpdateRule}).
 */
interface SymmetricKernels {
  /** Rows and columns of a tile. */
  int TILE = 64;

  /** Bytes of one element of the sums. */
  int sumBytes();

  /** Bytes of the partial sums of one row. */
  int partialBytes();

  /**
   * True where {@link #multiply} and {@link #addAndMultiply} work on tiles of this type; on F32 all
   * methods do.
   */
  boolean takes(DType type);

  /**
   * Updates tiles of F32.
   *
   * @param step elements between the tiles
   * @param count number of tiles
   * @param terms number of terms, at least 0
   * @param signed where the rows' part of the first zs is
   * @param plain where the columns' part of the first z is
   * @param termStride bytes between the terms
   */
  void update(
      MemorySegment matrix,
      long tile,
      long stride,
      long step,
      int count,
      double p,
      int terms,
      MemorySegment work,
      long signed,
      long plain,
      long termStride);

  /**
   * Multiplies tiles.
   *
   * @param type element type of the tiles
   * @param rows where the rows' part of v is
   * @param columns where the columns' part of v is
   * @param sums where the columns' part of the sums is
   * @param partials where the partial sums of the rows are
   */
  void multiply(
      DType type,
      MemorySegment matrix,
      long tile,
      long stride,
      long step,
      int count,
      MemorySegment work,
      long rows,
      long columns,
      long sums,
      long partials);

  /** Adds one term to tiles and multiplies what they now hold, in one pass. */
  void addAndMultiply(
      DType type,
      MemorySegment matrix,
      long tile,
      long stride,
      long step,
      int count,
      MemorySegment work,
      long signed,
      long plain,
      long rows,
      long columns,
      long sums,
      long partials);

  /** Adds the partial sums of {@link #TILE} rows to the sums of these rows, and zeroes them. */
  void fold(MemorySegment work, long partials, long sums);

  /** {@code w = sum over groups of sums}, in ascending order. */
  void gather(MemorySegment work, long sums, long groupStride, int groups, long w, int n);

  /** Zeroes n floats. */
  void clear(MemorySegment work, long x, int n);

  /** The greatest of n bit patterns without their signs: at least that of infinity for a NaN. */
  int magnitude(MemorySegment work, long x, int n);

  /** {@code x = |x|}. */
  void absolute(MemorySegment work, long x, int n);

  /** {@code y = a x}; y may be x. */
  void scale(MemorySegment work, float a, long x, long y, int n);

  /** {@code out = a x + b y}; out may be x or y. */
  void combine(MemorySegment work, float a, long x, float b, long y, long out, int n);

  /**
   * {@code x.y}, in double or in many partial sums.
   *
   * @param lanes where memory for one vector is
   */
  double dot(MemorySegment work, long x, long y, int n, long lanes);
}
