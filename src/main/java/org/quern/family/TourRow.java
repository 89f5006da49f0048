package org.quern.family;

import org.quern.runtime.Tier;

/**
 * One job of the tour.
 *
 * @param family name of the family
 * @param job what was done, on what
 * @param tier the tier that ran
 * @param seconds wall time of the job
 * @param speedup how many times faster than {@code baseline}; NaN where the job has no baseline
 * @param baseline the straightforward way that was timed beside it in the same run, or an empty
 *     string
 * @param check what was compared with the oracle, and the figure
 * @param passed whether the comparison held
 */
public record TourRow(
    String family,
    String job,
    Tier tier,
    double seconds,
    double speedup,
    String baseline,
    String check,
    boolean passed) {}
