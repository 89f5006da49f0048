package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import org.quern.linalg.Gemm;
import org.quern.tensor.Tensor;

/** A = H + damping, without a copy of H. */
final class DampedHessian {
  private final Tensor hessian;
  private final Damping damping;
  private final double damp;

  /**
   * H, damped.
   *
   * @param hessian F32 [n, n], symmetric
   * @param damp share of the mean of its diagonal
   */
  DampedHessian(Tensor hessian, Damping damping, double damp) {
    this.hessian = hessian;
    this.damping = damping;
    this.damp = damp;
  }

  /** An element of the diagonal of A. */
  float diagonal(int column) {
    return damping.diagonal(column, damp);
  }

  /** {@code y = x A} for {@code rows} contiguous rows. */
  void multiply(Gemm gemm, RefitKernels kernels, int rows, MemorySegment x, MemorySegment y) {
    int n = Math.toIntExact(hessian.dim(0));
    gemm.multiply(
        false, false, rows, n, n, 1, x, n, hessian.memory(), hessian.rowStride(), 0, y, n);
    for (int row = 0; row < rows; row++) {
      long at = (long) Float.BYTES * n * row;
      kernels.add((float) damping.added(damp), x, at, y, at, n);
      // The diagonal of a dead column is 1.
      for (int j = damping.dead().nextSetBit(0); j >= 0; j = damping.dead().nextSetBit(j + 1)) {
        long element = at + (long) Float.BYTES * j;
        y.set(JAVA_FLOAT, element, y.get(JAVA_FLOAT, element) + x.get(JAVA_FLOAT, element));
      }
    }
  }
}
