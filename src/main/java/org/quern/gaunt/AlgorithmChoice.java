package org.quern.gaunt;

import java.util.EnumMap;
import java.util.Locale;
import java.util.Map;
import java.util.StringJoiner;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;

/**
 * The algorithm of a product, by the estimated time per channel of all that this build has.
 *
 * @param algorithm what runs
 * @param why one sentence for people
 */
record AlgorithmChoice(Algorithm algorithm, String why) {
  /**
   * The choice for a form.
   *
   * @param demanded the algorithm that is demanded, or null
   * @param nodes the number of nodes that is demanded, or 0
   * @throws IllegalArgumentException where there are too few nodes for an exact result
   */
  static AlgorithmChoice of(
      TrilinearForm form, Tier tier, @Nullable Algorithm demanded, int nodes) {
    int needed = form.integrandDegree() / 2 + 1;
    if (nodes != 0 && nodes < needed) {
      throw new IllegalArgumentException(
          "nodes: expected at least "
              + needed
              + ", which integrate degree "
              + form.integrandDegree()
              + " exactly, got "
              + nodes
              + ": fewer would break equivariance");
    }
    Map<Algorithm, Double> costs = new EnumMap<>(Algorithm.class);
    costs.put(Algorithm.DIRECT, CostModel.direct(form, tier));
    costs.put(Algorithm.HYBRID, CostModel.hybrid(form, tier));
    Algorithm best = Algorithm.HYBRID;
    for (Map.Entry<Algorithm, Double> cost : costs.entrySet()) {
      if (cost.getValue() < costs.getOrDefault(best, Double.POSITIVE_INFINITY)) {
        best = cost.getKey();
      }
    }
    StringJoiner estimates = new StringJoiner(", ", "estimated ns per product and channel: ", "");
    costs.forEach((a, cost) -> estimates.add(String.format(Locale.ROOT, "%s %.1f", a, cost)));
    Algorithm chosen = demanded != null ? demanded : best;
    String reason = demanded != null ? "demanded" : "least";
    return new AlgorithmChoice(chosen, chosen + ": " + reason + "; " + estimates);
  }
}
