/**
 * Calibration of a decoder on disk: token ids, perplexity, gradients of the dense model, and the
 * pruning of its blocks one after the other, in memory that does not grow with the number of
 * blocks.
 */
@NullMarked
package org.quern.prune.calibration;

import org.jspecify.annotations.NullMarked;
