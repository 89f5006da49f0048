package org.quern.jmh;

import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;

/**
 * A figure that the project demands, and what was measured.
 *
 * @param name what is compared
 * @param median the figure by medians; it decides
 * @param min the figure by the shortest times, which other load on the machine disturbs least
 * @param limit the bound
 * @param sense on which side of the bound the figure must lie
 */
record Bar(String name, double median, double min, double limit, Sense sense) {
  /** A side of a bound. */
  enum Sense {
    AT_MOST("<="),
    BELOW("<"),
    AT_LEAST(">=");

    final String sign;

    Sense(String sign) {
      this.sign = sign;
    }
  }

  /** True where the figure by medians keeps the bound. */
  boolean holds() {
    return switch (sense) {
      case AT_MOST -> median <= limit;
      case BELOW -> median < limit;
      case AT_LEAST -> median >= limit;
    };
  }

  /** All bars for which the measurements suffice, in the order of the measurements. */
  static List<Bar> of(SortedMap<Key, Samples> measured) {
    List<Bar> bars = new ArrayList<>();
    measured.forEach((key, samples) -> {
      switch (key.benchmark()) {
        case "PruneBenchmark.prune" -> {
          Samples floor = measured.get(key.of("PruneBenchmark.floor"));
          Samples ordinary = measured.get(key.with("rows", RowKind.GAUSSIAN.name()));
          if (!key.has("rows", RowKind.GAUSSIAN.name())) {
            if (ordinary != null) {
              String name =
                  "prune " + key.params().get("pattern") + ", rows " + key.params().get("rows");
              bars.add(ratio(name + " / GAUSSIAN", samples, ordinary, 3));
            }
          } else if (floor != null && headline(key)) {
            String pattern = key.params().get("pattern");
            bars.add(ratio("prune " + pattern + " / floor", samples, floor, limit(pattern)));
          }
        }
        case "PrunePollutedBenchmark.prune", "GemmPollutedBenchmark.multiply" -> {
          String twin = key.benchmark().replace("Polluted", "");
          Samples clean = measured.get(key.of(twin));
          if (clean != null) {
            String what = key.params().getOrDefault("pattern", key.params().get("size"));
            bars.add(ratio(twin + " " + what + ", polluted / clean", samples, clean, 1.3));
          }
        }
        case "PruneAllocationBenchmark.prune" -> {
          if (!Double.isNaN(samples.bytes())) {
            String name = "prune " + key.params().get("pattern") + ", bytes per call";
            bars.add(new Bar(name, samples.bytes(), samples.bytes(), 1, Sense.BELOW));
          }
        }
        case "GemmBenchmark.multiply" -> {
          Samples peak = measured.get(Rate.PEAK);
          if (peak != null && key.has("size", "1024") && key.has("threads", "1")) {
            double flops = (double) GemmBenchmark.flops(1024) / FmaPeakBenchmark.FLOPS;
            bars.add(
                new Bar(
                    "product 1024, share of FMA peak",
                    flops * peak.median() / samples.median(),
                    flops * peak.min() / samples.min(),
                    0.7,
                    Sense.AT_LEAST));
          }
        }
        default -> {
          bars.addAll(KroneckerBars.of(key, measured));
          bars.addAll(GauntBars.of(key, measured));
          bars.addAll(ReconstructionBars.of(key, measured));
          bars.addAll(StatisticsBars.of(key, measured));
        }
      }
    });
    return bars;
  }

  /** How two times relate, at most a limit. */
  static Bar ratio(String name, Samples of, Samples to, double limit) {
    return new Bar(name, of.median() / to.median(), of.min() / to.min(), limit, Sense.AT_MOST);
  }

  /** True for the configuration that the limits to the floor are meant for. */
  private static boolean headline(Key key) {
    return key.has("method", "GBLM")
        && key.has("storage", "F32")
        && key.has("tier", "VECTOR")
        && key.has("threads", "1");
  }

  private static double limit(String pattern) {
    return switch (pattern) {
      case "2:4" -> 1.3;
      case "4:8" -> 1.5;
      default -> 1.4;
    };
  }
}
