package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.quern.kronecker.SymmetricKernels.TILE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Device;
import org.quern.runtime.NativeViews;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A symmetric d x d matrix S that is updated by vectors and multiplied by vectors, both in one pass
 * over half of it:
 *
 * <pre>{@code
 * S <- p S + c I + q y y'        w = S v
 * }</pre>
 *
 * <p>This is the inner loop of {@link InverseFactor}, and of much else, for which it can be used
 * alone. Recursive least squares with forgetting factor f: {@code w = S x}, then {@code update(1/f,
 * 0, -1/(f (f + x.w)), w)}. An exponential mean of second moments: {@code update(1-a, 0, a, x)}. A
 * symmetric rank-1 or DFP-like quasi-Newton step: one or two updates with {@code p = 1}.
 *
 * <p>S stays symmetric to the bit. Products and sums are in F32; those of more than 64 elements are
 * split into partial sums. S in a 16-bit type is rounded to nearest, ties to even, from F32; what
 * is multiplied is the value as stored. The result is the same for any number of threads; below d =
 * 512 one thread works. NaN and infinity propagate as in the formulas.
 *
 * <p>Nothing is allocated per call on one thread. An instance serves one call at a time; with more
 * threads than one, its memory must be open to them, as that of {@link Arena#ofShared} is.
 */
public final class SymmetricMatrix {
  /** How the elements lie in memory. */
  public enum Layout {
    /**
     * d x d floats, row-major, both triangles; F32 only. The upper triangle is kept as the mirror
     * of the lower and is not read by a product.
     */
    FULL,
    /**
     * The lower triangle of 64 x 64 tiles, those on the diagonal whole: tile (I, J) starts at
     * element {@code (I (I+1) / 2 + J) * 4096}, row-major; zeros beyond d. F32, F16 or BF16.
     */
    TILES
  }

  private static final int V = 0;
  private static final int W = 1;
  private static final int Y = 2;

  private final int d;
  private final Layout layout;
  private final Tensor memory;
  private final SymmetricSweep sweep;

  /**
   * Makes room for {@code terms} rank-1 terms per pass and for vectors of the owner.
   *
   * @param vectors number of vectors of work memory, at least 3
   */
  SymmetricMatrix(
      Arena arena,
      int d,
      Layout layout,
      Tensor memory,
      int terms,
      int vectors,
      int threads,
      @Nullable Tier tier) {
    this.d = d;
    this.layout = layout;
    this.memory = memory;
    Tier chosen = Capabilities.get().choose(InverseFactor.TIERS, tier);
    this.sweep = new SymmetricSweep(arena, d, layout, memory, terms, vectors, threads, chosen);
  }

  /** A zero matrix on the best tier and one thread. */
  public static SymmetricMatrix create(Arena arena, int d, Layout layout, DType type) {
    return create(arena, d, layout, type, 1, null);
  }

  /**
   * A zero matrix.
   *
   * @param arena gives the memory of S and the work memory
   * @param d dimension, at least 1
   * @param layout how the elements lie
   * @param type F32; with {@link Layout#TILES} also F16 or BF16
   * @param threads greatest number of threads, at least 1
   * @param tier the tier to use, or null for the best
   * @throws IllegalArgumentException where an argument is out of its range
   * @throws IllegalStateException where the tier cannot run here
   */
  public static SymmetricMatrix create(
      Arena arena, int d, Layout layout, DType type, int threads, @Nullable Tier tier) {
    check(d, layout, type, threads);
    long[] shape = layout == Layout.FULL ? new long[] {d, d} : new long[] {elements(d, layout)};
    Tensor memory = Tensor.allocate(arena, type, shape);
    return new SymmetricMatrix(arena, d, layout, memory, 1, 3, threads, tier);
  }

  /**
   * The matrix in memory of the caller, which is read and written in place.
   *
   * @param arena gives the work memory
   * @param d dimension, at least 1
   * @param layout how the elements lie
   * @param memory a symmetric d x d matrix of F32 with any row stride for {@link Layout#FULL};
   *     {@link #elements} contiguous elements of F32, F16 or BF16, zeros beyond d, for {@link
   *     Layout#TILES}
   * @param threads greatest number of threads, at least 1
   * @param tier the tier to use, or null for the best
   * @throws IllegalArgumentException where an argument is out of its range
   * @throws IllegalStateException where the tier cannot run here
   */
  public static SymmetricMatrix of(
      Arena arena, int d, Layout layout, Tensor memory, int threads, @Nullable Tier tier) {
    check(d, layout, memory.type(), threads);
    boolean fits =
        layout == Layout.FULL
            ? memory.rank() == 2 && memory.dim(0) == d && memory.dim(1) == d
            : memory.size() == elements(d, layout) && memory.isContiguous();
    if (!fits || !memory.device().equals(Device.CPU)) {
      throw new IllegalArgumentException(
          "memory: expected "
              + (layout == Layout.FULL ? d + " x " + d : elements(d, layout) + " contiguous")
              + " elements on the CPU, got "
              + memory);
    }
    return new SymmetricMatrix(arena, d, layout, memory, 1, 3, threads, tier);
  }

  private static void check(int d, Layout layout, DType type, int threads) {
    if (d < 1) {
      throw new IllegalArgumentException("d: expected at least 1, got " + d);
    }
    boolean half = type == DType.F16 || type == DType.BF16;
    if (type != DType.F32 && (layout == Layout.FULL || !half)) {
      throw new IllegalArgumentException(
          "type: expected F32" + (layout == Layout.FULL ? "" : ", F16 or BF16") + ", got " + type);
    }
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
  }

  /** Elements that a matrix of dimension d takes, the padding of tiles included. */
  public static long elements(int d, Layout layout) {
    if (layout == Layout.FULL) {
      return (long) d * d;
    }
    long blocks = SymmetricSweep.blocks(d);
    return blocks * (blocks + 1) / 2 * TILE * TILE;
  }

  /** The dimension d. */
  public int dimension() {
    return d;
  }

  /** How the elements lie in memory. */
  public Layout layout() {
    return layout;
  }

  /** The elements, in their layout. */
  public Tensor memory() {
    return memory;
  }

  /** The pass over the tiles, and its work memory. */
  SymmetricSweep sweep() {
    return sweep;
  }

  /**
   * {@code w = S v}; d^2 multiply-adds, half the matrix read.
   *
   * @param v d contiguous floats
   * @param w d contiguous floats; may be v
   * @throws IllegalArgumentException where a tensor does not fit
   */
  public void multiply(Tensor v, Tensor w) {
    checkVector("v", v, d);
    checkVector("w", w, d);
    sweep.load(V, v);
    sweep.multiply(V, W);
    sweep.unload(W, w);
  }

  /**
   * {@code S <- p S + c I + q y y'}.
   *
   * @param y d contiguous floats
   * @throws IllegalArgumentException where a scalar is not finite or y does not fit
   */
  public void update(double p, double c, double q, Tensor y) {
    checkVector("y", y, d);
    prepare(p, c, q, y);
    sweep.update(p, c, 1);
  }

  /**
   * {@link #update}, and {@code w = S v} with S after the update, in one pass: half the matrix is
   * read and written once.
   *
   * @param y d contiguous floats
   * @param v d contiguous floats
   * @param w d contiguous floats; may be y or v
   * @throws IllegalArgumentException where a scalar is not finite or a tensor does not fit
   */
  public void updateAndMultiply(double p, double c, double q, Tensor y, Tensor v, Tensor w) {
    checkVector("y", y, d);
    checkVector("v", v, d);
    checkVector("w", w, d);
    prepare(p, c, q, y);
    sweep.load(V, v);
    sweep.updateAndMultiply(p, c, 1, V, W);
    sweep.unload(W, w);
  }

  private void prepare(double p, double c, double q, Tensor y) {
    checkFinite("p", p);
    checkFinite("c", c);
    checkFinite("q", q);
    sweep.load(Y, y);
    for (int i = 0; i < d; i++) {
      long at = sweep.vector(Y) + (long) Float.BYTES * i;
      if (Float.isNaN(sweep.work.get(JAVA_FLOAT, at))) {
        sweep.work.set(JAVA_FLOAT, at, Float.NaN); // without a payload, which rounding could lose
      }
    }
    sweep.term(0, q, Y);
  }

  /** {@code S = a I}. */
  public void setIdentity(double a) {
    checkFinite("a", a);
    for (int i = 0; i < SymmetricSweep.blocks(d); i++) {
      for (int j = 0; j <= i; j++) {
        sweep.clearScratch();
        for (int r = 0; i == j && r < Math.min(TILE, d - i * TILE); r++) {
          set(r, r, (float) a);
        }
        sweep.store(i, j);
      }
    }
  }

  /**
   * Makes S the symmetric matrix in {@code s}, rounded to the type of S. Only the lower triangle is
   * read.
   *
   * @param s d x d of F32 or F64
   */
  public void fromDense(Tensor s) {
    checkDense("s", s, d);
    fromDense(s, 1, 0);
  }

  /** {@code S = a s + b I}, computed in double. */
  void fromDense(Tensor s, double a, double b) {
    for (int i = 0; i < SymmetricSweep.blocks(d); i++) {
      for (int j = 0; j <= i; j++) {
        sweep.clearScratch();
        for (int row = i * TILE; row < Math.min(d, (i + 1) * TILE); row++) {
          for (int column = j * TILE; column < Math.min(d, (j + 1) * TILE); column++) {
            double value = a * element(s, Math.max(row, column), Math.min(row, column));
            set(row % TILE, column % TILE, (float) (row == column ? value + b : value));
          }
        }
        sweep.store(i, j);
      }
    }
  }

  /**
   * Writes S, both triangles.
   *
   * @param out d x d of F32 or F64
   */
  public void toDense(Tensor out) {
    checkDense("out", out, d);
    toDense(out, 1, 0, 0);
  }

  /** Writes {@code p S + c I} and the first terms of the sweep. */
  void toDense(Tensor out, double p, double c, int terms) {
    for (int i = 0; i < SymmetricSweep.blocks(d); i++) {
      for (int j = 0; j <= i; j++) {
        sweep.expand(i, j, p, c, terms);
        for (int row = i * TILE; row < Math.min(d, (i + 1) * TILE); row++) {
          for (int column = j * TILE; column < Math.min(d, (j + 1) * TILE); column++) {
            float value = get(row % TILE, column % TILE);
            setElement(out, row, column, value);
            setElement(out, column, row, value);
          }
        }
      }
    }
  }

  /** Writes the diagonal of {@code p S + c I} and the first terms of the sweep. */
  void diagonal(Tensor out, double p, double c, int terms) {
    for (int i = 0; i < SymmetricSweep.blocks(d); i++) {
      sweep.expand(i, i, p, c, terms);
      for (int row = i * TILE; row < Math.min(d, (i + 1) * TILE); row++) {
        out.memory().setAtIndex(JAVA_FLOAT, row, get(row % TILE, row % TILE));
      }
    }
  }

  /** Greatest absolute value of an element; NaN where one is NaN. */
  public double maxAbs() {
    return maxAbs(1, 0, 0);
  }

  /** As {@link #maxAbs()}, of {@code p S + c I} and the first terms of the sweep. */
  double maxAbs(double p, double c, int terms) {
    int max = 0;
    for (int i = 0; i < SymmetricSweep.blocks(d); i++) {
      for (int j = 0; j <= i; j++) {
        sweep.expand(i, j, p, c, terms);
        long tile = NativeViews.at(sweep.work, sweep.scratch(), (long) TILE * TILE * Float.BYTES);
        max = Math.max(max, sweep.kernels.magnitude(sweep.work, tile, TILE * TILE));
      }
    }
    return Float.intBitsToFloat(max);
  }

  /** Greatest sum of the absolute values of a row. */
  public double infinityNorm() {
    return infinityNorm(1, 0, 0);
  }

  /** As {@link #infinityNorm()}, of {@code p S + c I} and the first terms of the sweep. */
  double infinityNorm(double p, double c, int terms) {
    sweep.rowSums(p, c, terms, V, W);
    return Float.intBitsToFloat(sweep.kernels.magnitude(sweep.work, sweep.at(W), sweep.padded));
  }

  /**
   * Writes rows {@code [from, to)} of S, both triangles, as floats; fast where both are multiples
   * of 64 or d.
   *
   * @param out takes {@code to - from} rows of d floats
   * @param offset where the first row starts, in bytes
   * @param stride floats between the rows, at least d
   */
  void unpackRows(int from, int to, MemorySegment out, long offset, long stride) {
    for (int i = from / TILE; i < Math.ceilDiv(to, TILE); i++) {
      int top = Math.max(from, i * TILE);
      int bottom = Math.min(to, (i + 1) * TILE);
      for (int j = 0; j < SymmetricSweep.blocks(d); j++) {
        int columns = Math.min(TILE, d - j * TILE);
        sweep.expand(Math.max(i, j), Math.min(i, j), 1, 0, 0);
        for (int row = top; row < bottom; row++) {
          long to0 = offset + Float.BYTES * ((row - from) * stride + (long) j * TILE);
          if (j > i) {
            for (int c = 0; c < columns; c++) {
              out.set(JAVA_FLOAT, to0 + (long) Float.BYTES * c, get(c, row % TILE));
            }
          } else {
            long at = sweep.scratch() + row % TILE * (long) TILE * Float.BYTES;
            MemorySegment.copy(sweep.work, at, out, to0, (long) columns * Float.BYTES);
          }
        }
      }
    }
  }

  /** An element of the scratch tile. */
  private float get(int r, int c) {
    return sweep.work.get(JAVA_FLOAT, sweep.scratch() + Float.BYTES * ((long) r * TILE + c));
  }

  private void set(int r, int c, float value) {
    sweep.work.set(JAVA_FLOAT, sweep.scratch() + Float.BYTES * ((long) r * TILE + c), value);
  }

  private static double element(Tensor s, int row, int column) {
    long index = row * s.rowStride() + column;
    return s.type() == DType.F32
        ? s.memory().getAtIndex(JAVA_FLOAT, index)
        : s.memory().getAtIndex(JAVA_DOUBLE, index);
  }

  private static void setElement(Tensor s, int row, int column, float value) {
    long index = row * s.rowStride() + column;
    if (s.type() == DType.F32) {
      s.memory().setAtIndex(JAVA_FLOAT, index, value);
    } else {
      s.memory().setAtIndex(JAVA_DOUBLE, index, value);
    }
  }

  static void checkDense(String name, Tensor dense, int d) {
    if ((dense.type() != DType.F32 && dense.type() != DType.F64)
        || dense.rank() != 2
        || dense.dim(0) != d
        || dense.dim(1) != d
        || !dense.device().equals(Device.CPU)) {
      throw new IllegalArgumentException(
          name + ": expected " + d + " x " + d + " of F32 or F64 on the CPU, got " + dense);
    }
  }

  static void checkVector(String name, Tensor vector, int d) {
    if (vector.type() != DType.F32
        || vector.size() != d
        || !vector.isContiguous()
        || !vector.device().equals(Device.CPU)) {
      throw new IllegalArgumentException(
          name + ": expected " + d + " contiguous elements of F32 on the CPU, got " + vector);
    }
  }

  private static void checkFinite(String name, double value) {
    if (!Double.isFinite(value)) {
      throw new IllegalArgumentException(name + ": expected a finite number, got " + value);
    }
  }
}
