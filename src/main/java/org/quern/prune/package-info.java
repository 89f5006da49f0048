/**
 * Pruning of trained linear layers by weight, activation and gradient scores (GBLM-Pruner, arXiv
 * 2311.04902; Wanda, arXiv 2306.11695).
 */
@NullMarked
package org.quern.prune;

import org.jspecify.annotations.NullMarked;
