/**
 * What every family of kernels offers to the doors: its name, its golden-case replayer and its part
 * of the tour.
 */
@NullMarked
package org.quern.family;

import org.jspecify.annotations.NullMarked;
