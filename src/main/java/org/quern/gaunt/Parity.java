package org.quern.gaunt;

/** How a quantity answers to the inversion of space, x to -x. */
public enum Parity {
  /** Unchanged: e in e3nn. */
  EVEN("e", 1),
  /** Changes its sign: o in e3nn. */
  ODD("o", -1);

  private final String letter;
  private final int sign;

  Parity(String letter, int sign) {
    this.letter = letter;
    this.sign = sign;
  }

  /** 1 or -1. */
  public int sign() {
    return sign;
  }

  /** The parity of a product. */
  public Parity times(Parity other) {
    return this == other ? EVEN : ODD;
  }

  /** That of the spherical harmonics of a degree, (-1)<sup>l</sup>. */
  public static Parity natural(int degree) {
    return degree % 2 == 0 ? EVEN : ODD;
  }

  @Override
  public String toString() {
    return letter;
  }
}
