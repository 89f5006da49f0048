/**
 * A small fully connected network, trained from scratch, that shows every layer's input and output
 * gradient: what the Kronecker family needs to see of a model.
 */
@NullMarked
package org.quern.kronecker.net;

import org.jspecify.annotations.NullMarked;
