package org.quern.kronecker.optim;

/**
 * The first-order optimizer that takes the preconditioned gradient: {@link Sgd}, {@link Adam} or
 * {@link Lamb}, each with the semantics of its published program and moments in F32. It runs in the
 * same sweep that writes the rows of P, and leaves the gradient zeroed for the next step.
 */
public sealed interface BackEnd permits Sgd, Adam, Lamb {
  /** Arrays of the size of the parameters that it keeps, each 4 bytes per parameter. */
  int moments();

  /** Weight decay that parameters have unless their layer sets its own. */
  double weightDecay();
}
