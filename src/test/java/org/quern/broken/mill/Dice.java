package org.quern.broken.mill;

import java.util.Random;

/** Breaks the rule that randomness comes from the user's seed. */
final class Dice {
  private Dice() {}

  static int roll() {
    return 1 + new Random().nextInt(6);
  }
}
