package org.quern.prune.calibration;

/** What becomes of the weights that pruning leaves, by the second moments of the inputs. */
public enum Reconstruction {
  /** They keep their bits. */
  NONE,
  /** The mask is selected by scores, then the kept weights are refitted to the layer's outputs. */
  REFIT,
  /** SparseGPT selects and updates in one sweep; there are no scores. */
  SPARSEGPT
}
