/**
 * Reconstruction of pruned linear layers: from the second moments of a layer's inputs, the kept
 * weights are changed so that the outputs of the layer stay where they were. SparseGPT (Frantar and
 * Alistarh, arXiv 2301.00774) selects and reconstructs column by column; the refit of survivors
 * solves the least-squares problem of a given mask.
 *
 * <p>W is [m, n], H = (2/N) sum over the samples of X^T X is [n, n], and a mask is U8 [m, ceil(n /
 * 8)] as {@link org.quern.prune.Pruner#mask} gives it. What a layer loses by new weights W' is
 * {@code 1/2 trace((W' - W) (H + damping I) (W' - W)^T)}.
 */
@NullMarked
package org.quern.prune.reconstruct;

import org.jspecify.annotations.NullMarked;
