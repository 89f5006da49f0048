package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.quern.linalg.Gemm;
import org.quern.tensor.Tensor;

/**
 * Products of one factor with a matrix, as they are stored:
 *
 * <pre>{@code
 * J = a M + b I + sum over t of w_t y_t y_t'
 * }</pre>
 *
 * with a stored matrix M, or none, and terms that wait, or are all there is. M goes through the
 * dense product in strips of rows, the identity stays exact, and terms cost 4 flops per element of
 * the matrix each.
 */
final class FactorProduct {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

  /** Rows of M that are unpacked at a time, a multiple of the tiles of storages. */
  private static final int STRIP = 256;

  private final Arena arena;
  private final InverseFactor factor;
  private final int d;
  private final Gemm gemm;

  /** Greatest extent of the other dimension of a matrix. */
  private final int width;

  private final MemorySegment strip;
  private int room;
  private MemorySegment terms = MemorySegment.NULL;
  private MemorySegment weighted = MemorySegment.NULL;
  private MemorySegment products = MemorySegment.NULL;

  FactorProduct(Arena arena, InverseFactor factor, int width, Gemm gemm) {
    this.arena = arena;
    this.factor = factor;
    this.d = factor.dimension();
    this.gemm = gemm;
    this.width = width;
    boolean unpacked = factor instanceof SymmetricFactor f && !direct(f);
    long floats = unpacked ? (long) Math.min(STRIP, d) * d : 1;
    this.strip = arena.allocate(Float.BYTES * floats, Tensor.ALIGNMENT);
    reserve(
        switch (factor) {
          case LowRankFactor f -> f.capacity();
          case SymmetricFactor f -> f.lazy();
          default -> throw new IllegalArgumentException("factor: expected one of create");
        });
  }

  /** True where all rows of M lie in memory as floats. */
  private static boolean direct(SymmetricFactor factor) {
    return factor.storage() instanceof Storage.Dense;
  }

  private void reserve(int count) {
    if (count > room) {
      room = count;
      terms = arena.allocate((long) Float.BYTES * count * d, Tensor.ALIGNMENT);
      weighted = arena.allocate((long) Float.BYTES * count * d, Tensor.ALIGNMENT);
      products = arena.allocate((long) Float.BYTES * count * width, Tensor.ALIGNMENT);
    }
  }

  /**
   * {@code out = J in}, d x n without gaps.
   *
   * @param n columns, at most the width
   */
  void left(int n, MemorySegment in, MemorySegment out) {
    begin(in, out, (long) d * n);
    for (int from = 0; from < stored(); from += rows(from)) {
      int rows = rows(from);
      MemorySegment m = strip(from, rows);
      MemorySegment to = out.asSlice(Float.BYTES * ((long) from * n));
      gemm.multiply(false, false, rows, n, d, (float) a(), m, d, in, n, (float) b(), to, n);
    }
    int count = gather();
    if (count > 0) {
      gemm.multiply(false, false, count, n, d, 1, terms, d, in, n, 0, products, n);
      gemm.multiply(true, false, d, n, count, 1, weighted, d, products, n, 1, out, n);
    }
  }

  /**
   * {@code out = in J}, n x d without gaps.
   *
   * @param n rows, at most the width
   */
  void right(int n, MemorySegment in, MemorySegment out) {
    begin(in, out, (long) n * d);
    for (int from = 0; from < stored(); from += rows(from)) {
      int rows = rows(from);
      MemorySegment m = strip(from, rows);
      MemorySegment to = out.asSlice((long) Float.BYTES * from);
      gemm.multiply(false, true, n, rows, d, (float) a(), in, d, m, d, (float) b(), to, d);
    }
    int count = gather();
    if (count > 0) {
      gemm.multiply(false, true, n, count, d, 1, in, d, terms, d, 0, products, count);
      gemm.multiply(false, false, n, d, count, 1, products, count, weighted, d, 1, out, d);
    }
  }

  private void begin(MemorySegment in, MemorySegment out, long floats) {
    if (b() != 0) {
      MemorySegment.copy(in, 0, out, 0, Float.BYTES * floats);
    }
  }

  private double a() {
    return factor instanceof SymmetricFactor f ? sign(f) * f.pendingScale() : 0;
  }

  private double b() {
    return factor instanceof SymmetricFactor f
        ? sign(f) * f.pendingIdentity() + (f.deviation() ? 1 : 0)
        : 1;
  }

  private static int sign(SymmetricFactor factor) {
    return factor.deviation() ? -1 : 1;
  }

  /** Rows of M, none without one. */
  private int stored() {
    return factor instanceof SymmetricFactor ? d : 0;
  }

  /** Rows of the strip that starts at {@code from}. */
  private int rows(int from) {
    return factor instanceof SymmetricFactor f && direct(f) ? d : Math.min(STRIP, d - from);
  }

  private MemorySegment strip(int from, int rows) {
    SymmetricMatrix stored = ((SymmetricFactor) factor).stored();
    if (rows == d && factor instanceof SymmetricFactor f && direct(f)) {
      return stored.memory().memory();
    }
    stored.unpackRows(from, from + rows, strip, 0, d);
    return strip;
  }

  /** Collects the vectors of the terms, and their multiples, and gives their number. */
  private int gather() {
    long row = (long) Float.BYTES * d;
    int count = 0;
    if (factor instanceof SymmetricFactor f) {
      for (int t = 0; t < f.pendingTerms(); t++) {
        MemorySegment.copy(f.pendingVector(t), 0, terms, t * row, row);
        weigh(t, sign(f) * f.pendingWeight(t));
      }
      count = f.pendingTerms();
    } else if (factor instanceof LowRankFactor f) {
      reserve(f.extent());
      for (int j = 0; j < f.extent(); j++) {
        if (f.weight(j) != 0) {
          f.copyColumn(j, terms, count * row);
          weigh(count, -f.weight(j));
          count++;
        }
      }
    }
    return count;
  }

  private void weigh(int t, double weight) {
    long row = (long) Float.BYTES * d;
    for (long at = t * row; at < (t + 1) * row; at += Float.BYTES) {
      weighted.set(FLOAT, at, (float) (weight * terms.get(FLOAT, at)));
    }
  }
}
