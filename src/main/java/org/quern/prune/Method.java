package org.quern.prune;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * How the score S of a weight is computed; weights with small scores are pruned. W is the weight, c
 * the norm of its input column over the calibration data, G the gradient statistic of the same
 * shape as W. Every operation is rounded to binary32 by itself, in the order written and without
 * fused multiply-add, so that masks agree with the published code bit for bit; a product of 0 and a
 * factor that overflowed counts as 0.
 */
public enum Method {
  /** S = |W|. */
  MAGNITUDE("magnitude", false, false, false),
  /** S = |W| c (Sun et al., arXiv 2306.11695). */
  WANDA("wanda", true, false, false),
  /** S = |W| |G|. */
  GRADIENT("gradient", false, true, false),
  /** S = |W| c + |W| |G| (Das et al., arXiv 2311.04902, as released). */
  GBLM("gblm", true, true, false),
  /**
   * Relative importance and activations: S = (|W| / C + |W| / R) c^a, with the sum C of |W| over
   * the weight's column, the sum R over its row, and a = 1/2 (Zhang et al., "Plug-and-Play: An
   * Efficient Post-training Pruning Method for Large Language Models", ICLR 2024, as released). The
   * sums are taken in binary64 and rounded; a weight of a column or row of zeros scores 0.
   */
  RIA("ria", true, false, true),
  /**
   * S = W^2 (|G| - min |G|) / (max |G| - min |G|), the extremes over the matrix (Dong et al.,
   * "Pruner-Zero", arXiv 2406.02924, as released); S = W^2 where all |G| are equal.
   */
  PRUNER_ZERO("pruner-zero", false, true, true),
  /**
   * S = (alpha |G| + c) |W|, with alpha = 100 and G the root of the mean over the samples of the
   * squared gradient of the norm of the decoder block's output: regional gradients, which need no
   * backward pass of the model (Yang et al., "Wanda++", arXiv 2503.04992).
   */
  WANDA_PLUS_PLUS("wanda++", true, true, false);

  private final String label;
  private final boolean activations;
  private final boolean gradients;
  private final boolean matrix;

  Method(String label, boolean activations, boolean gradients, boolean matrix) {
    this.label = label;
    this.activations = activations;
    this.gradients = gradients;
    this.matrix = matrix;
  }

  /**
   * The method of a label, in any case.
   *
   * @throws IllegalArgumentException where no method has it; the message lists those there are
   */
  public static Method of(String label) {
    for (Method method : values()) {
      if (method.label.equals(label.toLowerCase(Locale.ROOT))) {
        return method;
      }
    }
    throw new IllegalArgumentException(
        "method: expected one of "
            + Arrays.stream(values()).map(Method::label).collect(Collectors.joining(", "))
            + ", got '"
            + label
            + "'");
  }

  /** The word by which the command line and reports name this method. */
  public String label() {
    return label;
  }

  /** True when the score needs the column norms c. */
  public boolean usesActivations() {
    return activations;
  }

  /** True when the score needs the gradient statistic G. */
  public boolean usesGradients() {
    return gradients;
  }

  /** True when the score of one weight takes sums or extremes over the whole matrix. */
  boolean usesWholeMatrix() {
    return matrix;
  }
}
