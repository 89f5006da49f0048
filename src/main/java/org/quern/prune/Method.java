package org.quern.prune;

import java.util.Locale;

/**
 * How the score S of a weight is computed; weights with small scores are pruned. W is the weight, c
 * the norm of its input column over the calibration data, G the gradient statistic of the same
 * shape as W. Products are rounded to binary32 one by one and then added, without fused
 * multiply-add, so that masks agree with the published code bit for bit.
 */
public enum Method {
  /** S = |W|. */
  MAGNITUDE(false, false),
  /** S = |W| c (Sun et al., arXiv 2306.11695). */
  WANDA(true, false),
  /** S = |W| |G|. */
  GRADIENT(false, true),
  /** S = |W| c + |W| |G| (Das et al., arXiv 2311.04902, as released). */
  GBLM(true, true);

  private final boolean activations;
  private final boolean gradients;

  Method(boolean activations, boolean gradients) {
    this.activations = activations;
    this.gradients = gradients;
  }

  /** The word by which the command line and reports name this method. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** True when the score needs the column norms c. */
  public boolean usesActivations() {
    return activations;
  }

  /** True when the score needs the gradient statistic G. */
  public boolean usesGradients() {
    return gradients;
  }
}
