package org.quern.prune.lm;

/**
 * How the rotary frequencies of a model are slowed for texts longer than those that it was first
 * trained on: waves longer than {@code trained / low} positions by the factor, waves shorter than
 * {@code trained / high} not at all, those between by a mean of both. Source: the reference code of
 * Llama 3.1 (Meta), whose configuration calls it {@code llama3}.
 *
 * @param factor by which long waves become longer, at least 1
 * @param low waves that fit the trained length less often than this are long
 * @param high waves that fit it more often than this are short
 * @param trained length of the first training, in positions
 */
public record RotaryScaling(double factor, double low, double high, double trained) {
  /** Frequencies as they are. */
  public static final RotaryScaling NONE = linear(1);

  /** Checks the numbers. */
  public RotaryScaling {
    if (!(factor >= 1) || !(low > 0) || !(high >= low) || !(trained > 0)) {
      throw new IllegalArgumentException(
          "expected a factor of at least 1, 0 < low <= high and trained > 0, got "
              + factor
              + ", "
              + low
              + ", "
              + high
              + " and "
              + trained);
    }
  }

  /** Slows all waves alike. */
  public static RotaryScaling linear(double factor) {
    return new RotaryScaling(factor, Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY, 1);
  }

  /** The frequency, in radians per position, that takes the place of another. */
  double scaled(double frequency) {
    double waves = trained * frequency / (2 * Math.PI);
    if (waves < low) {
      return frequency / factor;
    }
    if (waves > high) {
      return frequency;
    }
    double kept = high == low ? 1 : (waves - low) / (high - low);
    return kept * frequency + (1 - kept) * frequency / factor;
  }
}
