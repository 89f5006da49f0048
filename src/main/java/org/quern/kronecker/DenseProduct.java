package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * {@code P = (L G) R} for factors of which one at least keeps a full matrix, by dense products; 2 o
 * i (o + i) flops, whichever comes first. P is kept here, so that writing its rows is a copy.
 */
final class DenseProduct {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

  /** Mean squares of a row whose sum neither overflows nor vanishes in single precision. */
  private static final double LEAST_SQUARE = 1e-28;

  private static final double GREATEST_SQUARE = 1e28;

  private final Arena arena;
  private final int o;
  private final int i;
  private final int columns;
  private final Gemm gemm;
  private final LowRankKernels kernels;
  private final FactorProduct left;
  private final FactorProduct right;

  /** G, then P. */
  private final MemorySegment p;

  private final MemorySegment product;

  // Rows of samples, and Y L and A R.
  private int rowRoom;
  private MemorySegment rows = MemorySegment.NULL;
  private MemorySegment outputs = MemorySegment.NULL;
  private MemorySegment inputs = MemorySegment.NULL;

  private double gSquareW;
  private double gSquareB;
  private double pSquareW;
  private double pSquareB;

  DenseProduct(
      Arena arena,
      InverseFactor left,
      InverseFactor right,
      boolean bias,
      int threads,
      @Nullable Tier tier) {
    this.arena = arena;
    this.o = left.dimension();
    this.i = right.dimension();
    this.columns = bias ? i - 1 : i;
    this.gemm = Gemm.create(arena, threads, tier);
    this.kernels =
        gemm.tier() == Tier.VECTOR ? VectorLowRankKernels.INSTANCE : ScalarLowRankKernels.INSTANCE;
    this.left = new FactorProduct(arena, left, gemm);
    this.right = new FactorProduct(arena, right, gemm);
    this.p = arena.allocate((long) Float.BYTES * o * i, Tensor.ALIGNMENT);
    this.product = arena.allocate((long) Float.BYTES * o * i, Tensor.ALIGNMENT);
  }

  /** ||dW||^2 of the last call; not finite where an element is not. */
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

  /** Computes P and the norms. */
  void prepare(Tensor dw, @Nullable Tensor db) {
    load(dw, db);
    if (Double.isFinite(gSquareW + gSquareB)) {
      left.left(i, p, product);
      right.right(o, product, p);
      measure();
    }
  }

  /**
   * The same from {@code G = Y'A}.
   *
   * @param y N x o, as L takes it
   * @param a N x i
   */
  void prepareFactored(Tensor y, Tensor a, Tensor dw, @Nullable Tensor db) {
    load(dw, db);
    if (!Double.isFinite(gSquareW + gSquareB)) {
      return;
    }
    int n = Math.toIntExact(y.rows());
    if (n > rowRoom) {
      rowRoom = n;
      rows = arena.allocate((long) Float.BYTES * n * Math.max(o, i), Tensor.ALIGNMENT);
      outputs = arena.allocate((long) Float.BYTES * n * o, Tensor.ALIGNMENT);
      inputs = arena.allocate((long) Float.BYTES * n * i, Tensor.ALIGNMENT);
    }
    copy(y, n, o);
    left.right(n, rows, outputs);
    copy(a, n, i);
    right.right(n, rows, inputs);
    gemm.multiply(true, false, o, i, n, 1, outputs, o, inputs, i, 0, p, i);
    measure();
  }

  private void copy(Tensor from, int n, int length) {
    long row = (long) Float.BYTES * length;
    kernels.copyRows(n, length, from.memory(), 0, Float.BYTES * from.rowStride(), rows, 0, row);
  }

  private void load(Tensor dw, @Nullable Tensor db) {
    gSquareW = 0;
    gSquareB = 0;
    long row = (long) Float.BYTES * i;
    long stride = Float.BYTES * dw.rowStride();
    for (int r = 0; r < o; r++) {
      kernels.copyRows(1, columns, dw.memory(), r * stride, stride, p, r * row, row);
      gSquareW += square(columns, r * row);
      if (db != null) {
        float x = db.memory().get(FLOAT, (long) Float.BYTES * r);
        p.set(FLOAT, r * row + (long) Float.BYTES * columns, x);
        gSquareB += (double) x * x;
      }
    }
  }

  private void measure() {
    pSquareW = 0;
    pSquareB = 0;
    long row = (long) Float.BYTES * i;
    for (int r = 0; r < o; r++) {
      pSquareW += square(columns, r * row);
      if (columns < i) {
        float x = p.get(FLOAT, r * row + (long) Float.BYTES * columns);
        pSquareB += (double) x * x;
      }
    }
  }

  /** The sum of squares of n floats of {@link #p}. */
  private double square(int n, long at) {
    double sum = kernels.dot(n, p, at, p, at);
    boolean sure = sum >= LEAST_SQUARE * n && sum <= GREATEST_SQUARE * n;
    return sure ? sum : ScalarLowRankKernels.INSTANCE.dot(n, p, at, p, at);
  }

  /**
   * Writes rows of P.
   *
   * @param factor by which P is multiplied
   */
  void apply(Tensor dw, @Nullable Tensor db, int from, int to, double factor) {
    long row = (long) Float.BYTES * i;
    for (int r = from; r < to; r++) {
      long at = (long) Float.BYTES * r * dw.rowStride();
      kernels.scale(columns, (float) factor, p, r * row, dw.memory(), at);
      if (db != null) {
        float x = (float) factor * p.get(FLOAT, r * row + (long) Float.BYTES * columns);
        db.memory().set(FLOAT, (long) Float.BYTES * r, x);
      }
    }
  }
}
