package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.linalg.Gemm;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * Conjugate gradients for some rows of a layer at once; each row has its own coefficients. With d =
 * w' - w, A = H + damping, K the kept columns:
 *
 * <pre>
 *   d = -w off K, 0 on K;  r = -(d A);  z = r / diag A on K, 0 off K;  p = z
 *   q = p A;  a = (r.p) / (p.q);  d += a p;  r -= a q;  z as above
 *   p = z - sum over earlier directions of ((z.q_i) / (p_i.q_i)) p_i
 * </pre>
 *
 * A step lowers {@code 1/2 d A d} by {@code 1/2 a (r.p)}. In exact arithmetic only the last
 * direction has a part in the sum. In binary32 the others come back: inputs of a layer have a few
 * directions of far larger variance, which the first steps settle and rounding revives, so that
 * later steps settle them again and again. The sum therefore goes over the first {@value #KEPT}
 * directions and the last, which restores the convergence of binary64.
 *
 * <p>Vectors are binary32, inner products binary64. To be used by one thread.
 */
final class RefitPanel {
  /** Directions that are kept; recorded cases fall behind binary64 by 7e-4 with 3, 3e-4 with 6. */
  private static final int KEPT = 6;

  /** Rows whose residual fell by this factor, squared, are done: binary32 gives no more. */
  private static final double DONE = 1e-13;

  private final Gemm gemm;
  private final RefitKernels kernels;
  private final int n;
  private final MemorySegment d;
  private final MemorySegment r;
  private final MemorySegment z;

  /** 1 / diag A on K, 0 off K. */
  private final MemorySegment inverse;

  /** The directions that are kept, and the last. */
  private final MemorySegment[] p = new MemorySegment[KEPT + 1];

  private final MemorySegment[] q = new MemorySegment[KEPT + 1];

  /** {@code p_i . q_i} of every row. */
  private final double[][] curvature;

  /** The rows of the layer that are here now. */
  private long first;

  private int rows;

  /**
   * Memory for rows.
   *
   * @param most rows at a time
   */
  RefitPanel(Arena arena, int most, int n, Tier tier) {
    this.n = n;
    gemm = Gemm.create(arena, 1, tier);
    kernels = tier == Tier.VECTOR ? VectorRefitKernels.INSTANCE : ScalarRefitKernels.INSTANCE;
    d = plane(arena, most);
    r = plane(arena, most);
    z = plane(arena, most);
    inverse = plane(arena, most);
    for (int i = 0; i <= KEPT; i++) {
      p[i] = plane(arena, most);
      q[i] = plane(arena, most);
    }
    curvature = new double[KEPT + 1][most];
  }

  private MemorySegment plane(Arena arena, int most) {
    return arena.allocate(Math.max(1, (long) Float.BYTES * n * most), Tensor.ALIGNMENT);
  }

  private long offset(int row) {
    return (long) Float.BYTES * n * row;
  }

  /**
   * Refits rows and stores their weights.
   *
   * @param from first row
   * @param to one past the last
   * @return the objective at the start and after every step, summed over the rows
   */
  double[] run(Weights weights, DampedHessian hessian, Tensor mask, long from, long to, int steps) {
    first = from;
    rows = (int) (to - from);
    double[] objectives = new double[steps + 1];
    double[] goal = new double[rows];
    load(weights, hessian, mask);
    hessian.multiply(gemm, kernels, rows, d, r);
    for (int row = 0; row < rows; row++) {
      long at = offset(row);
      objectives[0] += kernels.dot(d, at, r, at, n) / 2;
      for (int j = 0; j < n; j++) {
        long element = at + (long) Float.BYTES * j;
        r.set(JAVA_FLOAT, element, -r.get(JAVA_FLOAT, element));
      }
      kernels.multiply(r, at, inverse, at, p[0], at, n);
      goal[row] = DONE * kernels.dot(r, at, p[0], at, n);
    }
    for (int step = 1; step <= steps; step++) {
      int slot = Math.min(step - 1, KEPT);
      hessian.multiply(gemm, kernels, rows, p[slot], q[slot]);
      double gain = 0;
      for (int row = 0; row < rows; row++) {
        gain += advance(row, slot, goal[row]);
        turn(row, slot);
      }
      objectives[step] = objectives[step - 1] - gain;
    }
    store(weights);
    return objectives;
  }

  private void load(Weights weights, DampedHessian hessian, Tensor mask) {
    for (int row = 0; row < rows; row++) {
      weights.load(first + row, d, offset(row));
      for (int j = 0; j < n; j++) {
        long at = offset(row) + (long) Float.BYTES * j;
        boolean pruned = Weights.isPruned(mask, first + row, j);
        d.set(JAVA_FLOAT, at, pruned ? -d.get(JAVA_FLOAT, at) : 0);
        inverse.set(JAVA_FLOAT, at, pruned ? 0 : 1 / hessian.diagonal(j));
      }
    }
  }

  /** Goes along the direction of a slot to the least objective; what that gains. */
  private double advance(int row, int slot, double goal) {
    long at = offset(row);
    double slope = kernels.dot(r, at, p[slot], at, n);
    double bend = kernels.dot(p[slot], at, q[slot], at, n);
    curvature[slot][row] = bend;
    if (!(slope > goal && bend > 0)) {
      return 0;
    }
    double length = slope / bend;
    kernels.add((float) length, p[slot], at, d, at, n);
    kernels.add((float) -length, q[slot], at, r, at, n);
    return length * slope / 2;
  }

  /** The next direction, into the slot behind this one. */
  private void turn(int row, int slot) {
    long at = offset(row);
    kernels.multiply(r, at, inverse, at, z, at, n);
    double[] shares = new double[slot + 1];
    for (int i = 0; i <= slot; i++) {
      double bend = curvature[i][row];
      shares[i] = bend > 0 ? kernels.dot(z, at, q[i], at, n) / bend : 0;
    }
    for (int i = 0; i <= slot; i++) {
      kernels.add((float) -shares[i], p[i], at, z, at, n);
    }
    MemorySegment.copy(z, at, p[Math.min(slot + 1, KEPT)], at, (long) Float.BYTES * n);
  }

  /** Stores {@code w + d} on K and +0.0 off K. */
  private void store(Weights weights) {
    for (int row = 0; row < rows; row++) {
      long at = offset(row);
      weights.load(first + row, z, 0);
      kernels.add(1, d, at, z, 0, n);
      for (int j = 0; j < n; j++) {
        if (inverse.get(JAVA_FLOAT, at + (long) Float.BYTES * j) == 0) {
          z.set(JAVA_FLOAT, (long) Float.BYTES * j, 0);
        }
      }
      weights.store(first + row, 0, z, 0, n);
    }
  }
}
