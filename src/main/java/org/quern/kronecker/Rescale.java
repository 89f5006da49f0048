package org.quern.kronecker;

/** How the length of the preconditioned gradient P = L G R, G = [dW | db], is restored. */
public enum Rescale {
  /** P as it is. */
  NONE,
  /** {@code ||G|| / ||P||}: keeps the Frobenius norm of the whole. */
  FROBENIUS,
  /**
   * {@code (||dW|| + ||db||) / (||PW|| + ||Pb||)}, as the released program: keeps the sum of the
   * two norms.
   */
  SUM_OF_NORMS
}
