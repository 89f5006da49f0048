/** Tests of the language model. */
@NullMarked
package org.quern.prune.sparse;

import org.jspecify.annotations.NullMarked;
