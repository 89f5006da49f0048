package org.quern.broken.runtime;

import org.quern.broken.cli.Door;

/** Breaks the rule that a lower room does not know a higher one. */
final class Upward {
  private Upward() {}

  static Door knock() {
    return new Door();
  }
}
