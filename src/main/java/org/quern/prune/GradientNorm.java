package org.quern.prune;

import java.util.Locale;

/**
 * How the scaled gradients of the calibration samples are joined to one statistic per weight; it
 * decides the key under which a file has them.
 */
public enum GradientNorm {
  /** Sum over the samples of |scale g|. */
  L1,
  /** Root of the sum over the samples of (scale g)^2. */
  L2;

  /** The last part of a key: {@code grad_l1} or {@code grad_l2}. */
  String key() {
    return "grad_" + name().toLowerCase(Locale.ROOT);
  }
}
