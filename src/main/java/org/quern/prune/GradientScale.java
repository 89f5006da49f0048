package org.quern.prune;

import java.util.Locale;

/**
 * Weight of the gradient term against the activation term, by which the gradients g of N
 * calibration samples are scaled:
 *
 * <pre>
 *               L1                      L2
 * official(f)   sum |f g|               sqrt(sum (f g)^2)
 * perMean(a)    a / N * sum |g|         a * sqrt(sum g^2 / N)
 * </pre>
 *
 * <p>The official statistic grows with the number of samples, as N or its root, while the
 * activation term does not, so that its published factor 100 belongs to 128 samples. The same
 * statistics for any number of samples are {@code perMean(12800)} for {@link GradientNorm#L1} and
 * {@code perMean(1131.37)} for {@link GradientNorm#L2}: 100 times 128 and its root.
 *
 * <p>Source: Das et al., arXiv 2311.04902; the program released with it, whose factor {@link
 * #OFFICIAL} is.
 *
 * @param factor f or a, positive and finite
 * @param perMean true where the statistic is a mean over the samples
 */
public record GradientScale(double factor, boolean perMean) {
  /** The factor 100 within the sums, as published. */
  public static final GradientScale OFFICIAL = official(100);

  /**
   * Checks the factor.
   *
   * @throws IllegalArgumentException where it is not positive and finite as a binary32
   */
  public GradientScale {
    if (!((float) factor > 0 && (float) factor < Float.POSITIVE_INFINITY)) {
      throw new IllegalArgumentException(
          "factor: expected a positive and finite binary32, got " + factor);
    }
  }

  /** Sums over the samples, every gradient times {@code factor}. */
  public static GradientScale official(double factor) {
    return new GradientScale(factor, false);
  }

  /** Means over the samples, times {@code factor}. */
  public static GradientScale perMean(double factor) {
    return new GradientScale(factor, true);
  }

  /**
   * What every gradient is multiplied with before it is summed. A mean is taken of gradients times
   * 100, too, so that small squares do not vanish.
   */
  float inSum() {
    return (float) (perMean ? OFFICIAL.factor : factor);
  }

  /** What the sum over {@code samples}, or its root, is multiplied with in the end. */
  double afterSum(GradientNorm norm, long samples) {
    if (!perMean) {
      return 1;
    }
    double count = norm == GradientNorm.L1 ? samples : Math.sqrt((double) samples);
    return factor / (inSum() * count);
  }

  /** The text that {@link #parse} reads, as in {@code official 100.0}. */
  @Override
  public String toString() {
    return (perMean ? "per-mean " : "official ") + factor;
  }

  /**
   * The scale of a text.
   *
   * @param text {@code official F} or {@code per-mean F}
   * @throws IllegalArgumentException where it is neither
   */
  public static GradientScale parse(String text) {
    String[] words = text.strip().toLowerCase(Locale.ROOT).split("\\s+", -1);
    if (words.length == 2 && (words[0].equals("official") || words[0].equals("per-mean"))) {
      try {
        return new GradientScale(Double.parseDouble(words[1]), words[0].equals("per-mean"));
      } catch (NumberFormatException e) {
        // Told below, with the whole text.
      }
    }
    throw new IllegalArgumentException(
        "scale: expected 'official FACTOR' or 'per-mean FACTOR', got '" + text + "'");
  }
}
