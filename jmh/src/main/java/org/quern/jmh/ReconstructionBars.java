package org.quern.jmh;

import java.util.ArrayList;
import java.util.List;
import java.util.SortedMap;

/** The bars of the reconstruction of pruned layers: on the vector tier, one thread. */
final class ReconstructionBars {
  private static final double SWEEP_TO_PYTORCH = 3;
  private static final double MOMENTS_TO_PRODUCT = 1 / 0.8;

  private ReconstructionBars() {}

  /** The bars of one measurement, as far as those that it is compared with are there. */
  static List<Bar> of(Key key, SortedMap<Key, Samples> measured) {
    List<Bar> bars = new ArrayList<>();
    Samples samples = measured.get(key);
    if (samples == null) {
      return bars;
    }
    String what = key.params().get("pattern") + ", columns " + key.params().get("columns");
    switch (key.benchmark()) {
      case "SparseGptBenchmark.sweep" -> {
        Samples torch = measured.get(key.of("TorchSparseGptBenchmark.sweep"));
        if (torch != null) {
          bars.add(
              new Bar(
                  "PyTorch / SparseGPT sweep " + what,
                  torch.median() / samples.median(),
                  torch.min() / samples.min(),
                  SWEEP_TO_PYTORCH,
                  Bar.Sense.AT_LEAST));
        }
      }
      case "SparseGptBenchmark.moments" -> {
        Samples floor = measured.get(key.of("SparseGptBenchmark.momentsFloor"));
        if (floor != null && key.has("pattern", "0.5")) {
          String name = "moments, columns " + key.params().get("columns") + " / product";
          bars.add(Bar.ratio(name, samples, floor, MOMENTS_TO_PRODUCT));
        }
      }
      default -> {}
    }
    return bars;
  }
}
