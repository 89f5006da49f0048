/** Counter-based random numbers, the same on every tier and device. */
@NullMarked
package org.quern.random;

import org.jspecify.annotations.NullMarked;
