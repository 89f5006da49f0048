package org.quern.kronecker.optim;

/**
 * Stochastic gradient descent as PyTorch's SGD without dampening: with d = g + weightDecay w,
 * {@code m <- momentum m + d}, and {@code w <- w - lr m}, or {@code w <- w - lr (d + momentum m)}
 * where it is Nesterov's.
 *
 * @param momentum at least 0 and below 1; with 0 no moment is kept
 * @param weightDecay at least 0
 * @param nesterov whether the step looks ahead; needs a momentum
 */
public record Sgd(double momentum, double weightDecay, boolean nesterov) implements BackEnd {
  /** Checks the ranges. */
  public Sgd {
    Ranges.within("momentum", momentum, 0, 1);
    Ranges.notNegative("weightDecay", weightDecay);
    if (nesterov && momentum == 0) {
      throw new IllegalArgumentException("nesterov: expected a momentum above 0, got 0");
    }
  }

  /** Plain descent. */
  public Sgd() {
    this(0, 0, false);
  }

  /** Descent with momentum. */
  public Sgd(double momentum) {
    this(momentum, 0, false);
  }

  @Override
  public int moments() {
    return momentum == 0 ? 0 : 1;
  }
}
