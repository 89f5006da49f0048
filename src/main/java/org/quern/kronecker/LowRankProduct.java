package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * {@code P = L G R} for two factors of low rank, {@code L = I - U C U'} and {@code R = I - V E V'},
 * in two passes over G, o x i; 8 k o i flops for k columns each:
 *
 * <pre>{@code
 * A = U'G,  B = G V      (one pass, with the norms of G)
 * S = A V,  Y = E V',  X = A - S Y
 * P = G - [U C | B] [X ; Y]
 * }</pre>
 *
 * The norm of P follows from k x k matrices, without a pass. X and Y are kept with their signs
 * turned, so that all products add.
 *
 * <p>G is taken in blocks that stay in the second-level cache, copied so that its rows do not lie a
 * power of two apart. Rows are cut into chunks by their number alone, and the sums of chunks are
 * joined in order, so that results do not depend on the number of threads.
 */
final class LowRankProduct {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;
  private static final int GROUP = LowRankKernels.GROUP;
  private static final int PANEL = LowRankKernels.PANEL;
  private static final int TILE = LowRankKernels.TILE;

  /** Bytes of a row of a tile. */
  private static final long LINE = (long) Float.BYTES * TILE;

  /** Bytes of a column of a packed matrix. */
  private static final long PACKED = (long) Float.BYTES * GROUP;

  /** Rows of a block of G: 264 KB. */
  private static final int BLOCK_ROWS = 128;

  private static final int BLOCK_COLUMNS = LowRankKernels.BLOCK_COLUMNS;
  private static final long BLOCK_ROW = LowRankKernels.BLOCK_ROW;
  private static final long BLOCK_BYTES = BLOCK_ROWS * BLOCK_ROW;

  /** Every chunk of rows has an A of its own, so there are not more than this. */
  private static final int MAX_CHUNKS = 16;

  /** Tiles of P that are finished before the next: their [X ; Y] stays in the cache. */
  private static final int APPLY_TILES = 32;

  /** Rows that a thread takes at a time when it writes P. */
  private static final int APPLY_ROWS = 64;

  /** Rows of B whose products are summed in single precision. */
  private static final int GRAM_ROWS = 256;

  /** Below this many elements of G a second thread costs more than it saves. */
  private static final long WORK_PER_THREAD = 1 << 15;

  /**
   * Where P is shorter than G by this much, in squares, the differences of which its norm is made
   * no longer have the digits.
   */
  private static final double CANCELLED = 0x1p-8;

  /** Mean squares of G whose products neither overflow nor vanish in single precision. */
  private static final double LEAST_SQUARE = 1e-28;

  private static final double GREATEST_SQUARE = 1e28;

  private final Arena arena;
  private final LowRankFactor left;
  private final LowRankFactor right;
  private final int o;
  private final int i;
  private final boolean bias;
  private final int threads;
  private final LowRankKernels kernels;

  /** Columns of dW. */
  private final int columns;

  private final int tiles;
  private final int chunkRows;
  private final int chunks;

  private final MemorySegment blocks;
  private final MemorySegment strips;
  private final long stripRow;
  private final MemorySegment small;

  // What depends on the factors alone, for the versions below.
  private long leftVersion = -1;
  private long rightVersion = -1;
  private int leftCapacity;
  private int rightCapacity;

  /** Columns of U and V, rounded up to whole groups. */
  private int kl;

  private int kr;

  /** Tiles that hold the columns of B. */
  private int krTiles;

  /** Minus U, packed as the rows of U'. */
  private MemorySegment uPacked = MemorySegment.NULL;

  private final long uGroup;

  /** The rows of V, in tiles of columns. */
  private MemorySegment vTiles = MemorySegment.NULL;

  private final long vTile;

  /** B, row by row in whole tiles. */
  private MemorySegment b = MemorySegment.NULL;

  private long bRow;

  /** [U C | B], packed. */
  private MemorySegment coefficients = MemorySegment.NULL;

  private long coefficientGroup;

  /** Minus [X ; Y], in tiles of columns. */
  private MemorySegment xy = MemorySegment.NULL;

  private long xyTile;

  /** A of all chunks but the first. */
  private MemorySegment partial = MemorySegment.NULL;

  /** Minus S, row by row in whole tiles, and packed. */
  private MemorySegment s = MemorySegment.NULL;

  private MemorySegment sPacked = MemorySegment.NULL;

  /** db as the first of 8 rows, packed. */
  private final MemorySegment dbPacked;

  /** Pb. */
  private final MemorySegment pBias;

  private MemorySegment bProducts = MemorySegment.NULL;
  private MemorySegment biasColumn = MemorySegment.NULL;
  private LowRankNorm norm = new LowRankNorm(0, 0);

  // The call in progress.
  private MemorySegment dw = MemorySegment.NULL;
  private MemorySegment db = MemorySegment.NULL;
  private long dwRow;
  private int firstRow;
  private int lastRow;
  private float scale;
  private final double[] squares;
  private final double[] dots = new double[16];
  private final Parallel.RangeBody sum = this::sumChunk;
  private final Parallel.RangeBody write = this::writeRows;

  private double gSquareW;
  private double gSquareB;
  private double pSquareW;
  private double pSquareB;

  LowRankProduct(
      Arena arena,
      LowRankFactor left,
      LowRankFactor right,
      boolean bias,
      int threads,
      @Nullable Tier tier) {
    this.arena = arena;
    this.left = left;
    this.right = right;
    this.o = left.dimension();
    this.i = right.dimension();
    this.bias = bias;
    this.threads = threads;
    this.kernels =
        Capabilities.get().choose(InverseFactor.TIERS, tier) == Tier.VECTOR
            ? VectorLowRankKernels.INSTANCE
            : ScalarLowRankKernels.INSTANCE;
    this.columns = bias ? i - 1 : i;
    this.tiles = Math.ceilDiv(i, TILE);
    this.chunkRows = BLOCK_ROWS * Math.ceilDiv(Math.ceilDiv(o, MAX_CHUNKS), BLOCK_ROWS);
    this.chunks = Math.ceilDiv(o, chunkRows);
    this.squares = new double[2 * chunks];
    this.vTile = (long) tiles * TILE * LINE;
    this.uGroup = PACKED * (long) left.panels() * PANEL;
    long padded = PACKED * Math.ceilDiv(o, GROUP);
    this.pBias = arena.allocate(bias ? padded : 1, Tensor.ALIGNMENT);
    this.dbPacked = arena.allocate(bias ? PACKED * o : 1, Tensor.ALIGNMENT);
    this.stripRow = tiles * LINE + Float.BYTES * 16;
    this.blocks = arena.allocate(threads * BLOCK_BYTES, Tensor.ALIGNMENT);
    this.strips = arena.allocate((long) threads * GROUP * stripRow, Tensor.ALIGNMENT);
    this.small = arena.allocate(LowRankKernels.DOTS_BYTES, Tensor.ALIGNMENT);
  }

  /** ||dW||^2 of the last {@link #prepare}; not finite where an element is not. */
  double gSquareW() {
    return gSquareW;
  }

  /** ||db||^2. */
  double gSquareB() {
    return gSquareB;
  }

  /** ||PW||^2. */
  double pSquareW() {
    return pSquareW;
  }

  /** ||Pb||^2. */
  double pSquareB() {
    return pSquareB;
  }

  /** Reads G, and computes what the rows of P need, and the norms. */
  void prepare(Tensor weight, @Nullable Tensor biasGradient) {
    begin(weight, biasGradient);
    refresh();
    int workers = (int) Math.min(threads, Math.max(1, (long) o * i / WORK_PER_THREAD));
    Parallel.forRanges(chunks, 1, workers, sum);
    gSquareW = 0;
    gSquareB = 0;
    for (int chunk = 0; chunk < chunks; chunk++) {
      gSquareW += squares[2 * chunk];
      gSquareB += squares[2 * chunk + 1];
    }
    if (Double.isFinite(gSquareW + gSquareB)) {
      if (kl + kr == 0) {
        pSquareW = gSquareW;
        pSquareB = gSquareB;
      } else {
        join();
        norms();
      }
    }
    end();
  }

  /**
   * Writes rows of P over those of G.
   *
   * @param factor by which P is multiplied
   */
  void apply(Tensor weight, @Nullable Tensor biasGradient, int from, int to, double factor) {
    if (kl + kr == 0) {
      return; // P is G, and the factor 1
    }
    begin(weight, biasGradient);
    firstRow = from;
    lastRow = to;
    scale = (float) factor;
    int rows = to - from;
    int workers = (int) Math.min(threads, Math.max(1, (long) rows * i / WORK_PER_THREAD));
    int count = Math.ceilDiv(to, APPLY_ROWS) - from / APPLY_ROWS;
    Parallel.forRanges(rows == 0 ? 0 : count, 1, workers, write);
    end();
  }

  private void begin(Tensor weight, @Nullable Tensor biasGradient) {
    dw = weight.memory();
    dwRow = Float.BYTES * weight.rowStride();
    db = biasGradient == null ? MemorySegment.NULL : biasGradient.memory();
  }

  private void end() {
    dw = MemorySegment.NULL;
    db = MemorySegment.NULL;
  }

  // What depends on the factors alone.

  private void refresh() {
    if (leftCapacity < left.capacity() || rightCapacity < right.capacity()) {
      allocate();
    }
    boolean leftChanged = leftVersion != left.version();
    boolean rightChanged = rightVersion != right.version();
    if (!leftChanged && !rightChanged) {
      return;
    }
    int leftBefore = kl;
    int rightBefore = kr;
    kl = GROUP * Math.ceilDiv(left.extent(), GROUP);
    kr = GROUP * Math.ceilDiv(right.extent(), GROUP);
    krTiles = Math.ceilDiv(kr, TILE);
    bRow = krTiles * LINE;
    coefficientGroup = PACKED * (kl + kr);
    xyTile = (kl + kr) * LINE;
    boolean moved = kl != leftBefore || kr != rightBefore;
    norm.resize(kl, kr);
    if (leftChanged || moved) {
      refreshLeft();
    }
    if (rightChanged || moved) {
      refreshRight();
    }
    leftVersion = left.version();
    rightVersion = right.version();
  }

  private void allocate() {
    leftCapacity = left.capacity();
    rightCapacity = right.capacity();
    int l = GROUP * Math.ceilDiv(leftCapacity, GROUP);
    int r = TILE * Math.ceilDiv(rightCapacity, TILE);
    uPacked = arena.allocate((long) l / GROUP * uGroup, Tensor.ALIGNMENT);
    vTiles = arena.allocate((long) r / TILE * vTile, Tensor.ALIGNMENT);
    long groups = Math.ceilDiv(o, GROUP);
    b = arena.allocate(groups * GROUP * r * Float.BYTES, Tensor.ALIGNMENT);
    coefficients = arena.allocate(groups * PACKED * (l + r), Tensor.ALIGNMENT);
    xy = arena.allocate((long) tiles * (l + r) * LINE, Tensor.ALIGNMENT);
    partial = arena.allocate(Math.max(1, (chunks - 1L) * tiles * l * LINE), Tensor.ALIGNMENT);
    s = arena.allocate((long) Float.BYTES * l * r, Tensor.ALIGNMENT);
    sPacked = arena.allocate((long) Float.BYTES * l * r, Tensor.ALIGNMENT);
    bProducts = arena.allocate((long) Float.BYTES * r * r, Tensor.ALIGNMENT);
    biasColumn = arena.allocate((long) Float.BYTES * (l + r), Tensor.ALIGNMENT);
    norm = new LowRankNorm(l, r);
    leftVersion = -1;
    rightVersion = -1;
  }

  /** Where column j of a factor starts in its first panel. */
  private static long columnAt(LowRankFactor factor, int j) {
    return (long) j / GROUP * factor.panels() * LowRankKernels.PANEL_BYTES
        + j % GROUP * LowRankKernels.COLUMN_BYTES;
  }

  private void refreshLeft() {
    MemorySegment u = left.columns();
    for (int j = 0; j < kl; j++) {
      double weight = left.weight(j);
      norm.leftWeights[j] = weight;
      long from = columnAt(left, j);
      long to = j / GROUP * uGroup + (long) Float.BYTES * (j % GROUP);
      for (int r = 0; r < o; r++) {
        long panel = r / PANEL * LowRankKernels.PANEL_BYTES;
        float x = u.get(FLOAT, from + panel + (long) Float.BYTES * (r % PANEL));
        uPacked.set(FLOAT, to + r * PACKED, -x);
        long coefficient = r / GROUP * coefficientGroup + j * PACKED;
        coefficients.set(
            FLOAT, coefficient + (long) Float.BYTES * (r % GROUP), (float) (weight * x));
      }
    }
    gram(
        kl,
        u,
        0,
        left.panels(),
        PANEL,
        LowRankKernels.COLUMN_BYTES,
        left.panels() * LowRankKernels.PANEL_BYTES,
        LowRankKernels.PANEL_BYTES,
        norm.uu);
  }

  private void refreshRight() {
    MemorySegment v = right.columns();
    for (int m = 0; m < krTiles * TILE; m++) {
      long column = (long) m / TILE * vTile + (long) Float.BYTES * (m % TILE);
      if (m >= kr) {
        for (int r = 0; r < tiles * TILE; r++) {
          vTiles.set(FLOAT, column + r * LINE, 0);
        }
        continue;
      }
      norm.rightWeights[m] = right.weight(m);
      float weight = (float) -right.weight(m);
      for (int p = 0; p < right.panels(); p++) {
        long panel = columnAt(right, m) + p * LowRankKernels.PANEL_BYTES;
        long to = p / 2 * xyTile + (kl + m) * LINE + p % 2 * LowRankKernels.COLUMN_BYTES;
        kernels.scale(PANEL, weight, v, panel, xy, to);
        for (int r = 0; r < PANEL; r++) {
          float x = v.get(FLOAT, panel + (long) Float.BYTES * r);
          vTiles.set(FLOAT, column + (p * PANEL + r) * LINE, x);
        }
      }
      long last = column + (i - 1) * LINE;
      norm.vBias[m] = bias ? vTiles.get(FLOAT, last) : 0;
    }
    weightGram(kl, kr, norm.yy);
  }

  // The first pass over G.

  private void sumChunk(long chunk, long end, int worker) {
    int from = Math.toIntExact(chunk) * chunkRows;
    int to = Math.min(o, from + chunkRows);
    MemorySegment a = chunk == 0 ? xy : partial;
    long aTile = chunk == 0 ? xyTile : kl * LINE;
    long aAt = chunk == 0 ? 0 : (chunk - 1) * tiles * aTile;
    kernels.clear(tiles, kl * TILE, a, aAt, aTile);
    int groups = Math.ceilDiv(to - from, GROUP);
    kernels.clear(GROUP * groups, krTiles * TILE, b, from * bRow, bRow);
    double sumW = 0;
    double sumB = 0;
    for (int column = 0; column < i; column += BLOCK_COLUMNS) {
      int width = Math.min(BLOCK_COLUMNS, i - column);
      for (int row = from; row < to; row += BLOCK_ROWS) {
        int rows = Math.min(BLOCK_ROWS, to - row);
        sumW += load(row, rows, column, width, worker);
        if (bias && column + width == i) {
          sumB += loadBias(row, rows, width - 1, worker);
        }
        multiplyBlock(row, rows, column, width, worker, a, aAt, aTile);
      }
    }
    long packed = from / GROUP * coefficientGroup + kl * PACKED;
    kernels.pack(groups, kr, b, from * bRow, bRow, coefficients, packed, coefficientGroup);
    squares[2 * (int) chunk] = sumW;
    squares[2 * (int) chunk + 1] = sumB;
  }

  /** Copies a block of dW, and gives the sum of its squares. */
  private double load(int row, int rows, int column, int width, int worker) {
    long block = worker * BLOCK_BYTES;
    int weights = Math.min(width, columns - column);
    int padded = TILE * Math.ceilDiv(width, TILE);
    if (weights < padded) {
      long at = block + (long) Float.BYTES * weights;
      kernels.clear(rows, padded - weights, blocks, at, BLOCK_ROW);
    }
    long at = row * dwRow + (long) Float.BYTES * column;
    double sum = kernels.copyRows(rows, weights, dw, at, dwRow, blocks, block, BLOCK_ROW);
    double least = LEAST_SQUARE * rows * weights;
    double greatest = GREATEST_SQUARE * rows * weights;
    if (!(sum >= least && sum <= greatest)) {
      // Squares have overflowed or vanished, or there is a NaN: again in double.
      sum = 0;
      for (int r = 0; r < rows; r++) {
        sum += square(weights, blocks, block + r * BLOCK_ROW);
      }
    }
    return sum;
  }

  private double loadBias(int row, int rows, int column, int worker) {
    double sum = 0;
    long block = worker * BLOCK_BYTES + (long) Float.BYTES * column;
    for (int r = 0; r < rows; r++) {
      float x = db.get(FLOAT, Float.BYTES * ((long) row + r));
      blocks.set(FLOAT, block + r * BLOCK_ROW, x);
      sum += (double) x * x;
    }
    return sum;
  }

  private static double square(int n, MemorySegment x, long at) {
    return ScalarLowRankKernels.INSTANCE.dot(n, x, at, x, at);
  }

  /** Adds what a block contributes to B, and to A. */
  private void multiplyBlock(
      int row, int rows, int column, int width, int worker, MemorySegment a, long aAt, long aTile) {
    long block = worker * BLOCK_BYTES;
    kernels.multiplyAddBlock(
        Math.ceilDiv(rows, GROUP),
        krTiles,
        width,
        blocks,
        block,
        vTiles,
        column * LINE,
        LINE,
        vTile,
        b,
        row * bRow,
        bRow,
        LINE);
    kernels.multiplyAdd(
        kl / GROUP,
        Math.ceilDiv(width, TILE),
        rows,
        uPacked,
        row * PACKED,
        uGroup,
        PACKED,
        blocks,
        block,
        BLOCK_ROW,
        LINE,
        a,
        aAt + column / TILE * aTile,
        LINE,
        aTile,
        1);
  }

  // Between the passes.

  /** A of all rows, then S and X. */
  private void join() {
    long aTile = kl * LINE;
    for (int chunk = 1; chunk < chunks; chunk++) {
      for (int t = 0; t < tiles; t++) {
        long at = ((chunk - 1L) * tiles + t) * aTile;
        kernels.add(kl * TILE, partial, at, xy, t * xyTile);
      }
    }
    for (int j = 0; bias && j < kl; j++) {
      norm.aBias[j] = xy.get(FLOAT, biasAt() + j * LINE);
    }
    // U'B is A V.
    kernels.clear(kl, krTiles * TILE, s, 0, bRow);
    kernels.multiplyAdd(
        kl / GROUP, krTiles, o, uPacked, 0, uGroup, PACKED, b, 0, bRow, LINE, s, 0, bRow, LINE, 1);
    long sGroup = PACKED * kr;
    kernels.pack(kl / GROUP, kr, s, 0, bRow, sPacked, 0, sGroup);
    kernels.multiplyAdd(
        kl / GROUP,
        tiles,
        kr,
        sPacked,
        0,
        sGroup,
        PACKED,
        xy,
        kl * LINE,
        LINE,
        xyTile,
        xy,
        0,
        LINE,
        xyTile,
        1);
  }

  private void norms() {
    pSquareB = bias ? biasSquare() : 0;
    double mean = gSquareW / Math.max(1, (long) o * columns);
    if (mean >= LEAST_SQUARE && mean <= GREATEST_SQUARE) {
      for (int j = 0; j < kl; j++) {
        for (int m = 0; m < kr; m++) {
          norm.s[j * kr + m] = s.get(FLOAT, j * bRow + (long) Float.BYTES * m);
        }
      }
      weightGram(0, kl, norm.xx);
      bGram();
      pSquareW = norm.square(gSquareW);
      if (pSquareW >= CANCELLED * norm.magnitude()) {
        return;
      }
    }
    pSquareW = explicitSquare();
  }

  /** Products of columns of B with one another, and with db. */
  private void bGram() {
    Arrays.fill(norm.bb, 0, kr * kr, 0);
    Arrays.fill(norm.bBias, 0, kr, 0);
    for (int r = 0; bias && r < o; r++) {
      dbPacked.set(FLOAT, r * PACKED, db.get(FLOAT, (long) Float.BYTES * r));
    }
    for (int from = 0; from < o && kr > 0; from += GRAM_ROWS) {
      int rows = Math.min(GRAM_ROWS, o - from);
      bMultiply(kr / GROUP, from, rows, b, from * bRow, PACKED, bRow);
      for (int m = 0; m < kr; m++) {
        for (int n = 0; n < kr; n++) {
          norm.bb[m * kr + n] += bProducts.get(FLOAT, m * bRow + (long) Float.BYTES * n);
        }
      }
      if (bias) {
        bMultiply(1, from, rows, dbPacked, from * PACKED, 0, PACKED);
        for (int m = 0; m < kr; m++) {
          norm.bBias[m] += bProducts.get(FLOAT, (long) Float.BYTES * m);
        }
      }
    }
  }

  private void bMultiply(
      int groups, int from, int rows, MemorySegment a, long aAt, long aGroup, long aStep) {
    kernels.clear(GROUP * groups, krTiles * TILE, bProducts, 0, bRow);
    kernels.multiplyAdd(
        groups,
        krTiles,
        rows,
        a,
        aAt,
        aGroup,
        aStep,
        b,
        from * bRow,
        bRow,
        LINE,
        bProducts,
        0,
        bRow,
        LINE,
        1);
  }

  /** Where the element of the bias is in the first row of [X ; Y]. */
  private long biasAt() {
    return columns / TILE * xyTile + (long) Float.BYTES * (columns % TILE);
  }

  /** The column of the bias as a row. */
  private void takeBiasColumn() {
    for (int j = 0; j < kl + kr; j++) {
      biasColumn.set(FLOAT, (long) Float.BYTES * j, xy.get(FLOAT, biasAt() + j * LINE));
    }
  }

  /** ||Pb||^2, whose elements are computed as {@link #apply} does it. */
  private double biasSquare() {
    takeBiasColumn();
    int groups = Math.ceilDiv(o, GROUP);
    kernels.scale(o, 1, db, 0, pBias, 0);
    kernels.multiplyAddColumn(
        groups, kl + kr, coefficients, 0, coefficientGroup, biasColumn, 0, pBias, 0);
    return square(o, pBias, 0);
  }

  /** ||PW||^2 from its elements as {@link #apply} computes them. */
  private double explicitSquare() {
    double sum = 0;
    for (int row = 0; row < o; row += GROUP) {
      int rows = Math.min(GROUP, o - row);
      readStrip(row, rows, 0, 0);
      multiplyRows(1, tiles, row, 0, strips, 0, stripRow, LINE, 1);
      for (int r = 0; r < rows; r++) {
        sum += square(columns, strips, r * stripRow);
      }
    }
    return sum;
  }

  /** Products of rows of [X ; Y] with one another, without the column of the bias. */
  private void weightGram(int first, int rows, double[] out) {
    if (bias) {
      takeBiasColumn();
      for (int j = first; j < first + rows; j++) {
        xy.set(FLOAT, biasAt() + j * LINE, 0);
      }
    }
    gram(rows, xy, first * LINE, tiles, TILE, LINE, GROUP * LINE, xyTile, out);
    for (int j = first; bias && j < first + rows; j++) {
      xy.set(FLOAT, biasAt() + j * LINE, biasColumn.get(FLOAT, (long) Float.BYTES * j));
    }
  }

  /** Products of n rows with one another, a multiple of 8. */
  private void gram(
      int n,
      MemorySegment memory,
      long start,
      int pieces,
      int length,
      long row,
      long group,
      long step,
      double[] out) {
    for (int x = 0; x < n; x += 4) {
      for (int y = 0; y <= x; y += 4) {
        long xAt = start + x / GROUP * group + x % GROUP * row;
        long yAt = start + y / GROUP * group + y % GROUP * row;
        kernels.dots(pieces, length, memory, xAt, yAt, row, step, small, 0, dots);
        for (int r = 0; r < 4; r++) {
          for (int c = 0; c < 4; c++) {
            out[(x + r) * n + y + c] = dots[4 * r + c];
            out[(y + c) * n + x + r] = dots[4 * r + c];
          }
        }
      }
    }
  }

  // The second pass over G.

  /** Chunks begin at multiples of their length, so that whole groups of rows lie in one. */
  private void writeRows(long chunk, long end, int worker) {
    int start = (firstRow / APPLY_ROWS + Math.toIntExact(chunk)) * APPLY_ROWS;
    int from = Math.max(firstRow, start);
    int to = Math.min(lastRow, start + APPLY_ROWS);
    long strip = (long) worker * GROUP * stripRow;
    int first = Math.min(to, GROUP * Math.ceilDiv(from, GROUP));
    int last = Math.max(first, GROUP * (to / GROUP));
    if (from < first) {
      writeStrip(from, first - from, 0, strip);
    }
    int whole = columns / TILE;
    int groups = (last - first) / GROUP;
    for (int t = 0; t < whole; t += APPLY_TILES) {
      int count = Math.min(APPLY_TILES, whole - t);
      multiplyRows(groups, count, first, t, dw, first * dwRow + t * LINE, dwRow, LINE, scale);
    }
    if (bias && columns % TILE == 0) {
      // A tile for one column would cost as much as one for 32.
      kernels.multiplyAddColumn(
          groups,
          kl + kr,
          coefficients,
          first / GROUP * coefficientGroup,
          coefficientGroup,
          biasColumn,
          0,
          db,
          (long) Float.BYTES * first);
      kernels.scale(
          last - first, scale, db, (long) Float.BYTES * first, db, (long) Float.BYTES * first);
    } else if (whole < tiles) {
      for (int row = first; row < last; row += GROUP) {
        writeStrip(row, GROUP, whole, strip);
      }
    }
    if (last < to) {
      writeStrip(last, to - last, 0, strip);
    }
  }

  /** Copies rows of G within a group to their places in a strip of eight, from a tile on. */
  private void readStrip(int row, int rows, int firstTile, long strip) {
    int first = firstTile * TILE;
    int width = columns - first;
    for (int r = 0; r < rows; r++) {
      long to = strip + (row + r) % GROUP * stripRow;
      kernels.scale(width, 1, dw, (row + r) * dwRow + (long) Float.BYTES * first, strips, to);
      if (bias) {
        float x = db.get(FLOAT, Float.BYTES * ((long) row + r));
        strips.set(FLOAT, to + (long) Float.BYTES * width, x);
      }
    }
  }

  /** Writes rows within a group, from a tile on, through memory that has whole tiles. */
  private void writeStrip(int row, int rows, int firstTile, long strip) {
    readStrip(row, rows, firstTile, strip);
    multiplyRows(1, tiles - firstTile, row, firstTile, strips, strip, stripRow, LINE, scale);
    int first = firstTile * TILE;
    int width = columns - first;
    for (int r = 0; r < rows; r++) {
      long from = strip + (row + r) % GROUP * stripRow;
      kernels.scale(width, 1, strips, from, dw, (row + r) * dwRow + (long) Float.BYTES * first);
      if (bias) {
        float x = strips.get(FLOAT, from + (long) Float.BYTES * width);
        db.set(FLOAT, Float.BYTES * ((long) row + r), x);
      }
    }
  }

  /** Turns groups of rows of G, from that of a row and from a tile on, into those of P. */
  private void multiplyRows(
      int groups,
      int count,
      int row,
      int tile,
      MemorySegment c,
      long cAt,
      long cRow,
      long cTile,
      float factor) {
    kernels.multiplyAdd(
        groups,
        count,
        kl + kr,
        coefficients,
        row / GROUP * coefficientGroup,
        coefficientGroup,
        PACKED,
        xy,
        tile * xyTile,
        LINE,
        xyTile,
        c,
        cAt,
        cRow,
        cTile,
        factor);
  }
}
