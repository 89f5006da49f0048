package org.quern.kronecker.optim;

/** Checks of scalars; each error names the parameter, the range and the value. */
final class Ranges {
  private Ranges() {}

  /** At least {@code low}, below {@code high}. */
  static void within(String name, double value, double low, double high) {
    if (!(value >= low && value < high)) {
      throw error(name, "in [" + low + ", " + high + ")", value);
    }
  }

  /** At least {@code low}, at most {@code high}. */
  static void closed(String name, double value, double low, double high) {
    if (!(value >= low && value <= high)) {
      throw error(name, "in [" + low + ", " + high + "]", value);
    }
  }

  /** Finite and above 0. */
  static void positive(String name, double value) {
    if (!(value > 0 && value < Double.POSITIVE_INFINITY)) {
      throw error(name, "a finite number above 0", value);
    }
  }

  /** Finite and at least 0. */
  static void notNegative(String name, double value) {
    if (!(value >= 0 && value < Double.POSITIVE_INFINITY)) {
      throw error(name, "a finite number of at least 0", value);
    }
  }

  /** At least {@code low}. */
  static void atLeast(String name, long value, long low) {
    if (value < low) {
      throw new IllegalArgumentException(name + ": expected at least " + low + ", got " + value);
    }
  }

  private static IllegalArgumentException error(String name, String range, double value) {
    return new IllegalArgumentException(name + ": expected " + range + ", got " + value);
  }
}
