/** Benchmarks of the library beside the measured ceilings of the machine that they run on. */
@NullMarked
package org.quern.jmh;

import org.jspecify.annotations.NullMarked;
