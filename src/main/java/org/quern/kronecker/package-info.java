/**
 * Kronecker-factored preconditioning with inverse factors that are updated by one vector each,
 * after Mozaffari et al., "MKOR: Momentum-Enabled Kronecker-Factor-Based Optimizer Using Rank-1
 * Updates", NeurIPS 2023, arXiv 2306.01685.
 *
 * <p>{@link org.quern.kronecker.InverseFactor} holds one factor, {@link
 * org.quern.kronecker.Preconditioner} applies two of them to a gradient.
 */
@NullMarked
package org.quern.kronecker;

import org.jspecify.annotations.NullMarked;
