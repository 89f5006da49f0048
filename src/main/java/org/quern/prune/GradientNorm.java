package org.quern.prune;

/** How the scaled gradients of the calibration samples are joined to one statistic per weight. */
public enum GradientNorm {
  /** Sum over the samples of |scale g|. */
  L1,
  /** Root of the sum over the samples of (scale g)^2. */
  L2
}
