package org.quern.broken.mill;

/** Breaks the rule that kernels are hidden. */
public interface OpenKernels {
  /** Does nothing of interest. */
  void grind();
}
