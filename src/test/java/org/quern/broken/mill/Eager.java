package org.quern.broken.mill;

import jdk.incubator.vector.FloatVector;

/** Breaks the rule that only classes named Vector... touch the incubator module. */
final class Eager {
  private Eager() {}

  static int lanes() {
    return FloatVector.SPECIES_PREFERRED.length();
  }
}
