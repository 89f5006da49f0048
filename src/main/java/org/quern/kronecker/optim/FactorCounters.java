package org.quern.kronecker.optim;

/** What happened to a layer; outlives its factors. */
final class FactorCounters {
  /** Vectors that were applied, both factors counted. */
  long updates;

  /** Vectors with a NaN or an infinity. */
  long skipped;

  /** Factors without a finite result of the rule. */
  long resets;

  /** Refreshes after which the stabiliser led both factors back. */
  long stabilized;

  /** Refreshes without vectors for this layer. */
  long unseen;

  /** Gradients with a NaN or an infinity. */
  long notFinite;

  /** Gradients whose P vanished. */
  long vanished;

  long[] toArray() {
    return new long[] {updates, skipped, resets, stabilized, unseen, notFinite, vanished};
  }

  void set(long[] values) {
    updates = values[0];
    skipped = values[1];
    resets = values[2];
    stabilized = values[3];
    unseen = values[4];
    notFinite = values[5];
    vanished = values[6];
  }
}
