/** Tests of the reconstruction of pruned layers. */
@NullMarked
package org.quern.prune.reconstruct;

import org.jspecify.annotations.NullMarked;
