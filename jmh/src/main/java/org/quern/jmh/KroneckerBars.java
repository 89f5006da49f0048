package org.quern.jmh;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import org.jspecify.annotations.Nullable;

/** The bars of the Kronecker family: on the vector tier, one thread. */
final class KroneckerBars {
  /** Microseconds by dimension, on an idle machine of the kind that docs/kronecker.md names. */
  private static final Map<String, Double> REFRESH =
      Map.of("768", 24.0, "1024", 48.0, "4096", 1200.0);

  private static final Map<String, Double> LOW_RANK = Map.of("1024", 2.5, "4096", 10.0);

  /** How many times as fast as PyTorch, by dimension. */
  private static final Map<String, Double> PRECONDITION = Map.of("1024", 15.0, "4096", 50.0);

  private static final double REFRESH_TO_PYTORCH = 50;

  private KroneckerBars() {}

  /** The bars of one measurement, as far as those that it is compared with are there. */
  static List<Bar> of(Key key, SortedMap<Key, Samples> measured) {
    List<Bar> bars = new ArrayList<>();
    Samples samples = measured.get(key);
    String d = key.params().get("d");
    if (samples == null || d == null) {
      return bars;
    }
    switch (key.benchmark()) {
      case "KroneckerRefreshBenchmark.update" -> {
        if (key.has("kept", "SYM_TILED") && key.has("tier", "VECTOR")) {
          addTime(bars, "refresh " + d, samples, REFRESH.get(d));
          Samples floor = measured.get(key.of("KroneckerRefreshBenchmark.floor"));
          addAtMost(bars, "refresh " + d + " / floor", samples, floor, 1.3);
          Samples torch = measured.get(key.peer("TorchRefreshBenchmark.update", "d"));
          addPeer(bars, "refresh " + d, samples, torch, REFRESH_TO_PYTORCH);
        }
      }
      case "KroneckerLowRankBenchmark.update" -> {
        if (key.has("columns", "STEADY")) {
          addTime(bars, "update of low rank " + d, samples, LOW_RANK.get(d));
        }
      }
      case "KroneckerPreconditionBenchmark.precondition" -> {
        if (key.has("factors", "LOW_RANK") && key.has("threads", "1")) {
          String name = "precondition by low rank " + d;
          Samples floor = measured.get(key.of("KroneckerPreconditionBenchmark.floor"));
          addAtMost(bars, name + " / floor", samples, floor, 1.5);
          Samples torch = measured.get(key.peer("TorchPreconditionBenchmark.precondition", "d"));
          addPeer(bars, name, samples, torch, PRECONDITION.get(d));
        }
      }
      case "KroneckerStepBenchmark.train" -> {
        Samples pass = measured.get(key.peer("KroneckerStepBenchmark.pass", "d", "threads"));
        boolean low = key.has("factors", "LOW_RANK") || key.has("factors", "GROWING");
        if (pass != null && low && key.has("threads", "1")) {
          String name =
              "step "
                  + key.params().get("factors")
                  + ", refresh every "
                  + key.params().get("every");
          bars.add(
              new Bar(
                  name + " / passes",
                  samples.median() / pass.median() - 1,
                  samples.min() / pass.min() - 1,
                  0.4,
                  Bar.Sense.AT_MOST));
        }
      }
      default -> {}
    }
    return bars;
  }

  private static void addTime(
      List<Bar> bars, String name, Samples samples, @Nullable Double limit) {
    if (limit != null) {
      bars.add(new Bar(name + ", us", samples.median(), samples.min(), limit, Bar.Sense.AT_MOST));
    }
  }

  private static void addAtMost(
      List<Bar> bars, String name, Samples samples, @Nullable Samples floor, double limit) {
    if (floor != null) {
      bars.add(Bar.ratio(name, samples, floor, limit));
    }
  }

  private static void addPeer(
      List<Bar> bars,
      String name,
      Samples samples,
      @Nullable Samples peer,
      @Nullable Double limit) {
    if (peer != null && limit != null) {
      bars.add(
          new Bar(
              "PyTorch / " + name,
              peer.median() / samples.median(),
              peer.min() / samples.min(),
              limit,
              Bar.Sense.AT_LEAST));
    }
  }
}
