/**
 * A LLaMA-style language model small enough to be run here: its weights, its forward pass block by
 * block, and the calibration and pruning of all its linear layers in the order of the blocks.
 */
@NullMarked
package org.quern.prune.lm;

import org.jspecify.annotations.NullMarked;
