/**
 * The optimizer around the factors of {@link org.quern.kronecker}: {@link
 * org.quern.kronecker.optim.Mkor} keeps two inverse factors per layer, refreshes them on a schedule
 * from the mean input and the output gradient, and hands the preconditioned gradient to SGD, Adam
 * or LAMB, fused into their sweep, or to an optimizer of the caller.
 *
 * <p>Source: Mozaffari et al., "MKOR: Momentum-Enabled Kronecker-Factor-Based Optimizer Using
 * Rank-1 Updates", NeurIPS 2023, arXiv 2306.01685, and its released program, whose rule is the
 * default and whose defects are not repeated.
 */
@NullMarked
package org.quern.kronecker.optim;

import org.jspecify.annotations.NullMarked;
