package org.quern.kronecker;

/**
 * What a micro-batch of a step counts, for a loss that is the mean over its rows, divided by the
 * number of micro-batches, and multiplied by a loss scale: limits for single entries, and the
 * factor of the output gradients. With it the vectors of a layer are
 *
 * <pre>{@code
 * a = mean of the input rows, g = gradientScale() * sum of the rows of dY
 * }</pre>
 *
 * of all micro-batches together, g in the scale of the mean loss.
 *
 * @param microBatches micro-batches of a step, k
 * @param lossScale factor of the loss, by which dY is still multiplied
 * @param clip greatest absolute value of an entry of the input and of the gradient of one row's own
 *     loss; infinity for no limit
 * @param released true to count as the released program does, which divides both vectors' rows by k
 *     once more before the clip and so makes g smaller by k
 */
public record Accounting(int microBatches, double lossScale, double clip, boolean released) {
  /** One micro-batch, no loss scale, no limit. */
  public static final Accounting PLAIN = new Accounting(1, 1, Double.POSITIVE_INFINITY, false);

  /** Checks the ranges. */
  public Accounting {
    if (microBatches < 1) {
      throw new IllegalArgumentException("microBatches: expected at least 1, got " + microBatches);
    }
    if (!(lossScale > 0) || !Double.isFinite(lossScale)) {
      throw new IllegalArgumentException(
          "lossScale: expected a finite number above 0, got " + lossScale);
    }
    if (!(clip > 0)) {
      throw new IllegalArgumentException("clip: expected a number above 0, got " + clip);
    }
  }

  /** Limit for the entries of an input. */
  public double inputLimit() {
    return released ? clip * microBatches : clip;
  }

  /**
   * Limit for the entries of an output gradient.
   *
   * @param rows rows of the micro-batch, or samples for a convolution
   */
  public double gradientLimit(long rows) {
    return released
        ? clip * microBatches * lossScale / rows
        : clip * lossScale / microBatches / rows;
  }

  /** Factor of the sum of the rows of dY. */
  public double gradientScale() {
    return 1 / (released ? lossScale * microBatches : lossScale);
  }
}
