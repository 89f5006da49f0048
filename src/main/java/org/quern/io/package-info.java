/** Files: safetensors checkpoints, JSON and CSV. */
@NullMarked
package org.quern.io;

import org.jspecify.annotations.NullMarked;
