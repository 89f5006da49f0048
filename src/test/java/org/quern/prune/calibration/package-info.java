/** Tests of the calibration of decoders. */
@NullMarked
package org.quern.prune.calibration;

import org.jspecify.annotations.NullMarked;
