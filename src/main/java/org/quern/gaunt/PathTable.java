package org.quern.gaunt;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The coefficients of a form in groups of one path and one component of a target, which a weight by
 * path multiplies together. Immutable.
 */
final class PathTable {
  private final List<ProductPath> paths;
  private final Groups[] groups = new Groups[3];

  /** The entries of one target, group after group. Arrays are not to be changed. */
  static final class Groups {
    /** Number of the path of each group. */
    final int[] path;

    /** Component of the target of each group. */
    final int[] component;

    /** One past the last entry of each group. */
    final int[] end;

    /** Component of the first of the other operands in each entry. */
    final int[] first;

    /** Component of the second of the other operands in each entry. */
    final int[] second;

    /** Coefficients with the factors of the degrees. */
    final double[] values;

    /** The same in single precision. */
    final float[] rounded;

    /** The highest component in {@link #first}. */
    final int mostFirst;

    /** The highest component in {@link #second}. */
    final int mostSecond;

    Groups(DirectPlan plan, int[] pathOf, int target) {
      int[] targets = plan.components[target];
      int[] order =
          IntStream.range(0, pathOf.length)
              .boxed()
              .sorted(
                  Comparator.<Integer>comparingInt(e -> pathOf[e])
                      .thenComparingInt(e -> targets[e]))
              .mapToInt(e -> e)
              .toArray();
      end =
          IntStream.rangeClosed(1, order.length)
              .filter(n ->
                  n == order.length
                      || pathOf[order[n]] != pathOf[order[n - 1]]
                      || targets[order[n]] != targets[order[n - 1]])
              .toArray();
      path = IntStream.of(end).map(after -> pathOf[order[after - 1]]).toArray();
      component = IntStream.of(end).map(after -> targets[order[after - 1]]).toArray();
      int[] firsts = plan.components[target == 0 ? 1 : 0];
      int[] seconds = plan.components[target == 2 ? 1 : 2];
      first = IntStream.of(order).map(e -> firsts[e]).toArray();
      second = IntStream.of(order).map(e -> seconds[e]).toArray();
      values = IntStream.of(order).mapToDouble(e -> plan.values[e]).toArray();
      rounded = new float[values.length];
      for (int e = 0; e < rounded.length; e++) {
        rounded[e] = (float) values[e];
      }
      mostFirst = IntStream.of(first).max().orElse(0);
      mostSecond = IntStream.of(second).max().orElse(0);
    }
  }

  PathTable(TrilinearForm form) {
    DirectPlan plan = new DirectPlan(form);
    List<ProductPath> found = new ArrayList<>();
    int[][] number = new int[(form.degree(0) + 1) * (form.degree(1) + 1)][form.degree(2) + 1];
    for (int l1 = 0; l1 <= form.degree(0); l1++) {
      for (int l2 = 0; l2 <= form.degree(1); l2++) {
        for (int l3 = Math.abs(l1 - l2); l3 <= Math.min(l1 + l2, form.degree(2)); l3 += 2) {
          number[l1 * (form.degree(1) + 1) + l2][l3] = found.size();
          found.add(new ProductPath(l1, l2, l3));
        }
      }
    }
    paths = List.copyOf(found);
    int[] pathOf = new int[plan.values.length];
    for (int e = 0; e < pathOf.length; e++) {
      int l1 = DirectPlan.degreeOf(plan.components[0][e]);
      int l2 = DirectPlan.degreeOf(plan.components[1][e]);
      int l3 = DirectPlan.degreeOf(plan.components[2][e]);
      pathOf[e] = number[l1 * (form.degree(1) + 1) + l2][l3];
    }
    for (int target = 0; target < 3; target++) {
      groups[target] = new Groups(plan, pathOf, target);
    }
  }

  /** The paths in the order of their numbers: by l1, then l2, then l3. */
  List<ProductPath> paths() {
    return paths;
  }

  Groups groups(int target) {
    return groups[target];
  }
}
