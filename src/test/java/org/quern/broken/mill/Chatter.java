package org.quern.broken.mill;

/** Breaks the rule that library code does not print. */
final class Chatter {
  private Chatter() {}

  static void talk() {
    System.err.println("so there");
  }
}
