package org.quern.linalg;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Objects;
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
 *
 * <p>{@link #multiply} checks its memory once; the kernels below it take offsets in {@link
 * NativeViews#base}, which each of them asks for itself, because only there the compiler knows it.
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

  /** No memory lies as far as this. */
  private static final long FAR = 1L << 62;

  /** Rows of B this many floats apart are packed, so that no offset overflows. */
  private static final long FAR_ROWS = 1L << 28;

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
      long workspaceOffset) {
    long aRow = transposeA ? 1 : lda;
    long aStep = transposeA ? lda : 1;
    long bColumn = transposeB ? ldb : 1;
    long bStep = transposeB ? 1 : ldb;
    boolean bInPlace = WIDE && m < PACK_B_FROM && !transposeB && ldb < FAR_ROWS;
    long aBytes = Matrices.bytes(transposeA ? k : m, transposeA ? m : k, lda);
    long bBytes = Matrices.bytes(transposeB ? n : k, transposeB ? k : n, ldb);
    long aAt = NativeViews.at(a, aOffset, aBytes);
    long bAt = NativeViews.at(b, bOffset, bBytes);
    long cAt = NativeViews.at(c, cOffset, Matrices.bytes(m, n, ldc));
    long panel = NativeViews.at(workspace, workspaceOffset, workspaceBytes());
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
                b,
                bAt + Float.BYTES * ((j0 + j) * bColumn + k0 * bStep),
                bColumn,
                bStep,
                columns,
                depth,
                workspace,
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
          long aSource = aAt + Float.BYTES * (i * aRow + k0 * aStep);
          pack(a, aSource, aRow, aStep, rows, depth, workspace, panel, ROWS);
          for (int j = 0; j < needed; j += COLUMNS) {
            int columns = Math.min(COLUMNS, width - j);
            boolean bDirect = bInPlace && columns == COLUMNS;
            tile(
                depth,
                workspace,
                panel,
                bDirect ? b : workspace,
                bDirect
                    ? bAt + Float.BYTES * (j0 + j + k0 * ldb)
                    : bBlock + Float.BYTES * (long) j * DEPTH,
                bDirect ? ldb : COLUMNS,
                tile);
            update(
                rows,
                columns,
                alpha,
                workspace,
                tile,
                keep,
                c,
                cAt + Float.BYTES * (i * ldc + j0 + j),
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
      MemorySegment source,
      long sourceAt,
      long lineStride,
      long step,
      int lines,
      int depth,
      MemorySegment target,
      long targetAt,
      int width) {
    if (depth == 0) {
      return;
    }
    MemorySegment from = NativeViews.base(source);
    MemorySegment to = NativeViews.base(target);
    if (lines < width) {
      zero(target, targetAt, depth * width);
    }
    if (lineStride == 1) {
      for (int p = 0; p < depth; p++) {
        long read = sourceAt + Float.BYTES * (p * step);
        long write = targetAt + Float.BYTES * ((long) p * width);
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
        long first = sourceAt + Float.BYTES * (l * lineStride);
        long second = first + Float.BYTES * lineStride;
        long write = targetAt + Float.BYTES * (long) l;
        int p = 0;
        for (; p <= depth - 2; p += 2) {
          long x = from.get(PAIR, first + Float.BYTES * (long) p);
          long y = from.get(PAIR, second + Float.BYTES * (long) p);
          long at = write + Float.BYTES * ((long) p * width);
          to.set(PAIR, at, (x & LOW) | (y << 32));
          to.set(PAIR, at + Float.BYTES * (long) width, (x >>> 32) | (y & ~LOW));
        }
        if (p < depth) {
          long at = write + Float.BYTES * ((long) p * width);
          to.set(FLOAT, at, from.get(FLOAT, first + Float.BYTES * (long) p));
          to.set(FLOAT, at + Float.BYTES, from.get(FLOAT, second + Float.BYTES * (long) p));
        }
      }
      if (l < lines) {
        long read = sourceAt + Float.BYTES * (l * lineStride);
        long write = targetAt + Float.BYTES * (long) l;
        for (int p = 0; p < depth; p++) {
          float x = from.get(FLOAT, read + Float.BYTES * (long) p);
          to.set(FLOAT, write + Float.BYTES * ((long) p * width), x);
        }
      }
    }
  }

  /** Not {@link MemorySegment#fill}, which takes a slice: where its type is unknown, an object. */
  private static void zero(MemorySegment target, long at, int floats) {
    MemorySegment to = NativeViews.base(target);
    FloatVector zero = FloatVector.zero(SPECIES);
    int i = 0;
    for (; i <= floats - LANES; i += LANES) {
      zero.intoMemorySegment(to, at + Float.BYTES * (long) i, ORDER);
    }
    for (; i < floats; i++) {
      to.set(FLOAT, at + Float.BYTES * (long) i, 0);
    }
  }

  /**
   * {@code C = alpha * tile + beta * C} for the leading rows and columns of a tile, where column <=
   * row + diagonal.
   */
  private static void update(
      int rows,
      int columns,
      float alpha,
      MemorySegment workspace,
      long tile,
      float beta,
      MemorySegment c,
      long cAt,
      long ldc,
      long diagonal) {
    MemorySegment from = NativeViews.base(workspace);
    MemorySegment to = NativeViews.base(c);
    for (int r = 0; r < rows; r++) {
      int limit = (int) Math.min(columns, r + diagonal + 1);
      long read = tile + Float.BYTES * ((long) r * COLUMNS);
      long write = cAt + Float.BYTES * (r * ldc);
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
   * @param workspace holds the panel of A and the tile
   * @param panel where the packed panel of A is, ROWS floats per step
   * @param bSource holds B
   * @param bAt where B is, COLUMNS floats per step
   * @param bStep floats between the steps of B
   * @param tile where the tile is, ROWS x COLUMNS floats, contiguous
   */
  private static void tile(
      int depth,
      MemorySegment workspace,
      long panel,
      MemorySegment bSource,
      long bAt,
      long bStep,
      long tile) {
    MemorySegment a = NativeViews.base(workspace);
    MemorySegment b = NativeViews.base(bSource);
    // Bounds that the compiler knows spare the loop its checks, as no sum below overflows. The
    // depth
    // had better not be one of them: C2 unrolls a short loop until its registers do not suffice.
    long aFrom = Objects.checkIndex(panel, FAR);
    long bFrom = Objects.checkIndex(bAt, FAR);
    // With few registers a constant stride saves the one that would hold it.
    long bStride = Float.BYTES * (WIDE ? Objects.checkIndex(bStep, FAR_ROWS) : COLUMNS);
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
      long at = aFrom + (long) p * ROWS * Float.BYTES;
      long row = bFrom + p * bStride;
      FloatVector left = FloatVector.fromMemorySegment(SPECIES, b, row, ORDER);
      FloatVector right = FloatVector.fromMemorySegment(SPECIES, b, row + HALF, ORDER);
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
    l0.intoMemorySegment(a, tile, ORDER);
    r0.intoMemorySegment(a, tile + HALF, ORDER);
    l1.intoMemorySegment(a, tile + 2 * HALF, ORDER);
    r1.intoMemorySegment(a, tile + 3 * HALF, ORDER);
    l2.intoMemorySegment(a, tile + 4 * HALF, ORDER);
    r2.intoMemorySegment(a, tile + 5 * HALF, ORDER);
    l3.intoMemorySegment(a, tile + 6 * HALF, ORDER);
    r3.intoMemorySegment(a, tile + 7 * HALF, ORDER);
    l4.intoMemorySegment(a, tile + 8 * HALF, ORDER);
    r4.intoMemorySegment(a, tile + 9 * HALF, ORDER);
    l5.intoMemorySegment(a, tile + 10 * HALF, ORDER);
    r5.intoMemorySegment(a, tile + 11 * HALF, ORDER);
    if (WIDE) {
      l6.intoMemorySegment(a, tile + 12 * HALF, ORDER);
      r6.intoMemorySegment(a, tile + 13 * HALF, ORDER);
      l7.intoMemorySegment(a, tile + 14 * HALF, ORDER);
      r7.intoMemorySegment(a, tile + 15 * HALF, ORDER);
    }
  }
}
