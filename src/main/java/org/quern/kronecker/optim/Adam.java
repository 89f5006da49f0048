package org.quern.kronecker.optim;

/**
 * Adam as PyTorch's, with bias correction: {@code m <- beta1 m + (1-beta1) g}, {@code v <- beta2 v
 * + (1-beta2) g^2}, and at update t {@code w <- w - lr/(1-beta1^t) m / (sqrt(v/(1-beta2^t)) +
 * epsilon)}. Weight decay is added to g, or with {@code decoupled}, as AdamW, w is first multiplied
 * by {@code 1 - lr weightDecay}.
 *
 * @param beta1 at least 0 and below 1
 * @param beta2 at least 0 and below 1
 * @param epsilon above 0
 * @param weightDecay at least 0
 * @param decoupled whether it is AdamW
 */
public record Adam(
    double beta1, double beta2, double epsilon, double weightDecay, boolean decoupled)
    implements BackEnd {
  /** Checks the ranges. */
  public Adam {
    Ranges.within("beta1", beta1, 0, 1);
    Ranges.within("beta2", beta2, 0, 1);
    Ranges.positive("epsilon", epsilon);
    Ranges.notNegative("weightDecay", weightDecay);
  }

  /** Betas 0.9 and 0.999, epsilon 1e-8, no weight decay. */
  public Adam() {
    this(0);
  }

  /** Betas 0.9 and 0.999, epsilon 1e-8, weight decay added to the gradient. */
  public Adam(double weightDecay) {
    this(0.9, 0.999, 1e-8, weightDecay, false);
  }

  /** AdamW with betas 0.9 and 0.999, epsilon 1e-8. */
  public static Adam decoupled(double weightDecay) {
    return new Adam(0.9, 0.999, 1e-8, weightDecay, true);
  }

  @Override
  public int moments() {
    return 2;
  }
}
