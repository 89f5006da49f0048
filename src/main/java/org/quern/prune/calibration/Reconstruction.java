package org.quern.prune.calibration;

import java.util.Locale;

/** What becomes of the weights that pruning leaves, by the second moments of the inputs. */
public enum Reconstruction {
  /** They keep their bits. */
  NONE,
  /** The mask is selected by scores, then the kept weights are refitted to the layer's outputs. */
  REFIT,
  /** SparseGPT selects and updates in one sweep; there are no scores. */
  SPARSEGPT;

  /** The word by which reports name it. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }
}
