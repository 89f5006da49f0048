package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import org.quern.linalg.Gemm;
import org.quern.runtime.NativeViews;
import org.quern.tensor.Tensor;

/**
 * Conjugate gradients for some rows of a layer at once; each row has its own coefficients. With d =
 * w' - w, A = H + damping, K the kept columns:
 *
 * <pre>
 *   d = -w off K, 0 on K;  r = -(d A);  z = r / diag A on K, 0 off K;  p = z
 *   q = p A;  a = (r.z) / (p.q);  d += a p;  r -= a q;  z as above;  p = z + ((r.z)' / (r.z)) p
 * </pre>
 *
 * A step lowers {@code 1/2 d A d} by {@code 1/2 a (r.z)}. Vectors are binary32, inner products
 * binary64. One product of the panel with H to a step; all else is linear in its size.
 */
final class RefitPanel {
  private static final int PLANES = 5;

  /** Kept weights whose residual fell by this factor, squared, are done: binary32 gives no more. */
  private static final double DONE = 1e-13;

  private final Weights weights;
  private final Tensor hessian;
  private final Gemm gemm;
  private final long first;
  private final int rows;
  private final int n;

  /** What the damping adds to the diagonal of H. */
  private final float[] added;

  private final MemorySegment d;
  private final MemorySegment r;
  private final MemorySegment p;
  private final MemorySegment q;

  /** 1 / diag A on K, 0 off K. */
  private final MemorySegment inverse;

  /** Bytes of memory that a panel takes. */
  static long bytes(int n, int rows) {
    return (long) PLANES * Float.BYTES * n * rows;
  }

  /**
   * Sets the rows up at the masked weights.
   *
   * @param first first row of the layer
   * @param rows how many
   */
  RefitPanel(
      Weights weights,
      Tensor hessian,
      Damping damping,
      double damp,
      Tensor mask,
      long first,
      int rows,
      Gemm gemm,
      MemorySegment memory) {
    this.weights = weights;
    this.hessian = hessian;
    this.gemm = gemm;
    this.first = first;
    this.rows = rows;
    n = weights.columns();
    long plane = (long) Float.BYTES * n * rows;
    d = memory.asSlice(0, plane);
    r = memory.asSlice(plane, plane);
    p = memory.asSlice(2 * plane, plane);
    q = memory.asSlice(3 * plane, plane);
    inverse = memory.asSlice(4 * plane, plane);
    added = new float[n];
    float[] reciprocals = new float[n];
    for (int j = 0; j < n; j++) {
      added[j] = (float) (damping.added(damp) + (damping.dead().get(j) ? 1 : 0));
      reciprocals[j] = 1 / damping.diagonal(j, damp);
    }
    for (int row = 0; row < rows; row++) {
      long at = (long) row * n;
      weights.load(first + row, d, Float.BYTES * at);
      for (int j = 0; j < n; j++) {
        boolean pruned =
            (Weights.byteAt(mask, first + row, j / Byte.SIZE) >> j % Byte.SIZE & 1) != 0;
        float weight = d.getAtIndex(JAVA_FLOAT, at + j);
        d.setAtIndex(JAVA_FLOAT, at + j, pruned ? -weight : 0);
        inverse.setAtIndex(JAVA_FLOAT, at + j, pruned ? 0 : reciprocals[j]);
      }
    }
  }

  /**
   * Runs the steps and stores the weights.
   *
   * @return the objective at the start and after every step, summed over the rows
   */
  double[] run(int steps) {
    double[] objectives = new double[steps + 1];
    double[] residual = new double[rows];
    double[] goal = new double[rows];
    multiply(d, r);
    for (int row = 0; row < rows; row++) {
      objectives[0] += dot(d, r, row) / 2;
      start(row);
      residual[row] = preconditioned(row);
      goal[row] = DONE * residual[row];
    }
    for (int step = 1; step <= steps; step++) {
      multiply(p, q);
      double gain = 0;
      for (int row = 0; row < rows; row++) {
        double curvature = dot(p, q, row);
        if (residual[row] > goal[row] && curvature > 0) {
          double length = residual[row] / curvature;
          gain += length * residual[row] / 2;
          advance(row, (float) length);
          double next = preconditioned(row);
          turn(row, (float) (next / residual[row]));
          residual[row] = next;
        }
      }
      objectives[step] = objectives[step - 1] - gain;
    }
    store();
    return objectives;
  }

  /** {@code y = x A}. */
  private void multiply(MemorySegment x, MemorySegment y) {
    gemm.multiply(
        false, false, rows, n, n, 1, x, n, hessian.memory(), hessian.rowStride(), 0, y, n);
    MemorySegment from = NativeViews.exact(x);
    MemorySegment to = NativeViews.exact(y);
    for (int row = 0; row < rows; row++) {
      long at = (long) row * n;
      for (int j = 0; j < n; j++) {
        float value = to.getAtIndex(JAVA_FLOAT, at + j);
        to.setAtIndex(JAVA_FLOAT, at + j, value + added[j] * from.getAtIndex(JAVA_FLOAT, at + j));
      }
    }
  }

  private MemorySegment row(MemorySegment plane, int row) {
    return NativeViews.exact(plane.asSlice((long) Float.BYTES * n * row, (long) Float.BYTES * n));
  }

  /** An inner product, in four sums that do not wait for one another. */
  private double dot(MemorySegment planeX, MemorySegment planeY, int row) {
    MemorySegment x = row(planeX, row);
    MemorySegment y = row(planeY, row);
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    int j = 0;
    for (; j <= n - 4; j += 4) {
      s0 += (double) x.getAtIndex(JAVA_FLOAT, j) * y.getAtIndex(JAVA_FLOAT, j);
      s1 += (double) x.getAtIndex(JAVA_FLOAT, j + 1) * y.getAtIndex(JAVA_FLOAT, j + 1);
      s2 += (double) x.getAtIndex(JAVA_FLOAT, j + 2) * y.getAtIndex(JAVA_FLOAT, j + 2);
      s3 += (double) x.getAtIndex(JAVA_FLOAT, j + 3) * y.getAtIndex(JAVA_FLOAT, j + 3);
    }
    for (; j < n; j++) {
      s0 += (double) x.getAtIndex(JAVA_FLOAT, j) * y.getAtIndex(JAVA_FLOAT, j);
    }
    return s0 + s1 + (s2 + s3);
  }

  /** Makes the gradient a residual, and its preconditioned form the first direction. */
  private void start(int row) {
    MemorySegment residual = row(r, row);
    MemorySegment direction = row(p, row);
    MemorySegment scale = row(inverse, row);
    for (int j = 0; j < n; j++) {
      float value = -residual.getAtIndex(JAVA_FLOAT, j);
      residual.setAtIndex(JAVA_FLOAT, j, value);
      direction.setAtIndex(JAVA_FLOAT, j, value * scale.getAtIndex(JAVA_FLOAT, j));
    }
  }

  /** {@code r.z}; z goes where q was, which is no longer needed. */
  private double preconditioned(int row) {
    MemorySegment residual = row(r, row);
    MemorySegment out = row(q, row);
    MemorySegment scale = row(inverse, row);
    for (int j = 0; j < n; j++) {
      float value = residual.getAtIndex(JAVA_FLOAT, j) * scale.getAtIndex(JAVA_FLOAT, j);
      out.setAtIndex(JAVA_FLOAT, j, value);
    }
    return dot(r, q, row);
  }

  /** {@code d += a p, r -= a q}. */
  private void advance(int row, float length) {
    MemorySegment change = row(d, row);
    MemorySegment residual = row(r, row);
    MemorySegment direction = row(p, row);
    MemorySegment image = row(q, row);
    for (int j = 0; j < n; j++) {
      float moved = change.getAtIndex(JAVA_FLOAT, j) + length * direction.getAtIndex(JAVA_FLOAT, j);
      float left = residual.getAtIndex(JAVA_FLOAT, j) - length * image.getAtIndex(JAVA_FLOAT, j);
      change.setAtIndex(JAVA_FLOAT, j, moved);
      residual.setAtIndex(JAVA_FLOAT, j, left);
    }
  }

  /** {@code p = z + b p}. */
  private void turn(int row, float share) {
    MemorySegment direction = row(p, row);
    MemorySegment next = row(q, row);
    for (int j = 0; j < n; j++) {
      float value = next.getAtIndex(JAVA_FLOAT, j) + share * direction.getAtIndex(JAVA_FLOAT, j);
      direction.setAtIndex(JAVA_FLOAT, j, value);
    }
  }

  /** Stores {@code w + d} on K and +0.0 off K. */
  private void store() {
    for (int row = 0; row < rows; row++) {
      weights.load(first + row, q, 0);
      MemorySegment old = row(q, 0);
      MemorySegment change = row(d, row);
      MemorySegment scale = row(inverse, row);
      for (int j = 0; j < n; j++) {
        float value = old.getAtIndex(JAVA_FLOAT, j) + change.getAtIndex(JAVA_FLOAT, j);
        old.setAtIndex(JAVA_FLOAT, j, scale.getAtIndex(JAVA_FLOAT, j) == 0 ? 0 : value);
      }
      weights.store(first + row, 0, q, 0, n);
    }
  }
}
