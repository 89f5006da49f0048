package org.quern.kronecker.optim;

/**
 * When a run goes on with the back end alone (the hybrid MKOR-H): factors are freed, moments stay.
 * The paper tells of a switch by the rate at which the loss falls, but gives no formula.
 */
public interface SwitchPolicy {
  /** What to do from this step on. */
  enum Decision {
    /** Go on as before. */
    STAY,
    /** Free the factors and go on with the back end alone, for the rest of the run. */
    FIRST_ORDER
  }

  /**
   * Takes the loss of a step.
   *
   * @param step number of the step, from 0
   * @param loss training loss; a NaN or an infinity is to be ignored
   */
  Decision observe(long step, double loss);

  /** Everything that later decisions depend on, for a checkpoint. */
  double[] state();

  /**
   * Takes what {@link #state} gave.
   *
   * @throws IllegalArgumentException where it is not of this policy
   */
  void restore(double[] state);
}
