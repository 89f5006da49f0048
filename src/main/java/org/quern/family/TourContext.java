package org.quern.family;

import org.quern.runtime.Progress;
import org.quern.runtime.Tier;

/**
 * What a tour job is given.
 *
 * @param tier the tier to show; the oracle for the check is always the scalar tier or double
 *     precision
 * @param threads worker threads to use at most
 * @param progress receives the advance
 */
public record TourContext(Tier tier, int threads, Progress progress) {}
