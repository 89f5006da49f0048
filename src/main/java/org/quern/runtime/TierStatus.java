package org.quern.runtime;

/**
 * Whether a tier can run here, and why or why not.
 *
 * @param tier the tier
 * @param available true when kernels of this tier can run in this JVM
 * @param reason one sentence: what was found, or which flag, library or device would make the tier
 *     available
 */
public record TierStatus(Tier tier, boolean available, String reason) {}
