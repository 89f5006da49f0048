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
  private final MemorySegment strip;
  private MemorySegment terms = MemorySegment.NULL;
  private MemorySegment weighted = MemorySegment.NULL;
  private MemorySegment products = MemorySegment.NULL;

  /** Where strips of results begin, of the matrix that was last written. */
  private MemorySegment out = MemorySegment.NULL;

  private final MemorySegment[] parts;
  private long partBytes;

  FactorProduct(Arena arena, InverseFactor factor, Gemm gemm) {
    this.arena = arena;
    this.factor = factor;
    this.d = factor.dimension();
    this.gemm = gemm;
    boolean unpacked = factor instanceof SymmetricFactor f && !direct(f);
    long floats = unpacked ? (long) Math.min(STRIP, d) * d : 1;
    this.strip = arena.allocate(Float.BYTES * floats, Tensor.ALIGNMENT);
    this.parts = new MemorySegment[Math.ceilDiv(d, STRIP)];
  }

  /** True where all rows of M lie in memory as floats. */
  private static boolean direct(SymmetricFactor factor) {
    return factor.storage() instanceof Storage.Dense;
  }

  /** Memory for so many terms, and their products with n vectors. */
  private void reserve(int count, int n) {
    long row = (long) Float.BYTES * d;
    if (terms.byteSize() < count * row) {
      terms = arena.allocate(count * row, Tensor.ALIGNMENT);
      weighted = arena.allocate(count * row, Tensor.ALIGNMENT);
    }
    long bytes = (long) Float.BYTES * count * n;
    if (products.byteSize() < bytes) {
      products = arena.allocate(bytes, Tensor.ALIGNMENT);
    }
  }

  /** {@code result = J in}, d x n without gaps. */
  void left(int n, MemorySegment in, MemorySegment result) {
    begin(in, result, (long) d * n, (long) Float.BYTES * n);
    for (int from = 0; from < stored(); from += rows(from)) {
      int rows = rows(from);
      MemorySegment m = strip(from, rows);
      MemorySegment to = parts[from / STRIP];
      gemm.multiply(false, false, rows, n, d, (float) a(), m, d, in, n, (float) b(), to, n);
    }
    int count = gather(n);
    if (count > 0) {
      gemm.multiply(false, false, count, n, d, 1, terms, d, in, n, 0, products, n);
      gemm.multiply(true, false, d, n, count, 1, weighted, d, products, n, 1, result, n);
    }
  }

  /** {@code result = in J}, n x d without gaps. */
  void right(int n, MemorySegment in, MemorySegment result) {
    begin(in, result, (long) n * d, Float.BYTES);
    for (int from = 0; from < stored(); from += rows(from)) {
      int rows = rows(from);
      MemorySegment m = strip(from, rows);
      MemorySegment to = parts[from / STRIP];
      gemm.multiply(false, true, n, rows, d, (float) a(), in, d, m, d, (float) b(), to, d);
    }
    int count = gather(n);
    if (count > 0) {
      gemm.multiply(false, true, n, count, d, 1, in, d, terms, d, 0, products, count);
      gemm.multiply(false, false, n, d, count, 1, products, count, weighted, d, 1, result, d);
    }
  }

  /** Puts the identity's part into the result, and finds where its strips begin. */
  private void begin(MemorySegment in, MemorySegment result, long floats, long step) {
    if (b() != 0) {
      MemorySegment.copy(in, 0, result, 0, Float.BYTES * floats);
    }
    if (out != result || partBytes != step) {
      for (int part = 0; part < parts.length; part++) {
        parts[part] = result.asSlice((long) part * STRIP * step);
      }
      out = result;
      partBytes = step;
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
  private int gather(int n) {
    long row = (long) Float.BYTES * d;
    int count = 0;
    if (factor instanceof SymmetricFactor f) {
      reserve(f.pendingTerms(), n);
      for (int t = 0; t < f.pendingTerms(); t++) {
        f.copyPendingVector(t, terms, t * row);
        weigh(t, sign(f) * f.pendingWeight(t));
      }
      count = f.pendingTerms();
    } else if (factor instanceof LowRankFactor f) {
      reserve(f.extent(), n);
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
