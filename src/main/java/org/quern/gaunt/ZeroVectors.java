package org.quern.gaunt;

/** What spherical harmonics do with a vector of length 0, which has no direction. */
public enum ZeroVectors {
  /** Reject it; the error names its row. */
  ERROR,
  /**
   * Give Y(0,0), which is the same in every direction, 0 for l &gt; 0, and 0 for all derivatives,
   * as e3nn does.
   */
  CONSTANT
}
