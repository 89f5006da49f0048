/**
 * Pruned matrices stored without their zeros, and the products that read less memory for it: the
 * two layouts of compressed-tensors, linear layers over them, and the packing of checkpoints.
 */
@NullMarked
package org.quern.prune.sparse;

import org.jspecify.annotations.NullMarked;
