/** What vector kernels share. Not exported, because it speaks in types of the incubator. */
@NullMarked
package org.quern.runtime.vector;

import org.jspecify.annotations.NullMarked;
