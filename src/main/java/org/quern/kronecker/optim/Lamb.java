package org.quern.kronecker.optim;

/**
 * LAMB as in the released program of MKOR, without bias correction: moments as {@link Adam}, {@code
 * u = m/(sqrt(v) + epsilon) + weightDecay w}, and {@code w <- w - lr r u} with {@code r =
 * min(||w||, maxNorm)/||u||}, or 1 where either is 0. Weight and bias have ratios of their own.
 *
 * <p>The ratio needs the norm of the whole u before the first weight moves, so that LAMB takes a
 * second sweep over u and w.
 *
 * @param beta1 at least 0 and below 1
 * @param beta2 at least 0 and below 1
 * @param epsilon above 0
 * @param weightDecay at least 0
 * @param maxNorm bound of the norm of the weights, above 0
 */
public record Lamb(double beta1, double beta2, double epsilon, double weightDecay, double maxNorm)
    implements BackEnd {
  /** Checks the ranges. */
  public Lamb {
    Ranges.within("beta1", beta1, 0, 1);
    Ranges.within("beta2", beta2, 0, 1);
    Ranges.positive("epsilon", epsilon);
    Ranges.notNegative("weightDecay", weightDecay);
    if (!(maxNorm > 0)) {
      throw new IllegalArgumentException("maxNorm: expected above 0, got " + maxNorm);
    }
  }

  /** Betas 0.9 and 0.999, epsilon 1e-6, weight norms up to 10. */
  public Lamb(double weightDecay) {
    this(0.9, 0.999, 1e-6, weightDecay, 10);
  }

  @Override
  public int moments() {
    return 2;
  }
}
