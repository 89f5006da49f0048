package org.quern.broken.sieve;

import org.quern.broken.mill.OpenKernels;

/** Breaks the rule that a family does not import another. */
final class Sideways {
  private Sideways() {}

  static void borrow(OpenKernels kernels) {
    kernels.grind();
  }
}
