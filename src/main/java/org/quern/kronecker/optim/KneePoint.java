package org.quern.kronecker.optim;

/**
 * Switches at the knee of the loss: where the exponential mean of the decrease per step falls below
 * a share of the mean decrease since the start, {@code ema < share (l_start - l_now)/(t -
 * t_start)}. A policy of this library, not the paper's.
 */
public final class KneePoint implements SwitchPolicy {
  private final double momentum;
  private final double share;
  private final long minSteps;

  private long startStep = -1;
  private double startLoss;
  private double lastLoss;
  private double ema = Double.NaN;

  /** Momentum 0.95, share 0.1, at least 100 steps. */
  public KneePoint() {
    this(0.95, 0.1, 100);
  }

  /**
   * A policy.
   *
   * @param momentum of the exponential mean, in [0, 1)
   * @param share of the mean decrease that is too little, in [0, 1]
   * @param minSteps steps to wait after the first, at least 1
   */
  public KneePoint(double momentum, double share, long minSteps) {
    Ranges.within("momentum", momentum, 0, 1);
    Ranges.closed("share", share, 0, 1);
    Ranges.atLeast("minSteps", minSteps, 1);
    this.momentum = momentum;
    this.share = share;
    this.minSteps = minSteps;
  }

  @Override
  public Decision observe(long step, double loss) {
    if (!Double.isFinite(loss)) {
      return Decision.STAY;
    }
    if (startStep < 0) {
      startStep = step;
      startLoss = loss;
      lastLoss = loss;
      return Decision.STAY;
    }
    double decrease = lastLoss - loss;
    lastLoss = loss;
    ema = Double.isNaN(ema) ? decrease : momentum * ema + (1 - momentum) * decrease;
    long steps = step - startStep;
    return steps >= minSteps && ema < share * (startLoss - loss) / steps
        ? Decision.FIRST_ORDER
        : Decision.STAY;
  }

  @Override
  public double[] state() {
    return new double[] {startStep, startLoss, lastLoss, ema};
  }

  @Override
  public void restore(double[] state) {
    if (state.length != 4) {
      throw new IllegalArgumentException(
          "state: expected 4 numbers of a knee point, got " + state.length);
    }
    startStep = (long) state[0];
    startLoss = state[1];
    lastLoss = state[2];
    ema = state[3];
  }

  @Override
  public String toString() {
    return "KneePoint[momentum=" + momentum + ", share=" + share + ", minSteps=" + minSteps + "]";
  }
}
