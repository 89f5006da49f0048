package org.quern.kronecker.optim;

/** The scalars of one update of one parameter, for {@link UpdateKernels}; reused, never shared. */
final class Coefficients {
  /** By what the row of P is multiplied before anything else. */
  float nu = 1;

  /** Step length; for Adam lr / (1 - beta1^t). */
  float rate;

  /** Momentum of SGD, beta1 of the others. */
  float beta1;

  /** 1 - beta1, rounded once. */
  float rest1;

  float beta2;

  /** 1 - beta2, rounded once. */
  float rest2;

  /** For Adam 1 / sqrt(1 - beta2^t), by which sqrt(v) is multiplied. */
  float correction = 1;

  float epsilon;

  /** Weight decay that is added to the gradient, or for LAMB to the direction. */
  float decay;

  /** What w is multiplied by first: 1, or 1 - lr weightDecay for AdamW. */
  float keep = 1;

  boolean nesterov;
}
