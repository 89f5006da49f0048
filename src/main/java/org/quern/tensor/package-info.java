/** Element types and tensors in native memory. */
@NullMarked
package org.quern.tensor;

import org.jspecify.annotations.NullMarked;
