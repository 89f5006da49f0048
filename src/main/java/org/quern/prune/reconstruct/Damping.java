package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.util.BitSet;
import org.quern.tensor.Tensor;

/**
 * The diagonal of {@code H + share * mean(diag H) I}. A dead column, whose diagonal element is
 * zero, gets a diagonal of 1 first, as in the released SparseGPT program, also for the mean.
 */
final class Damping {
  private final float[] diagonal;
  private final BitSet dead;
  private final double mean;

  private Damping(float[] diagonal, BitSet dead, double mean) {
    this.diagonal = diagonal;
    this.dead = dead;
    this.mean = mean;
  }

  /**
   * Reads the diagonal of H and checks that H is finite.
   *
   * @param name how errors name the layer
   * @param hessian F32 [n, n]
   */
  static Damping of(String name, Tensor hessian) {
    int n = Math.toIntExact(hessian.dim(0));
    float[] diagonal = new float[n];
    BitSet dead = new BitSet(n);
    double sum = 0;
    for (int i = 0; i < n; i++) {
      long row = Float.BYTES * (i * hessian.rowStride());
      int bad = Weights.firstNotFinite(hessian.hostMemory(), row, n);
      float value =
          hessian.memory().get(JAVA_FLOAT, row + (long) Float.BYTES * (bad < 0 ? i : bad));
      if (bad >= 0 || value < 0) {
        throw new IllegalArgumentException(
            name
                + ": hessian: expected finite values and a diagonal that is not negative, got "
                + value
                + " in row "
                + i
                + ", column "
                + (bad < 0 ? i : bad));
      }
      if (value == 0) {
        dead.set(i);
      }
      diagonal[i] = value == 0 ? 1 : value;
      sum += diagonal[i];
    }
    return new Damping(diagonal, dead, sum / n);
  }

  /** Columns whose input was always zero. */
  BitSet dead() {
    return dead;
  }

  /** What a share adds to every element of the diagonal. */
  double added(double share) {
    return share * mean;
  }

  /** The damped element of the diagonal. */
  float diagonal(int column, double share) {
    return (float) (diagonal[column] + added(share));
  }
}
