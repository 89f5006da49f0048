package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.quern.kronecker.SymmetricKernels.TILE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import org.quern.runtime.NativeViews;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * One pass over the tiles of a symmetric matrix S in place:
 *
 * <pre>{@code
 * S <- p S + c I + sum over t of weight_t y_t y_t'   and   w = S v
 * }</pre>
 *
 * Rows of tiles are split into groups of equal area by the dimension alone; every group sums into a
 * vector of its own, and the vectors are added in order, so that the result does not depend on the
 * number of threads. Tiles of a 16-bit type, and those at the edge of a full matrix, are worked on
 * in a scratch tile of floats; what is multiplied is the value as stored.
 *
 * <p>Holds all work memory: a number of vectors of whole tiles, zero beyond d, numbered from 0, and
 * the terms. Nothing is allocated per pass.
 */
final class SymmetricSweep {
  /** Below this dimension one group does all. */
  private static final int SPLIT_FROM = 512;

  private static final int MOST_GROUPS = 16;
  private static final int BLOCKS_PER_GROUP = 4;
  private static final long TILE_FLOATS = (long) TILE * TILE;
  private static final long TILE_BYTES = Float.BYTES * TILE_FLOATS;

  final SymmetricKernels kernels;
  final Tier tier;

  /** The vectors, the terms, and the memory of the groups. */
  final MemorySegment work;

  /** The dimension in whole tiles. */
  final int padded;

  private final int d;
  private final int blocks;
  private final SymmetricMatrix.Layout layout;
  private final Tensor matrix;
  private final int threads;
  private final int groups;
  private final Parallel.RangeBody body = (from, to, worker) -> sweep((int) from);

  private final long vectorBytes;
  private final long plain;
  private final long signed;
  private final long zeros;
  private final long group;
  private final long groupBytes;
  private final long partials;
  private final long scratch;

  // The pass under way.
  private double p;
  private double c;
  private int terms;
  private boolean update;
  private boolean multiply;
  private int v;

  SymmetricSweep(
      Arena arena,
      int d,
      SymmetricMatrix.Layout layout,
      Tensor matrix,
      int terms,
      int vectors,
      int threads,
      Tier tier) {
    this.d = d;
    this.blocks = blocks(d);
    this.padded = blocks * TILE;
    this.layout = layout;
    this.matrix = matrix;
    this.threads = threads;
    this.tier = tier;
    this.kernels =
        tier == Tier.VECTOR ? VectorSymmetricKernels.INSTANCE : ScalarSymmetricKernels.INSTANCE;
    this.groups = groups(d);
    this.vectorBytes = (long) padded * Float.BYTES;
    this.plain = vectors * vectorBytes;
    this.signed = plain + terms * vectorBytes;
    this.zeros = signed + terms * vectorBytes;
    this.group = zeros + (long) TILE * Float.BYTES;
    this.partials = (long) padded * Double.BYTES;
    this.scratch = partials + (long) TILE * Tensor.ALIGNMENT;
    this.groupBytes = scratch + TILE_BYTES;
    this.work = arena.allocate(group + groups * groupBytes, Tensor.ALIGNMENT);
  }

  static int blocks(int d) {
    return Math.ceilDiv(d, TILE);
  }

  private static int groups(int d) {
    return d < SPLIT_FROM ? 1 : Math.min(MOST_GROUPS, blocks(d) / BLOCKS_PER_GROUP);
  }

  /** Bytes of work memory. */
  static long workBytes(int d, int terms, int vectors) {
    long vector = (long) blocks(d) * TILE * Float.BYTES;
    long perGroup = 2 * vector + (long) TILE * Tensor.ALIGNMENT + TILE_BYTES;
    return (vectors + 2L * terms) * vector + (long) TILE * Float.BYTES + groups(d) * perGroup;
  }

  /** Where vector i is in {@link #work}. */
  long vector(int i) {
    return i * vectorBytes;
  }

  /** Where vector i is in {@link NativeViews#base} of {@link #work}. */
  long at(int i) {
    return NativeViews.at(work, vector(i), vectorBytes);
  }

  /**
   * {@code x.y} of two vectors at their places in {@link NativeViews#base}; uses {@link #scratch}.
   */
  double dot(long x, long y) {
    return kernels.dot(work, x, y, padded, NativeViews.at(work, scratch(), Tensor.ALIGNMENT));
  }

  /** Copies d contiguous floats into vector i. */
  void load(int i, Tensor from) {
    MemorySegment.copy(from.hostMemory(), 0, work, vector(i), (long) d * Float.BYTES);
  }

  /** Copies vector i into d contiguous floats. */
  void unload(int i, Tensor to) {
    MemorySegment.copy(work, vector(i), to.hostMemory(), 0, (long) d * Float.BYTES);
  }

  /**
   * Makes {@code weight y y'} a term, as z z' with z = sqrt(|weight|) y, so that neither a large
   * weight nor a large y overflows where their product does not.
   *
   * @param t number of the term
   * @param y number of the vector
   */
  void term(int t, double weight, int y) {
    long from = at(y);
    long shift = t * vectorBytes;
    long z = NativeViews.at(work, plain + shift, vectorBytes);
    float root = (float) Math.sqrt(Math.abs(weight));
    kernels.scale(work, root, from, z, padded);
    long zs = NativeViews.at(work, signed + shift, vectorBytes);
    kernels.scale(work, weight < 0 ? -1 : 1, z, zs, padded);
  }

  /** Updates S with the first {@code terms} terms. */
  void update(double p, double c, int terms) {
    begin(p, c, terms);
    update = true;
    multiply = false;
    run();
  }

  /** {@code w = S v} for the vectors of these numbers. */
  void multiply(int v, int w) {
    update = false;
    multiply = true;
    this.v = v;
    run();
    gather(w);
  }

  /** Both in one pass: S is updated, and what is stored is multiplied. */
  void updateAndMultiply(double p, double c, int terms, int v, int w) {
    begin(p, c, terms);
    update = true;
    multiply = true;
    this.v = v;
    run();
    gather(w);
  }

  private void begin(double p, double c, int terms) {
    this.p = p;
    this.c = c;
    this.terms = terms;
  }

  private void run() {
    try {
      Parallel.forRanges(groups, 1, threads, body);
    } finally {
      Reference.reachabilityFence(matrix);
      Reference.reachabilityFence(work);
    }
  }

  private void gather(int w) {
    long sums = NativeViews.at(work, group, groups * groupBytes);
    kernels.gather(work, sums, groupBytes, groups, at(w), padded);
    // Columns of the padding hold zero, unless v is not finite.
    for (int i = d; i < padded; i++) {
      work.set(JAVA_FLOAT, vector(w) + (long) i * Float.BYTES, 0);
    }
  }

  /** Where the rows of tiles of a group begin: equal areas below the diagonal. */
  private int boundary(int g) {
    return g == groups ? blocks : (int) Math.round(blocks * Math.sqrt((double) g / groups));
  }

  private void sweep(int g) {
    long own = group + g * groupBytes;
    long base = NativeViews.at(work, 0, work.byteSize());
    if (multiply) {
      kernels.clear(work, base + own, (int) (scratch / Float.BYTES));
    }
    for (int i = boundary(g); i < boundary(g + 1); i++) {
      if (inPlace(i)) {
        rowInPlace(i, base, own);
      } else {
        rowInScratch(i, base, own);
      }
      if (multiply) {
        kernels.fold(work, base + own + partials, base + own + sum(i));
      }
    }
  }

  /** True where the kernels can do all that is to be done where the tiles are. */
  private boolean inPlace(int i) {
    if (matrix.type() == DType.F32) {
      return layout == SymmetricMatrix.Layout.TILES || (i + 1) * TILE <= d;
    }
    return kernels.takes(matrix.type())
        && multiply
        && (!update || (p == 1 && c == 0 && terms == 1));
  }

  private void rowInPlace(int i, long base, long own) {
    MemorySegment memory = matrix.memory();
    boolean full = layout == SymmetricMatrix.Layout.FULL;
    long stride = stride();
    long step = full ? TILE : TILE_FLOATS;
    int width = matrix.type().bytes();
    long bytes = width * (full ? (TILE - 1) * stride + (i + 1L) * TILE : (i + 1) * step);
    long at = NativeViews.at(memory, offset(i, 0), bytes);
    long diagonal = at + (long) width * i * step;
    if (!update) {
      multiply(i, 0, i, matrix.type(), memory, at, stride, step, base, own);
      multiply(i, i, 1, matrix.type(), memory, diagonal, stride, step, base, own);
    } else if (!multiply) {
      update(i, 0, i + 1, memory, at, stride, step, base);
    } else if (p == 1 && terms == 1) {
      addToDiagonal(i, memory, diagonal, stride);
      addAndMultiply(i, 0, i, matrix.type(), memory, at, stride, step, base, own);
      addAndMultiply(i, i, 1, matrix.type(), memory, diagonal, stride, step, base, own);
    } else {
      // Tile by tile, so that what was updated is still near when it is multiplied.
      for (int j = 0; j <= i; j++) {
        long tile = at + (long) width * j * step;
        update(i, j, 1, memory, tile, stride, step, base);
        multiply(i, j, 1, matrix.type(), memory, tile, stride, step, base, own);
      }
    }
    if (full && update) {
      for (int j = 0; j < i; j++) {
        long mirror = NativeViews.at(memory, offset(j, i), bytes - (long) width * i * step);
        update(j, i, 1, memory, mirror, stride, step, base);
      }
    }
  }

  private void rowInScratch(int i, long base, long own) {
    long at = base + own + scratch;
    for (int j = 0; j <= i; j++) {
      load(i, j, own + scratch);
      if (update) {
        update(i, j, 1, work, at, TILE, 0, base);
        store(i, j, own + scratch);
        if (multiply && matrix.type() != DType.F32) {
          load(i, j, own + scratch);
        }
      }
      if (multiply) {
        multiply(i, j, 1, DType.F32, work, at, TILE, 0, base, own);
      }
    }
  }

  /** Updates the tiles (i, j) to (i, j + count - 1). */
  private void update(
      int i, int j, int count, MemorySegment memory, long at, long stride, long step, long base) {
    long diagonal = at + (long) Float.BYTES * (i - j) * step;
    boolean onDiagonal = j <= i && i < j + count;
    if (onDiagonal && p == 1) {
      addToDiagonal(i, memory, diagonal, stride);
    }
    kernels.update(
        memory,
        at,
        stride,
        step,
        count,
        p,
        terms,
        work,
        base + signed + part(i),
        base + plain + part(j),
        vectorBytes);
    if (onDiagonal && p != 1) {
      addToDiagonal(i, memory, diagonal, stride);
    }
  }

  /** Multiplies the tiles (i, j) to (i, j + count - 1), which are one or not on the diagonal. */
  private void multiply(
      int i,
      int j,
      int count,
      DType type,
      MemorySegment memory,
      long at,
      long stride,
      long step,
      long base,
      long own) {
    kernels.multiply(
        type,
        memory,
        at,
        stride,
        step,
        count,
        work,
        rows(i, j, base),
        base + vector(v) + part(j),
        base + own + sum(j),
        base + own + partials);
  }

  private void addAndMultiply(
      int i,
      int j,
      int count,
      DType type,
      MemorySegment memory,
      long at,
      long stride,
      long step,
      long base,
      long own) {
    kernels.addAndMultiply(
        type,
        memory,
        at,
        stride,
        step,
        count,
        work,
        base + signed + part(i),
        base + plain + part(j),
        rows(i, j, base),
        base + vector(v) + part(j),
        base + own + sum(j),
        base + own + partials);
  }

  /** Adds c to the diagonal. Where p = 1 this comes first, so that one pass can do all the rest. */
  private void addToDiagonal(int i, MemorySegment memory, long at, long stride) {
    if (c == 0) {
      return;
    }
    MemorySegment t = NativeViews.base(memory);
    int rows = Math.min(TILE, d - i * TILE);
    for (int r = 0; r < rows; r++) {
      long element = at + Float.BYTES * (r * stride + r);
      t.set(JAVA_FLOAT, element, t.get(JAVA_FLOAT, element) + (float) c);
    }
  }

  /** Where the rows' part of v is; zeros for a tile on the diagonal, which has both triangles. */
  private long rows(int i, int j, long base) {
    return base + (i == j ? zeros : vector(v) + part(i));
  }

  /** Where the part of a tile's rows or columns begins in the sums. */
  private long sum(int i) {
    return (long) i * TILE * kernels.sumBytes();
  }

  /** Where the part of a tile's rows or columns begins in a vector. */
  private static long part(int i) {
    return (long) i * TILE * Float.BYTES;
  }

  /**
   * Writes tile (i, j), i &ge; j, of {@code p S + c I + the first terms} to the scratch tile; what
   * lies beyond d has no meaning.
   */
  void expand(int i, int j, double p, double c, int terms) {
    begin(p, c, terms);
    load(i, j, scratch());
    if (p != 1 || c != 0 || terms != 0) {
      long base = NativeViews.at(work, 0, work.byteSize());
      update(i, j, 1, work, base + scratch(), TILE, 0, base);
    }
  }

  /**
   * Sums the absolute values of each row of {@code p S + c I + the first terms}: the product of
   * their matrix with ones.
   *
   * @param ones number of a vector, which becomes ones
   * @param sums number of the vector that takes the sums
   */
  void rowSums(double p, double c, int terms, int ones, int sums) {
    for (int r = 0; r < d; r++) {
      work.set(JAVA_FLOAT, vector(ones) + (long) r * Float.BYTES, 1);
    }
    v = ones;
    long base = NativeViews.at(work, 0, work.byteSize());
    kernels.clear(work, base + group, (int) (scratch / Float.BYTES));
    for (int i = 0; i < blocks; i++) {
      for (int j = 0; j <= i; j++) {
        expand(i, j, p, c, terms);
        kernels.absolute(work, base + scratch(), (int) TILE_FLOATS);
        multiply(i, j, 1, DType.F32, work, base + scratch(), TILE, 0, base, group);
      }
      kernels.fold(work, base + group + partials, base + group + sum(i));
    }
    kernels.gather(work, base + group, groupBytes, 1, at(sums), padded);
  }

  /** Rounds the scratch tile to the type of S and makes it tile (i, j), i &ge; j. */
  void store(int i, int j) {
    store(i, j, scratch());
  }

  /** Where in {@link #work} the scratch tile is, TILE x TILE floats. */
  long scratch() {
    return group + scratch;
  }

  /** Zeroes the scratch tile. */
  void clearScratch() {
    kernels.clear(work, NativeViews.at(work, scratch(), TILE_BYTES), (int) TILE_FLOATS);
  }

  /** Floats between the rows of a tile in place. */
  private long stride() {
    return layout == SymmetricMatrix.Layout.FULL ? matrix.rowStride() : TILE;
  }

  /** Where a tile is in the memory of S. */
  private long offset(int i, int j) {
    long elements =
        layout == SymmetricMatrix.Layout.FULL
            ? (long) i * TILE * matrix.rowStride() + (long) j * TILE
            : ((long) i * (i + 1) / 2 + j) * TILE_FLOATS;
    return elements * matrix.type().bytes();
  }

  private void load(int i, int j, long to) {
    MemorySegment memory = matrix.memory();
    if (layout == SymmetricMatrix.Layout.TILES) {
      DType type = matrix.type();
      Conversions.toFloat(tier, memory, offset(i, j), type, work, to, (int) TILE_FLOATS);
      return;
    }
    int rows = Math.min(TILE, d - i * TILE);
    long row = Math.min(TILE, d - j * TILE) * (long) Float.BYTES;
    kernels.clear(work, NativeViews.at(work, to, TILE_BYTES), (int) TILE_FLOATS);
    for (int r = 0; r < rows; r++) {
      long from = offset(i, j) + Float.BYTES * (r * stride());
      MemorySegment.copy(memory, from, work, to + r * (long) TILE * Float.BYTES, row);
    }
  }

  private void store(int i, int j, long from) {
    MemorySegment memory = matrix.memory();
    if (layout == SymmetricMatrix.Layout.TILES) {
      DType type = matrix.type();
      Conversions.fromFloat(tier, work, from, memory, offset(i, j), type, (int) TILE_FLOATS);
      return;
    }
    int rows = Math.min(TILE, d - i * TILE);
    int columns = Math.min(TILE, d - j * TILE);
    for (int r = 0; r < rows; r++) {
      for (int k = 0; k < columns; k++) {
        float value = work.get(JAVA_FLOAT, from + Float.BYTES * ((long) r * TILE + k));
        memory.set(JAVA_FLOAT, offset(i, j) + Float.BYTES * (r * stride() + k), value);
        memory.set(JAVA_FLOAT, offset(j, i) + Float.BYTES * (k * stride() + r), value);
      }
    }
  }
}
