package org.quern.family;

import org.quern.runtime.Tier;

/**
 * Outcome of one golden case on one tier.
 *
 * @param file name of the file that holds the case
 * @param name the case within the file
 * @param tier the tier that ran
 * @param worst worst deviation in the unit of {@code tolerance}; NaN where nothing could be
 *     compared
 * @param tolerance largest deviation that passes; 0 demands bit-identity
 * @param unit what the two figures count, for example {@code "mask bits"} or {@code "relative
 *     error"}
 */
public record CaseResult(
    String file, String name, Tier tier, double worst, double tolerance, String unit) {
  /** True when the deviation is a number within the tolerance. */
  public boolean passed() {
    return worst <= tolerance;
  }
}
