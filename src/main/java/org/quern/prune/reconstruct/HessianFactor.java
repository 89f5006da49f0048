package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.BitSet;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Cholesky;
import org.quern.linalg.Gemm;
import org.quern.linalg.NotPositiveDefiniteException;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The upper triangular U with {@code (H + damping I)^-1 = U^T U}, which SparseGPT walks along; 2
 * n^3 / 3 flops by {@link Cholesky#inverseFactor}. Layers that share their inputs share it.
 *
 * <p>The damping is a share of the mean of the diagonal of H, in which a dead column, one whose
 * input was always zero, counts as 1, as in the released program. Where the factorization fails the
 * share is raised tenfold, up to 1, with a warning; then the layer is rejected.
 */
public final class HessianFactor {
  private static final System.Logger LOG = System.getLogger("org.quern");
  private static final double FIRST_DAMP = 0.01;
  private static final double LAST_DAMP = 1;

  private final Tensor upper;
  private final BitSet dead;
  private final double damp;

  private HessianFactor(Tensor upper, BitSet dead, double damp) {
    this.upper = upper;
    this.dead = dead;
    this.damp = damp;
  }

  /**
   * Factors H.
   *
   * @param gemm computes the products
   * @param arena gives the memory of U, n^2 floats
   * @param name how errors and warnings name the layer
   * @param hessian H, F32 [n, n]; its upper triangle is read
   * @param damp first share of the mean of the diagonal to add, in [0, 1]
   * @throws IllegalArgumentException where H is not square or not finite, an element of its
   *     diagonal is negative, or it is not positive definite at the last damping
   */
  static HessianFactor of(Gemm gemm, Arena arena, String name, Tensor hessian, double damp) {
    if (hessian.rank() != 2 || hessian.type() != DType.F32 || hessian.dim(0) != hessian.dim(1)) {
      throw new IllegalArgumentException(
          name + ": hessian: expected a square F32 matrix, got " + hessian);
    }
    int n = Math.toIntExact(hessian.dim(0));
    Damping damping = Damping.of(name, hessian);
    Tensor upper = Tensor.allocate(arena, DType.F32, n, n);
    double share = damp;
    while (true) {
      copyDamped(hessian, damping, share, upper);
      String failure = factor(gemm, upper);
      if (failure == null) {
        return new HessianFactor(upper, damping.dead(), share);
      }
      String what =
          name
              + ": hessian: not positive definite with a damping of "
              + share
              + " of its mean"
              + " diagonal: "
              + failure;
      if (share >= LAST_DAMP) {
        throw new IllegalArgumentException(what + "; check the calibration inputs of this layer");
      }
      share = share < FIRST_DAMP ? FIRST_DAMP : Math.min(LAST_DAMP, 10 * share);
      LOG.log(System.Logger.Level.WARNING, what + "; trying " + share);
    }
  }

  /** Factors in place; what went wrong, or null. */
  private static @Nullable String factor(Gemm gemm, Tensor upper) {
    int n = Math.toIntExact(upper.dim(0));
    try {
      Cholesky.inverseFactor(gemm, n, upper.memory(), n);
    } catch (NotPositiveDefiniteException e) {
      return "pivot " + e.pivot() + " at column " + e.index();
    }
    for (int i = 0; i < n; i++) {
      if (Weights.firstNotFinite(upper.memory(), Float.BYTES * ((long) i * n), n) >= 0) {
        return "its inverse overflows in row " + i;
      }
    }
    return null;
  }

  private static void copyDamped(Tensor hessian, Damping damping, double share, Tensor upper) {
    long n = hessian.dim(0);
    MemorySegment from = hessian.memory();
    for (long i = 0; i < n; i++) {
      MemorySegment.copy(
          from,
          Float.BYTES * (i * hessian.rowStride()),
          upper.memory(),
          Float.BYTES * (i * n),
          Float.BYTES * n);
      upper.memory().setAtIndex(JAVA_FLOAT, i * n + i, damping.diagonal((int) i, share));
    }
  }

  /** U, F32 [n, n], zero below the diagonal; not to be changed. */
  public Tensor upper() {
    return upper;
  }

  /** Columns of H, n. */
  public int columns() {
    return Math.toIntExact(upper.dim(0));
  }

  /** True where the input of this column was always zero. */
  public boolean isDead(int column) {
    return dead.get(column);
  }

  /** Number of columns whose input was always zero. */
  public int deadColumns() {
    return dead.cardinality();
  }

  /** The share of the mean of the diagonal that was added. */
  public double damp() {
    return damp;
  }
}
