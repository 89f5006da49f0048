package org.quern.random;

/** Philox4x32-10. */
public final class Philox {
  private Philox() {}
}
