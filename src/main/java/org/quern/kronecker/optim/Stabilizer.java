package org.quern.kronecker.optim;

import org.quern.kronecker.InverseFactor;
import org.quern.kronecker.UpdateRule;

/**
 * What happens when a factor grows: after a refresh, where the norm of one factor of a layer is
 * strictly above the threshold, both factors of the layer are led back. A NaN is above nothing.
 *
 * <p>With {@link UpdateRule#CODE} every factor stays between 0 and I, so that no element exceeds 1
 * and a threshold of 1 or more on the elements cannot be passed: the norm is not even computed. The
 * released program resets at the next refresh; here it happens at once.
 *
 * @param norm what is compared
 * @param mode how the factors are led back
 * @param threshold above 0
 * @param zeta for {@link Mode#BLEND}, what is kept of a factor, in [0, 1]
 */
public record Stabilizer(Norm norm, Mode mode, double threshold, double zeta) {
  /** Norms of a factor. */
  public enum Norm {
    /** Greatest absolute value of an element. */
    MAX_ABS,
    /** Greatest sum of the absolute values of a row. */
    INFINITY
  }

  /** Ways back. */
  public enum Mode {
    /** {@code J <- zeta J + (1-zeta) I}. */
    BLEND,
    /** {@code J <- I}. */
    RESET
  }

  /** Checks the ranges. */
  public Stabilizer {
    if (!(threshold > 0)) {
      throw new IllegalArgumentException("threshold: expected above 0, got " + threshold);
    }
    Ranges.closed("zeta", zeta, 0, 1);
  }

  /** As released: to I where an element exceeds 2. */
  public Stabilizer() {
    this(Norm.MAX_ABS, Mode.RESET, 2, 0.9);
  }

  /** Whether the threshold can be passed at all. */
  boolean canFire(UpdateRule rule) {
    return !(rule == UpdateRule.CODE && norm == Norm.MAX_ABS && threshold >= 1);
  }

  boolean isAbove(InverseFactor factor) {
    double size = norm == Norm.MAX_ABS ? factor.maxAbs() : factor.infinityNorm();
    return size > threshold;
  }

  void leadBack(InverseFactor factor) {
    if (mode == Mode.RESET) {
      factor.reset();
    } else {
      factor.blend(zeta);
    }
  }
}
