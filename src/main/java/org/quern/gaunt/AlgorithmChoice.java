package org.quern.gaunt;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * The algorithm of a product: that which is demanded, or that with the least estimated time per
 * channel of those that can do it.
 *
 * @param algorithm what runs
 * @param why a line that names it and its reason, and then the costs of all, the least first
 */
record AlgorithmChoice(Algorithm algorithm, String why) {
  /**
   * The choice for a form.
   *
   * @param demanded the algorithm that is demanded, or null
   * @throws IllegalArgumentException where the algorithm does not have the resolution, or the
   *     resolution is too low for an exact result
   */
  static AlgorithmChoice of(
      TrilinearForm form,
      DType type,
      Tier tier,
      @Nullable Algorithm demanded,
      Resolution resolution) {
    List<CostModel.Cost> costs = new ArrayList<>();
    for (Algorithm algorithm : Algorithm.values()) {
      boolean applies = algorithm != Algorithm.POINTS || PointProduct.applies(form);
      if (applies && resolution.suits(algorithm, form)) {
        costs.add(CostModel.of(algorithm, form, type, tier, resolution));
      }
    }
    costs.sort(Comparator.comparingDouble(CostModel.Cost::nanoseconds));
    Algorithm chosen =
        demanded != null
            ? demanded
            : costs.isEmpty() ? Algorithm.GRID : costs.getFirst().algorithm();
    resolution.check(chosen, form);
    StringBuilder why = new StringBuilder(chosen.name());
    why.append(demanded != null ? ": demanded" : ": least cost");
    why.append("; estimated per product and channel:");
    for (CostModel.Cost cost : costs) {
      why.append(
          String.format(
              Locale.ROOT,
              "%n%-8s %10.1f ns %10.0f multiply-adds",
              cost.algorithm(),
              cost.nanoseconds(),
              cost.multiplyAdds()));
    }
    return new AlgorithmChoice(chosen, why.toString());
  }
}
