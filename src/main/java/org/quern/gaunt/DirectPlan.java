package org.quern.gaunt;

import java.util.Map;
import java.util.TreeMap;

/** The non-zero coefficients of a form, with the factors of its degrees. Immutable. */
final class DirectPlan {
  /** Components of each operand in an entry; not to be changed. */
  final int[][] components;

  /** Coefficients; not to be changed. */
  final double[] values;

  DirectPlan(TrilinearForm form) {
    Couplings couplings = GauntCoefficients.table(form.degree(0), form.degree(1), form.degree(2));
    components = new int[][] {couplings.i, couplings.j, couplings.k};
    values = couplings.value.clone();
    for (int entry = 0; entry < values.length; entry++) {
      for (int operand = 0; operand < 3; operand++) {
        values[entry] *= form.scale(operand, degreeOf(components[operand][entry]));
      }
    }
  }

  /** The degree of a component. */
  static int degreeOf(int component) {
    return (int) Math.sqrt(component);
  }

  /**
   * The sums that make a target: by its component, then by the component of one input, the
   * coefficients by the component of the other.
   *
   * @param outer the operand of the middle level
   */
  Map<Integer, Map<Integer, Map<Integer, Double>>> sums(int target, int outer) {
    int inner = 3 - target - outer;
    Map<Integer, Map<Integer, Map<Integer, Double>>> sums = new TreeMap<>();
    for (int entry = 0; entry < values.length; entry++) {
      sums.computeIfAbsent(components[target][entry], k -> new TreeMap<>())
          .computeIfAbsent(components[outer][entry], i -> new TreeMap<>())
          .put(components[inner][entry], values[entry]);
    }
    return sums;
  }
}
