/** Tests of the language model. */
@NullMarked
package org.quern.prune.lm;

import org.jspecify.annotations.NullMarked;
