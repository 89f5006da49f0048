package org.quern.jmh;

import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;

/** The bars of the calibration statistics: one thread, the vector tier. */
final class StatisticsBars {
  /** Time over that of the plain product. */
  private static final double FUSED = 1.2;

  /** Share of the rate that the floor has. */
  private static final double SUMS = 0.8;

  private StatisticsBars() {}

  /** The bars of one measurement, as far as those that it is compared with are there. */
  static List<Bar> of(Key key, SortedMap<Key, Samples> measured) {
    List<Bar> bars = new ArrayList<>();
    Samples samples = measured.get(key);
    if (samples == null) {
      return bars;
    }
    switch (key.benchmark()) {
      case "GradientProductBenchmark.fused" -> {
        Samples plain = measured.get(key.of("GradientProductBenchmark.plain"));
        if (plain != null && key.has("products", "OWN")) {
          String name =
              "fused gradient norm "
                  + key.params().get("size")
                  + ", "
                  + key.params().get("tokens")
                  + " tokens / product";
          bars.add(Bar.ratio(name, samples, plain, FUSED));
        }
      }
      case "StatisticsBenchmark.activations", "StatisticsBenchmark.gradients" -> {
        Samples floor = measured.get(key.of(key.benchmark() + "Floor"));
        if (floor != null && key.has("type", "F32") && key.has("threads", "1")) {
          bars.add(
              new Bar(
                  key.benchmark().replace("StatisticsBenchmark.", "sums of ")
                      + " "
                      + key.params().get("columns")
                      + ", share of floor",
                  floor.median() / samples.median(),
                  floor.min() / samples.min(),
                  SUMS,
                  Bar.Sense.AT_LEAST));
        }
      }
      default -> {}
    }
    return bars;
  }
}
