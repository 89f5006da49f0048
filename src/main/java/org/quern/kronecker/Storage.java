package org.quern.kronecker;

import org.quern.tensor.DType;

/**
 * How an inverse factor J of dimension d is kept. Bytes per factor: {@code 4 d^2} for {@link
 * Dense}; half of it, and the square tiles on the diagonal, for {@link SymmetricTiles}; half of
 * that again for {@link Deviation}; {@code 4 k d} for {@link LowRank}.
 */
public sealed interface Storage {
  /**
   * All of J as F32.
   *
   * @param lazy how many rank-1 terms wait before one pass writes them, at least 1
   */
  record Dense(int lazy) implements Storage {
    /** Checks {@code lazy}. */
    public Dense {
      checkLazy(lazy);
    }
  }

  /**
   * The lower triangle of J in 64 x 64 tiles of F32.
   *
   * @param lazy how many rank-1 terms wait before one pass writes them, at least 1
   */
  record SymmetricTiles(int lazy) implements Storage {
    /** Checks {@code lazy}. */
    public SymmetricTiles {
      checkLazy(lazy);
    }
  }

  /**
   * The lower triangle of K = I - J in 64 x 64 tiles of a 16-bit type. K keeps J positive where J
   * itself, rounded to 16 bits, loses that.
   *
   * @param type F16 or BF16
   * @param lazy how many rank-1 terms wait before one pass writes them, at least 1
   */
  record Deviation(DType type, int lazy) implements Storage {
    /** Checks the type and {@code lazy}. */
    public Deviation {
      if (type != DType.F16 && type != DType.BF16) {
        throw new IllegalArgumentException("type: expected F16 or BF16, got " + type);
      }
      checkLazy(lazy);
    }
  }

  /**
   * K = I - J as U diag(c) U' with few columns; rule {@link UpdateRule#CODE} only. Exact until the
   * columns are full; then the smallest eigenvalues of K are dropped. Where more than two thirds of
   * the columns have eigenvalues above the tolerance, their number grows, up to d.
   *
   * @param columns columns at first, at least 1
   * @param tolerance greatest eigenvalue of K that may be dropped, at least 0; infinity never grows
   */
  record LowRank(int columns, double tolerance) implements Storage {
    /** Checks the ranges. */
    public LowRank {
      if (columns < 1) {
        throw new IllegalArgumentException("columns: expected at least 1, got " + columns);
      }
      if (!(tolerance >= 0)) {
        throw new IllegalArgumentException("tolerance: expected at least 0, got " + tolerance);
      }
    }
  }

  /** All of J as F32, one pass per update. */
  static Storage dense() {
    return new Dense(1);
  }

  /** Triangular tiles of F32, one pass per update: the default. */
  static Storage symmetricTiles() {
    return new SymmetricTiles(1);
  }

  /** Triangular tiles of I - J in F16 or BF16, one pass per update. */
  static Storage deviation(DType type) {
    return new Deviation(type, 1);
  }

  /** I - J of low rank: the cheapest, for layers of any width. */
  static Storage lowRank(int columns, double tolerance) {
    return new LowRank(columns, tolerance);
  }

  private static void checkLazy(int lazy) {
    if (lazy < 1) {
      throw new IllegalArgumentException("lazy: expected at least 1, got " + lazy);
    }
  }
}
