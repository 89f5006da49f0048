package org.quern.prune;

/** The weights among which an unstructured pattern selects. */
public enum Group {
  /** Every output row by itself: each row loses the same number of weights. */
  ROW,
  /** The whole matrix: rows may end with different sparsities. */
  MATRIX
}
