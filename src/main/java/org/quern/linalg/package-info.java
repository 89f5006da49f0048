/** Dense linear algebra: matrix products and small factorizations. */
@NullMarked
package org.quern.linalg;

import org.jspecify.annotations.NullMarked;
