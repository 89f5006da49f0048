package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/**
 * The primitives of the layers that work on samples of functions on the sphere: products with
 * constant matrices, pointwise products, sums over edges.
 *
 * <p>A tile is a run of rows of {@link #LANES} channels; a row is one coefficient, or one sample,
 * of all channels of the block, and rows follow one another. Tiles start at a row of a segment. All
 * numbers are of {@link #type()}. Whoever calls keeps the segments reachable.
 */
interface SampleKernels {
  /** Channels of a tile. */
  int LANES = 16;

  /** Rows of a matrix whose columns lie together. */
  int BLOCK = 8;

  /** Rows that {@link #unmix} takes. */
  int FEW = 4;

  /** Points of the sphere that one call of the edge kernels takes: two blocks. */
  int POINTS = 16;

  /** Element type of tiles and tables. */
  DType type();

  /**
   * {@code out[r] = sum_c table[r, c] in[c]}, or adds that to {@code out[r]}, for all rows of the
   * table. 2 x rows x columns x {@link #LANES} flops. Input and output may be any memory of this
   * type whose rows are a fixed number of bytes apart and start at a multiple of an element.
   *
   * @param table a matrix packed by {@link TileTable}
   * @param at first element of the matrix
   * @param rows rows of the matrix and of {@code out}
   * @param columns rows of {@code in}
   * @param inAt byte of the first row of {@code in}
   * @param inStep bytes between the rows of {@code in}
   * @param outAt byte of the first row of {@code out}
   * @param outStep bytes between the rows of {@code out}
   * @param add true to add to what {@code out} holds
   */
  void mix(
      MemorySegment table,
      long at,
      int rows,
      int columns,
      MemorySegment in,
      long inAt,
      long inStep,
      MemorySegment out,
      long outAt,
      long outStep,
      boolean add);

  /**
   * The transpose of {@link #mix} for a table of {@link #FEW} rows: {@code out[c] = sum_r table[r,
   * c] in[r]}, or adds that to {@code out[c]}. All rows follow one another.
   *
   * @param columns columns of the matrix, rows of {@code out}
   */
  void unmix(
      MemorySegment table,
      int columns,
      MemorySegment in,
      long inRow,
      MemorySegment out,
      long outAt,
      boolean add);

  /**
   * Reads rows of an operand in an order: {@code out[r] = in[order[r]]}.
   *
   * @param from element type of {@code in}; the vector tier takes its own alone
   * @param inAt byte of the first row of {@code in}
   * @param inStep bytes between the rows of {@code in}
   */
  void collect(
      int[] order,
      DType from,
      MemorySegment in,
      long inAt,
      long inStep,
      MemorySegment out,
      long outRow);

  /** The inverse of {@link #collect}: {@code out[order[r]] = in[r]}. */
  void distribute(
      int[] order,
      MemorySegment in,
      long inRow,
      DType to,
      MemorySegment out,
      long outAt,
      long outStep);

  /**
   * Sums and differences of four runs of rows p0 to p3, in place: {@code p0 + p1 + p2 + p3}, {@code
   * p0 + p1 - p2 - p3}, {@code p0 - p1 - p2 + p3}, {@code p0 - p1 + p2 - p3}: a symmetric matrix.
   *
   * @param rows rows of a run
   */
  void butterfly(int rows, MemorySegment tile, long row);

  /** {@code out[r] = a[r] b[r]}. */
  void multiply(
      int rows,
      MemorySegment a,
      long aRow,
      MemorySegment b,
      long bRow,
      MemorySegment out,
      long outRow);

  /**
   * Powers of samples weighted per channel, by Horner's rule (specification, section 9): {@code
   * out[r] = sum_k w[k] f[r]^(k+1)} for k from 0 to {@code orders - 1}.
   *
   * @param f samples
   * @param w one row of weights per order
   */
  void powers(
      int rows,
      int orders,
      MemorySegment f,
      long fRow,
      MemorySegment w,
      long wRow,
      MemorySegment out,
      long outRow);

  /**
   * The derivative of {@link #powers}: {@code out[r] += g[r] sum_k (k+1) w[k] f[r]^k}, and per
   * order {@code gw[k] += sum_r g[r] f[r]^(k+1)}.
   */
  void powersBackward(
      int rows,
      int orders,
      MemorySegment f,
      long fRow,
      MemorySegment g,
      long gRow,
      MemorySegment w,
      long wRow,
      MemorySegment out,
      long outRow,
      MemorySegment gw,
      long gwRow);

  /**
   * The change of {@link #powersBackward} with f and w: {@code out[r] += g[r] sum_k (k+1) (dw[k]
   * f[r]^k + k w[k] f[r]^(k-1) df[r])}, and per order {@code gw[k] += sum_r g[r] (k+1) f[r]^k
   * df[r]}.
   */
  void powersBackwardChange(
      int rows,
      int orders,
      MemorySegment f,
      long fRow,
      MemorySegment df,
      long dfRow,
      MemorySegment g,
      long gRow,
      MemorySegment w,
      long wRow,
      MemorySegment dw,
      long dwRow,
      MemorySegment out,
      long outRow,
      MemorySegment gw,
      long gwRow);

  /**
   * The factor of the recurrence of the monic Legendre polynomials, {@code p_0 = 1}, {@code p_1 =
   * x}, {@code p_(l+1) = x p_l - step(l) p_(l-1)}.
   */
  static double step(int l) {
    double square = (double) l * l;
    return square / (4 * square - 1);
  }

  /**
   * Zonal filters of edges at {@link #POINTS} points s (specification, section 8): {@code out[i, s]
   * = sum_l c[e_i, l] p_l(u[e_i] . s)} with monic Legendre polynomials p, whose recurrence is the
   * shortest; about (5 + 4 degree) flops per edge and point.
   *
   * @param edges number of edges
   * @param index I32, the edges e_i, from element {@code indexAt}
   * @param directions unit vectors u, four elements per edge
   * @param coefficients c, {@code degree + 1} elements per edge
   * @param points x of the {@link #POINTS} points, then y, then z, from element {@code pointsAt}
   * @param out from element {@code outAt}, {@link #POINTS} elements per edge
   */
  void zonal(
      int edges,
      MemorySegment index,
      long indexAt,
      MemorySegment directions,
      MemorySegment coefficients,
      int degree,
      MemorySegment points,
      long pointsAt,
      MemorySegment out,
      long outAt);

  /**
   * The derivative of {@link #zonal} for one edge: adds to {@code gc[l]} the sum over points of
   * {@code q[s] p_l(u . s)}, and to {@code gu} the vector {@code sum_s q[s] sum_l c[l] p_l'(u . s)
   * s}.
   *
   * @param q one element per point
   * @param gradient F64, {@code gc} and then the three elements of {@code gu}
   */
  void zonalBackward(
      long edge,
      MemorySegment directions,
      MemorySegment coefficients,
      int degree,
      MemorySegment points,
      long pointsAt,
      MemorySegment q,
      long qAt,
      MemorySegment gradient,
      long gradientAt);

  /**
   * The change of {@link #zonal} with its coefficients and directions: {@code out[i, s] = sum_l
   * dc[e_i, l] p_l(u . s) + c[e_i, l] p_l'(u . s) (du[e_i] . s)}.
   *
   * @param turns du, laid out as the directions
   * @param changes dc, laid out as the coefficients
   */
  void zonalChange(
      int edges,
      MemorySegment index,
      long indexAt,
      MemorySegment directions,
      MemorySegment coefficients,
      MemorySegment turns,
      MemorySegment changes,
      int degree,
      MemorySegment points,
      long pointsAt,
      MemorySegment out,
      long outAt);

  /**
   * The change of {@link #zonalBackward} with q, coefficients and directions. With p_l and its
   * derivatives at u . s, it adds to {@code dgc[l]} the sum over points of {@code dq p_l + q p_l'
   * (du . s)}, to {@code dgu} the vector {@code sum_s sum_l ((dq c[l] + q dc[l]) p_l' + q c[l]
   * p_l'' (du . s)) s}, and to {@code gu} what {@link #zonalBackward} does.
   *
   * @param q one element per point, then as many of {@code dq}
   * @param gradient F64, {@code dgc}, then the three elements of {@code dgu}, then those of {@code
   *     gu}
   */
  void zonalBackwardChange(
      long edge,
      MemorySegment directions,
      MemorySegment coefficients,
      MemorySegment turns,
      MemorySegment changes,
      int degree,
      MemorySegment points,
      long pointsAt,
      MemorySegment q,
      long qAt,
      MemorySegment gradient,
      long gradientAt);

  /**
   * Messages to one node at {@link #POINTS} points: {@code out[s] = sum_i filter[i, s] scale[e_i]
   * x[node_i, s]}, in the order of the edges.
   *
   * @param nodes I32, the nodes node_i, from element {@code listAt}
   * @param index I32, the edges e_i, from element {@code listAt}
   * @param filter {@link #POINTS} elements per edge of the list
   * @param scale rows of scales, the one of edge e at byte {@code scaleAt + e * scaleStep}
   * @param scaleStep bytes between the scales; 0 where every scale counts as one
   * @param x {@link #POINTS} rows per node
   */
  void gather(
      int edges,
      MemorySegment nodes,
      MemorySegment index,
      long listAt,
      MemorySegment filter,
      long filterAt,
      MemorySegment scale,
      long scaleAt,
      long scaleStep,
      MemorySegment x,
      long xRow,
      MemorySegment out,
      long outRow);

  /**
   * Sums over all lanes of some blocks: {@code q[s] += sum_block,lane x[s] g[s] scale} at {@link
   * #POINTS} points, and per block and lane {@code gs += sum_s filter[s] x[s] g[s]}.
   *
   * @param step rows between the blocks of x, and of g
   * @param scaled whether there are scales; without them they count as one, and {@code gs} is left
   *     alone
   * @param scaleAt byte of the first block's row of scales; the others are {@code scaleStep} bytes
   *     apart
   * @param q one element per point
   * @param gsAt byte of the first row that receives the gradient of the scales; the others are
   *     {@code gsStep} bytes apart
   */
  void contract(
      int blocks,
      MemorySegment x,
      long xRow,
      MemorySegment g,
      long gRow,
      long step,
      MemorySegment filter,
      long filterAt,
      boolean scaled,
      MemorySegment scale,
      long scaleAt,
      long scaleStep,
      MemorySegment q,
      long qAt,
      MemorySegment gs,
      long gsAt,
      long gsStep);

  /**
   * {@code out[r] = in[r] factor} for one row of factors, or adds that to {@code out[r]}. All rows
   * are given by bytes, as in {@link #mix}.
   */
  void scale(
      int rows,
      MemorySegment in,
      long inAt,
      long inStep,
      MemorySegment factor,
      long factorAt,
      MemorySegment out,
      long outAt,
      long outStep,
      boolean add);
}
