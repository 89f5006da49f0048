/**
 * Tiers and devices, their detection and selection, and fork-join ranges: the floor on which
 * everything stands.
 */
@NullMarked
package org.quern.runtime;

import org.jspecify.annotations.NullMarked;
