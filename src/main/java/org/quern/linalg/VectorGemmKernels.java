package org.quern.linalg;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;

/**
 * The product on the Vector API, after the layered scheme of Goto and van de Geijn ("Anatomy of
 * high-performance matrix multiplication", 2008). A block of op(B), {@link #DEPTH} rows of at most
 * {@link #BLOCK} columns, is packed into panels two vectors wide and stays in the second-level
 * cache; a panel of op(A), {@link #ROWS} rows of the same depth, stays in the first-level cache and
 * meets every panel of B in the micro-kernel {@link #tile}, which holds the whole tile of C in
 * registers.
 *
 * <p>Every element of C is one chain of fused multiply-adds per block of {@link #DEPTH}, in
 * ascending k, wherever its tile lies. Splitting C among threads therefore changes no bit.
 */
final class VectorGemmKernels implements GemmKernels {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = SPECIES.length();
  private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);
  private static final ValueLayout.OfLong PAIR = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ORDER);

  /** The earlier float of a pair. */
  private static final long LOW = 0xFFFF_FFFFL;

  /**
   * 512-bit vectors come with 32 registers: 16 accumulators leave room. With 16 registers 12 do.
   */
  private static final boolean WIDE = SPECIES.vectorBitSize() >= 512;

  /** Rows of a tile of C. */
  static final int ROWS = WIDE ? 8 : 6;

  /** Columns of a tile of C: two vectors. */
  static final int COLUMNS = 2 * LANES;

  /** Steps of k per packed block: a panel of A takes 12 KB of the first-level cache. */
  static final int DEPTH = 384;

  /**
   * Columns per packed block of B: a multiple of {@link #COLUMNS}; 590 KB of the second-level
   * cache.
   */
  static final int BLOCK = 384;

  /** Below this many rows of C a panel of B meets too few panels of A to repay its packing. */
  private static final int PACK_B_FROM = 48;

  /** Bytes of one vector. */
  private static final long HALF = Float.BYTES * (long) LANES;

  private static final int B_BLOCK = DEPTH * BLOCK;

  @Override
  public long workspaceBytes() {
    return Float.BYTES * (long) (ROWS * DEPTH + B_BLOCK + ROWS * COLUMNS);
  }

  @Override
  public void multiply(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      float alpha,
      long a,
      long lda,
      long b,
      long ldb,
      float beta,
      long c,
      long ldc,
      long diagonal,
      long workspace) {
    long aRow = transposeA ? 1 : lda;
    long aStep = transposeA ? lda : 1;
    long bColumn = transposeB ? ldb : 1;
    long bStep = transposeB ? 1 : ldb;
    boolean bInPlace = WIDE && m < PACK_B_FROM && !transposeB;
    long panel = workspace;
    long bBlock = panel + Float.BYTES * (long) ROWS * DEPTH;
    long tile = bBlock + Float.BYTES * (long) B_BLOCK;

    for (int j0 = 0; j0 < n; j0 += BLOCK) {
      int width = Math.min(BLOCK, n - j0);
      int k0 = 0;
      do { // once even for k = 0, where C is only scaled
        int depth = Math.min(DEPTH, k - k0);
        float keep = k0 == 0 ? beta : 1;
        for (int j = 0; j < width; j += COLUMNS) {
          int columns = Math.min(COLUMNS, width - j);
          if (!bInPlace || columns < COLUMNS) {
            pack(
                b + Float.BYTES * ((j0 + j) * bColumn + k0 * bStep),
                bColumn,
                bStep,
                columns,
                depth,
                bBlock + Float.BYTES * (long) j * DEPTH,
                COLUMNS);
          }
        }
        for (int i = 0; i < m; i += ROWS) {
          int rows = Math.min(ROWS, m - i);
          // Column j of the last row lies on or below the diagonal up to j = diagonal + row.
          int needed = (int) Math.min(width, diagonal + i + rows - j0);
          if (needed <= 0) {
            continue;
          }
          long aSource = a + Float.BYTES * (i * aRow + k0 * aStep);
          pack(aSource, aRow, aStep, rows, depth, panel, ROWS);
          for (int j = 0; j < needed; j += COLUMNS) {
            int columns = Math.min(COLUMNS, width - j);
            boolean bDirect = bInPlace && columns == COLUMNS;
            tile(
                depth,
                panel,
                bDirect
                    ? b + Float.BYTES * (j0 + j + k0 * ldb)
                    : bBlock + Float.BYTES * (long) j * DEPTH,
                bDirect ? ldb : COLUMNS,
                tile);
            update(
                rows,
                columns,
                alpha,
                tile,
                keep,
                c + Float.BYTES * (i * ldc + j0 + j),
                ldc,
                diagonal + i - j0 - j);
          }
        }
        k0 += depth;
      } while (k0 < k);
    }
  }

  /**
   * Packs {@code lines} lines of {@code depth} elements so that step p of all lines lies together:
   * {@code target[p * width + l] = source[l * lineStride + p * step]}, zero for {@code l >= lines}.
   * One of the two strides is 1.
   */
  private static void pack(
      long source, long lineStride, long step, int lines, int depth, long target, int width) {
    if (depth == 0) {
      return;
    }
    MemorySegment from =
        NativeViews.of(source, Float.BYTES * ((lines - 1) * lineStride + (depth - 1) * step + 1));
    MemorySegment to = NativeViews.of(target, (long) Float.BYTES * depth * width);
    if (lines < width) {
      to.fill((byte) 0);
    }
    if (lineStride == 1) {
      for (int p = 0; p < depth; p++) {
        long read = Float.BYTES * (p * step);
        long write = Float.BYTES * ((long) p * width);
        int l = 0;
        for (; l <= lines - LANES; l += LANES) {
          FloatVector.fromMemorySegment(SPECIES, from, read + (long) Float.BYTES * l, ORDER)
              .intoMemorySegment(to, write + (long) Float.BYTES * l, ORDER);
        }
        for (; l <= lines - 2; l += 2) {
          to.set(
              PAIR, write + (long) Float.BYTES * l, from.get(PAIR, read + (long) Float.BYTES * l));
        }
        for (; l < lines; l++) {
          to.set(
              FLOAT,
              write + (long) Float.BYTES * l,
              from.get(FLOAT, read + (long) Float.BYTES * l));
        }
      }
    } else {
      int l = 0;
      for (; l <= lines - 2; l += 2) {
        // Two lines by two steps at a time: pairs move as one long, half the loads and stores.
        long first = l * lineStride;
        long second = first + lineStride;
        int p = 0;
        for (; p <= depth - 2; p += 2) {
          long x = from.get(PAIR, Float.BYTES * (first + p));
          long y = from.get(PAIR, Float.BYTES * (second + p));
          long at = Float.BYTES * ((long) p * width + l);
          to.set(PAIR, at, (x & LOW) | (y << 32));
          to.set(PAIR, at + Float.BYTES * (long) width, (x >>> 32) | (y & ~LOW));
        }
        if (p < depth) {
          long at = (long) p * width + l;
          to.setAtIndex(FLOAT, at, from.getAtIndex(FLOAT, first + p));
          to.setAtIndex(FLOAT, at + 1, from.getAtIndex(FLOAT, second + p));
        }
      }
      if (l < lines) {
        for (int p = 0; p < depth; p++) {
          to.setAtIndex(FLOAT, (long) p * width + l, from.getAtIndex(FLOAT, l * lineStride + p));
        }
      }
    }
  }

  /**
   * {@code C = alpha * tile + beta * C} for the leading rows and columns of a tile, where column <=
   * row + diagonal.
   */
  private static void update(
      int rows, int columns, float alpha, long tile, float beta, long c, long ldc, long diagonal) {
    MemorySegment from = NativeViews.of(tile, (long) Float.BYTES * ROWS * COLUMNS);
    MemorySegment to = NativeViews.of(c, Float.BYTES * ((rows - 1) * ldc + columns));
    for (int r = 0; r < rows; r++) {
      int limit = (int) Math.min(columns, r + diagonal + 1);
      long read = (long) Float.BYTES * r * COLUMNS;
      long write = Float.BYTES * (r * ldc);
      int j = 0;
      for (; j <= limit - LANES; j += LANES) {
        long at = write + (long) Float.BYTES * j;
        FloatVector sum =
            FloatVector.fromMemorySegment(SPECIES, from, read + (long) Float.BYTES * j, ORDER)
                .mul(alpha);
        if (beta != 0) {
          sum =
              FloatVector.fromMemorySegment(SPECIES, to, at, ORDER)
                  .fma(FloatVector.broadcast(SPECIES, beta), sum);
        }
        sum.intoMemorySegment(to, at, ORDER);
      }
      for (; j < limit; j++) {
        long at = write + (long) Float.BYTES * j;
        float sum = from.get(FLOAT, read + (long) Float.BYTES * j) * alpha;
        to.set(FLOAT, at, beta == 0 ? sum : Math.fma(to.get(FLOAT, at), beta, sum));
      }
    }
  }

  /**
   * The micro-kernel: {@code tile = sum over p of A(:, p) * B(p, :)}, one outer product per step,
   * accumulated in registers; 2 * ROWS * COLUMNS * depth flops. Accumulators are locals because the
   * compiler keeps only locals in registers, and no more rows because it gives up on larger
   * methods.
   *
   * @param aAddress packed panel of A, ROWS floats per step
   * @param bAddress B, COLUMNS floats per step
   * @param bStep floats between the steps of B
   * @param tile ROWS x COLUMNS floats, contiguous
   */
  private static void tile(int depth, long aAddress, long bAddress, long bStep, long tile) {
    // With few registers a constant stride saves the one that would hold it.
    long bStride = Float.BYTES * (WIDE ? bStep : COLUMNS);
    MemorySegment a = NativeViews.of(aAddress, (long) Float.BYTES * depth * ROWS);
    MemorySegment b =
        NativeViews.of(bAddress, Float.BYTES * (depth == 0 ? 0 : (depth - 1) * bStep + COLUMNS));
    FloatVector zero = FloatVector.zero(SPECIES);
    FloatVector l0 = zero;
    FloatVector r0 = zero;
    FloatVector l1 = zero;
    FloatVector r1 = zero;
    FloatVector l2 = zero;
    FloatVector r2 = zero;
    FloatVector l3 = zero;
    FloatVector r3 = zero;
    FloatVector l4 = zero;
    FloatVector r4 = zero;
    FloatVector l5 = zero;
    FloatVector r5 = zero;
    FloatVector l6 = zero;
    FloatVector r6 = zero;
    FloatVector l7 = zero;
    FloatVector r7 = zero;
    for (int p = 0; p < depth; p++) {
      long at = (long) p * ROWS * Float.BYTES;
      FloatVector left = FloatVector.fromMemorySegment(SPECIES, b, p * bStride, ORDER);
      FloatVector right = FloatVector.fromMemorySegment(SPECIES, b, p * bStride + HALF, ORDER);
      FloatVector x = FloatVector.broadcast(SPECIES, a.get(FLOAT, at));
      l0 = x.fma(left, l0);
      r0 = x.fma(right, r0);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 1 * Float.BYTES));
      l1 = x.fma(left, l1);
      r1 = x.fma(right, r1);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 2 * Float.BYTES));
      l2 = x.fma(left, l2);
      r2 = x.fma(right, r2);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 3 * Float.BYTES));
      l3 = x.fma(left, l3);
      r3 = x.fma(right, r3);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 4 * Float.BYTES));
      l4 = x.fma(left, l4);
      r4 = x.fma(right, r4);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 5 * Float.BYTES));
      l5 = x.fma(left, l5);
      r5 = x.fma(right, r5);
      if (WIDE) {
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 6 * Float.BYTES));
        l6 = x.fma(left, l6);
        r6 = x.fma(right, r6);
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 7 * Float.BYTES));
        l7 = x.fma(left, l7);
        r7 = x.fma(right, r7);
      }
    }
    MemorySegment sums = NativeViews.of(tile, (long) Float.BYTES * ROWS * COLUMNS);
    l0.intoMemorySegment(sums, 0, ORDER);
    r0.intoMemorySegment(sums, HALF, ORDER);
    l1.intoMemorySegment(sums, 2 * HALF, ORDER);
    r1.intoMemorySegment(sums, 3 * HALF, ORDER);
    l2.intoMemorySegment(sums, 4 * HALF, ORDER);
    r2.intoMemorySegment(sums, 5 * HALF, ORDER);
    l3.intoMemorySegment(sums, 6 * HALF, ORDER);
    r3.intoMemorySegment(sums, 7 * HALF, ORDER);
    l4.intoMemorySegment(sums, 8 * HALF, ORDER);
    r4.intoMemorySegment(sums, 9 * HALF, ORDER);
    l5.intoMemorySegment(sums, 10 * HALF, ORDER);
    r5.intoMemorySegment(sums, 11 * HALF, ORDER);
    if (WIDE) {
      l6.intoMemorySegment(sums, 12 * HALF, ORDER);
      r6.intoMemorySegment(sums, 13 * HALF, ORDER);
      l7.intoMemorySegment(sums, 14 * HALF, ORDER);
      r7.intoMemorySegment(sums, 15 * HALF, ORDER);
    }
  }
}
