package org.quern.jmh;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/** A named choice of benchmarks and parameters. */
enum Selection {
  /** Every benchmark once, for a moment: that it runs, not how fast. */
  SMOKE(1, true) {
    @Override
    List<Step> steps(int processors) {
      return List.of(
          new Step("FmaPeakBenchmark", Map.of(), 1),
          new Step("BandwidthBenchmark", Map.of("place", List.of("L2")), 1),
          new Step("PruneBenchmark|PrunePolluted|PruneAllocation", pattern("0.5"), 1),
          new Step("PlainPruneBenchmark", pattern("2:4"), 1),
          new Step("ConversionBenchmark", Map.of("type", List.of("BF16")), 1),
          new Step("Gemm", Map.of("size", List.of("64")), 1),
          new Step("StatisticsBenchmark", Map.of("columns", List.of("4096")), 1),
          new Step("GradientProduct", Map.of("tokens", List.of("96"), "size", List.of("1024")), 1),
          new Step("Kronecker", KRONECKER, 1),
          new Step("SparseGpt", SPARSEGPT, 1),
          new Step("Gaunt", Map.of("degrees", List.of("2-2-4"), "edges", List.of("1000")), 1));
    }
  },
  /**
   * The headline figures of pruning and their ceilings, in less than a minute on an idle machine.
   */
  QUICK(1, false) {
    @Override
    List<Step> steps(int processors) {
      List<Step> steps = new ArrayList<>();
      steps.add(new Step("FmaPeakBenchmark", Map.of(), 1));
      steps.add(new Step("BandwidthBenchmark.update", Map.of("place", List.of("DRAM")), 1));
      for (String pattern : PATTERNS) {
        steps.add(new Step("PruneBenchmark", pattern(pattern), 1));
      }
      steps.add(new Step("PrunePolluted", pattern("0.5"), 1));
      steps.add(new Step("PruneAllocation", pattern("0.5"), 1));
      return steps;
    }
  },
  /** Everything, in three rounds. */
  FULL(3, false) {
    @Override
    List<Step> steps(int processors) {
      List<Step> steps = new ArrayList<>();
      steps.add(new Step("FmaPeakBenchmark", Map.of(), 1));
      steps.add(new Step("BandwidthBenchmark", Map.of(), 1));
      steps.add(new Step("GemmBenchmark|GemmPolluted", Map.of(), 1));
      for (String pattern : PATTERNS) {
        // A figure and what it is compared with stay neighbours in time.
        steps.add(new Step("PruneBenchmark|PrunePolluted", pattern(pattern), 1));
        steps.add(
            new Step(
                "PruneBenchmark.prune",
                Map.of("pattern", List.of(pattern), "rows", hardRows()),
                1));
        steps.add(
            new Step(
                "PruneBenchmark",
                Map.of("pattern", List.of(pattern), "method", List.of("WANDA", "MAGNITUDE")),
                1));
        steps.add(
            new Step(
                "PruneBenchmark",
                Map.of("pattern", List.of(pattern), "storage", List.of("HALVES")),
                1));
        steps.add(
            new Step(
                "PruneBenchmark.prune",
                Map.of("pattern", List.of(pattern), "tier", List.of("SCALAR")),
                1));
        if (processors > 1) {
          steps.add(
              new Step(
                  "PruneBenchmark",
                  Map.of(
                      "pattern", List.of(pattern),
                      "threads", List.of(Integer.toString(processors))),
                  1));
        }
      }
      steps.add(new Step("PruneAllocation", Map.of(), 1));
      steps.add(new Step("PlainPrune|Conversion", Map.of(), 1));
      steps.add(new Step("StatisticsBenchmark|GradientProduct", Map.of(), 1));
      steps.add(new Step("Kronecker", Map.of(), 1));
      steps.add(new Step("SparseGpt", Map.of(), 1));
      steps.addAll(gaunt());
      if (processors > 1) {
        steps.add(new Step("FmaPeakBenchmark|BandwidthBenchmark", Map.of(), processors));
      }
      return steps;
    }
  },
  /** The Gaunt family, in less than four minutes on an idle machine. */
  GAUNT(1, false) {
    @Override
    List<Step> steps(int processors) {
      List<Step> steps = new ArrayList<>();
      steps.add(new Step("FmaPeakBenchmark", Map.of(), 1));
      steps.addAll(gaunt());
      return steps;
    }
  },
  /** The Kronecker and the Gaunt family and SparseGPT beside the same operations in PyTorch. */
  PEERS(1, false) {
    @Override
    List<Step> steps(int processors) {
      List<Step> steps = new ArrayList<>();
      steps.add(new Step("FmaPeakBenchmark", Map.of(), 1));
      // A figure and what it is compared with stay neighbours in time.
      for (String what : List.of("Refresh", "Precondition", "Step")) {
        steps.add(new Step("Kronecker" + what + "|Torch" + what, Map.of(), 1));
      }
      steps.add(new Step("KroneckerLowRank", Map.of(), 1));
      steps.add(new Step("SparseGpt|TorchSparseGpt", Map.of(), 1));
      steps.addAll(gauntPeers());
      return steps;
    }
  },
  /** The Gaunt family beside PyTorch. */
  GAUNT_PEERS(1, false) {
    @Override
    List<Step> steps(int processors) {
      return gauntPeers();
    }
  },
  /** Every benchmark of PyTorch once, for a moment. */
  PEERS_SMOKE(1, true) {
    @Override
    List<Step> steps(int processors) {
      return List.of(
          new Step("TorchRefresh|TorchPrecondition|TorchStep", KRONECKER, 1),
          new Step("TorchSparseGpt", SPARSEGPT, 1),
          new Step("TorchGaunt", Map.of("degrees", List.of("4-4-8")), 1));
    }
  };

  private static final List<String> PATTERNS = List.of("0.5", "2:4", "4:8");

  /** The least layer of the reconstruction and its peer. */
  private static final Map<String, List<String>> SPARSEGPT =
      Map.of("columns", List.of("1024"), "pattern", List.of("2:4"));

  /** The least of the Kronecker family and its peers. */
  private static final Map<String, List<String>> KRONECKER =
      Map.of(
          "d", List.of("768"),
          "kept", List.of("SYM_TILED"),
          "columns", List.of("STEADY"),
          "factors", List.of("LOW_RANK"),
          "every", List.of("10"));

  /**
   * Times that the whole selection is run; drift of the machine then hits every benchmark alike.
   */
  final int rounds;

  /** True where each benchmark runs for a moment only, and its figures say nothing. */
  final boolean smoke;

  Selection(int rounds, boolean smoke) {
    this.rounds = rounds;
    this.smoke = smoke;
  }

  /** What is run in one round, in this order. */
  abstract List<Step> steps(int processors);

  private static List<Step> gaunt() {
    List<Step> steps = new ArrayList<>();
    steps.add(new Step("GauntBenchmark", Map.of(), 1));
    steps.add(new Step("GauntPolluted", degrees("4-4-8"), 1));
    for (String degrees : List.of("2-2-4", "3-3-6", "4-4-8")) {
      steps.add(new Step("GauntStream", degrees(degrees), 1));
    }
    steps.add(new Step("GauntConvolution", Map.of("edges", List.of("10000")), 1));
    steps.add(
        new Step(
            "GauntConvolutionBenchmark.forward",
            Map.of("edges", List.of("1000", "100000", "1000000")),
            1));
    // What is written out for each shape ends where the code grows too long.
    steps.add(algorithm("DIRECT", "2-2-4", "3-3-6", "4-4-8"));
    steps.add(algorithm("HYBRID", "2-2-4"));
    for (String any : List.of("GRID", "POINTS", "FOURIER")) {
      steps.add(algorithm(any, "2-2-4", "4-4-8", "8-8-16"));
    }
    return steps;
  }

  private static Step algorithm(String algorithm, String... degrees) {
    return new Step(
        "GauntBenchmark.multiply",
        Map.of("algorithm", List.of(algorithm), "degrees", List.of(degrees)),
        1);
  }

  private static Map<String, List<String>> degrees(String degrees) {
    return Map.of("degrees", List.of(degrees));
  }

  private static List<Step> gauntPeers() {
    List<Step> steps = new ArrayList<>();
    for (String degrees : List.of("4-4-8", "6-6-12")) {
      Map<String, List<String>> batch = Map.of("degrees", List.of(degrees), "rows", List.of("32"));
      steps.add(new Step("GauntBenchmark.multiply|TorchGaunt", batch, 1));
    }
    return steps;
  }

  private static Map<String, List<String>> pattern(String pattern) {
    return Map.of("pattern", List.of(pattern));
  }

  private static List<String> hardRows() {
    List<String> rows = new ArrayList<>();
    for (RowKind kind : RowKind.values()) {
      if (kind != RowKind.GAUSSIAN) {
        rows.add(kind.name());
      }
    }
    return rows;
  }

  /**
   * Benchmarks run with the same parameters.
   *
   * @param benchmarks beginnings of class or method names, separated by {@code |}
   * @param params values by parameter, where they differ from the default
   * @param threads threads that call the benchmark at a time
   */
  record Step(String benchmarks, Map<String, List<String>> params, int threads) {
    /** The pattern by which JMH selects the benchmarks. */
    String include() {
      return "\\.jmh\\.(" + benchmarks.replace(".", "\\.") + ")";
    }
  }
}
