/** The command line: turns files and flags into calls. */
@NullMarked
package org.quern.cli;

import org.jspecify.annotations.NullMarked;
