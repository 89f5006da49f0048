package org.quern.prune;

import java.util.Locale;

/**
 * Which share of the weights of a linear layer is pruned, and among which weights it is selected.
 */
public sealed interface Pattern permits Pattern.Unstructured, Pattern.NM, Pattern.Cumulative {

  /**
   * The {@code (int) (size * ratio)} smallest scores of every group, the lowest column first among
   * equals.
   *
   * @param ratio share to prune, in [0, 1)
   * @param group the weights among which to select
   */
  record Unstructured(double ratio, Group group) implements Pattern {
    /** Checks the ratio. */
    public Unstructured {
      checkRatio(ratio);
    }

    @Override
    public String toString() {
      return ratio + (group == Group.MATRIX ? " per matrix" : "");
    }
  }

  /**
   * The {@code prune} smallest scores in every aligned run of {@code of} columns, the lowest column
   * first among equals. Note that the first number counts the pruned weights, as in the GBLM and
   * Wanda programs, not the kept ones, as in NVIDIA's 2:4.
   *
   * @param prune weights to prune per run, from 1 to {@code of}
   * @param of columns of a run, at most 16
   */
  record NM(int prune, int of) implements Pattern {
    /** Most columns of a run. */
    public static final int MAX_OF = 16;

    /** Checks both counts. */
    public NM {
      if (of < 1 || of > MAX_OF) {
        throw new IllegalArgumentException("of: expected 1 to " + MAX_OF + " columns, got " + of);
      }
      if (prune < 1 || prune > of) {
        throw new IllegalArgumentException(
            "prune: expected 1 to " + of + " of " + of + ", got " + prune);
      }
    }

    @Override
    public String toString() {
      return prune + ":" + of;
    }
  }

  /**
   * Per row, the smallest scores whose running sum stays within a share of the row's score sum; one
   * share for all rows, found by bisection so that the matrix reaches the ratio to 0.001 or the
   * bracket of the share falls below 0.001. Rows end with different sparsities (the "variant" of
   * the Wanda program).
   *
   * @param ratio share of the matrix to prune, in [0, 1)
   */
  record Cumulative(double ratio) implements Pattern {
    /** Checks the ratio. */
    public Cumulative {
      checkRatio(ratio);
    }

    @Override
    public String toString() {
      return "cumulative " + ratio;
    }
  }

  /** The smallest scores of every row. */
  static Pattern unstructured(double ratio) {
    return new Unstructured(ratio, Group.ROW);
  }

  /** The smallest scores of the matrix. */
  static Pattern unstructured(double ratio, Group group) {
    return new Unstructured(ratio, group);
  }

  /** {@code prune} of every {@code of} consecutive columns. */
  static Pattern nm(int prune, int of) {
    return new NM(prune, of);
  }

  /** The ratio by cumulative score. */
  static Pattern cumulative(double ratio) {
    return new Cumulative(ratio);
  }

  /**
   * Reads {@code 0.5} (unstructured per row), {@code 2:4} (2 pruned of every 4), or {@code
   * cumulative:0.5}.
   *
   * @throws IllegalArgumentException where the text has none of these forms or is out of range
   */
  static Pattern parse(String text) {
    String word = text.strip().toLowerCase(Locale.ROOT);
    try {
      if (word.startsWith("cumulative:")) {
        return cumulative(Double.parseDouble(word.substring("cumulative:".length())));
      }
      int colon = word.indexOf(':');
      if (colon < 0) {
        return unstructured(Double.parseDouble(word));
      }
      return nm(
          Integer.parseInt(word.substring(0, colon)), Integer.parseInt(word.substring(colon + 1)));
    } catch (NumberFormatException notANumber) {
      throw new IllegalArgumentException(
          "pattern: expected a ratio such as 0.5, N:M such as 2:4, or cumulative:0.5, got '"
              + text
              + "'",
          notANumber);
    }
  }

  private static void checkRatio(double ratio) {
    if (!(ratio >= 0 && ratio < 1)) {
      throw new IllegalArgumentException("ratio: expected a share in [0, 1), got " + ratio);
    }
  }
}
