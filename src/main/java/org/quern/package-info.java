/** Entry point of the library: what this machine can run. */
@NullMarked
package org.quern;

import org.jspecify.annotations.NullMarked;
