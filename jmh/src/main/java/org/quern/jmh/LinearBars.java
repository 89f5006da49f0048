package org.quern.jmh;

import java.util.List;
import java.util.SortedMap;

/** The bars of products with sparse weights: how many times as fast as with dense ones. */
final class LinearBars {
  private LinearBars() {}

  /** The bar of a measurement, if there is one and the dense product was measured, too. */
  static List<Bar> of(Key key, SortedMap<Key, Samples> measured) {
    double limit = key.benchmark().equals("LinearBenchmark.multiply") ? limit(key) : 0;
    Samples dense = measured.get(key.with("weights", "DENSE"));
    Samples sparse = measured.get(key);
    if (limit == 0 || dense == null || sparse == null) {
      return List.of();
    }
    String what = key.params().get("weights") + ", " + key.params().get("type");
    return List.of(
        new Bar(
            "dense / " + what + ", one vector",
            dense.median() / sparse.median(),
            dense.min() / sparse.min(),
            limit,
            Bar.Sense.AT_LEAST));
  }

  /** 0 where nothing is demanded. */
  private static double limit(Key key) {
    if (!key.has("batch", "1") || !key.has("threads", "1")) {
      return 0;
    }
    boolean floats = key.has("type", "F32");
    return switch (key.params().getOrDefault("weights", "")) {
      case "TWO_OF_FOUR" -> floats ? 1.7 : 0;
      case "BITMASK" -> floats ? 1.65 : key.has("type", "BF16") ? 1.45 : 0;
      default -> 0;
    };
  }
}
