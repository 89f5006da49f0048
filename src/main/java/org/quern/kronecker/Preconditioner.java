package org.quern.kronecker;

import java.lang.foreign.Arena;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * {@code P = L G R} for the gradient G = [dW | db] of one layer, and the scalar that restores its
 * length. Two steps, so that a back end can use P row by row while it is in the cache: {@link
 * #prepare} reads G and computes all that the rows need, {@link #apply} writes rows of P over those
 * of G. Allocates nothing per call. Serves one call at a time.
 */
public final class Preconditioner {
  /** What the last {@link #prepare} found. */
  public enum Outcome {
    /** P can be applied. */
    APPLIED,
    /** G holds a NaN or an infinity: {@link #apply} leaves it as it is. */
    NOT_FINITE,
    /** P vanishes although G does not: {@link #apply} leaves G as it is. */
    VANISHED
  }

  private final InverseFactor left;
  private final InverseFactor right;
  private final boolean bias;
  private final Rescale rescale;
  private final double[][] p;
  private Outcome outcome = Outcome.APPLIED;

  private Preconditioner(InverseFactor left, InverseFactor right, boolean bias, Rescale rescale) {
    this.left = left;
    this.right = right;
    this.bias = bias;
    this.rescale = rescale;
    this.p = new double[left.dimension()][right.dimension()];
  }

  /**
   * A preconditioner of two factors.
   *
   * @param arena gives the work memory
   * @param left L, of dimension d_out
   * @param right R, of dimension d_in, or d_in + 1 with a bias
   * @param bias whether the last column of G is the gradient of a bias
   * @param rescale how the length is restored
   * @param threads greatest number of threads
   * @param tier the tier to use, or null for the best
   */
  public static Preconditioner create(
      Arena arena,
      InverseFactor left,
      InverseFactor right,
      boolean bias,
      Rescale rescale,
      int threads,
      @Nullable Tier tier) {
    return new Preconditioner(left, right, bias, rescale);
  }

  /**
   * Computes what the rows of P need. G is only read.
   *
   * @param dw d_out x d_in floats
   * @param db d_out floats, or null without a bias
   * @return nu, by which P is to be multiplied; 1 where {@link #apply} leaves G as it is
   */
  public double prepare(Tensor dw, @Nullable Tensor db) {
    try (Arena arena = Arena.ofConfined()) {
      int o = left.dimension();
      int i = right.dimension();
      Tensor l = Tensor.allocate(arena, DType.F64, o, o);
      Tensor r = Tensor.allocate(arena, DType.F64, i, i);
      left.toDense(l);
      right.toDense(r);
      double[][] g = new double[o][i];
      double[] norms = new double[4];
      boolean finite = true;
      for (int a = 0; a < o; a++) {
        for (int b = 0; b < i; b++) {
          g[a][b] = bias && b == i - 1 ? db.getDouble(a) : dw.getDouble(a, b);
          norms[bias && b == i - 1 ? 1 : 0] += g[a][b] * g[a][b];
          finite &= Double.isFinite(g[a][b]);
        }
      }
      double[][] lg = new double[o][i];
      for (int a = 0; a < o; a++) {
        for (int k = 0; k < o; k++) {
          double x = l.getDouble(a, k);
          for (int b = 0; b < i; b++) {
            lg[a][b] += x * g[k][b];
          }
        }
      }
      for (int a = 0; a < o; a++) {
        for (int b = 0; b < i; b++) {
          double sum = 0;
          for (int k = 0; k < i; k++) {
            sum += lg[a][k] * r.getDouble(k, b);
          }
          p[a][b] = sum;
          norms[bias && b == i - 1 ? 3 : 2] += sum * sum;
        }
      }
      double before =
          rescale == Rescale.FROBENIUS
              ? Math.sqrt(norms[0] + norms[1])
              : Math.sqrt(norms[0]) + Math.sqrt(norms[1]);
      double after =
          rescale == Rescale.FROBENIUS
              ? Math.sqrt(norms[2] + norms[3])
              : Math.sqrt(norms[2]) + Math.sqrt(norms[3]);
      outcome =
          !finite
              ? Outcome.NOT_FINITE
              : before > 0 && after < Float.MIN_NORMAL ? Outcome.VANISHED : Outcome.APPLIED;
      return rescale == Rescale.NONE || before == 0 || outcome != Outcome.APPLIED
          ? 1
          : before / after;
    }
  }

  /**
   * Writes rows of P, not yet multiplied by nu, over the same rows of the tensors that were given
   * to {@link #prepare}.
   *
   * @param dw d_out x d_in floats
   * @param db d_out floats, or null without a bias
   * @param from first row
   * @param to row after the last
   */
  public void apply(Tensor dw, @Nullable Tensor db, int from, int to) {
    if (outcome != Outcome.APPLIED) {
      return;
    }
    int i = right.dimension();
    for (int a = from; a < to; a++) {
      for (int b = 0; b < i; b++) {
        if (bias && b == i - 1) {
          db.setDouble(p[a][b], a);
        } else {
          dw.setDouble(p[a][b], a, b);
        }
      }
    }
  }

  /** What the last {@link #prepare} found. */
  public Outcome outcome() {
    return outcome;
  }
}
