package org.quern.prune;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.quern.family.Chart;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.family.TourRow;
import org.quern.prune.calibration.ModelPruner;
import org.quern.prune.calibration.Reconstruction;
import org.quern.prune.lm.Decoder;
import org.quern.prune.lm.LanguageModel;
import org.quern.runtime.Progress;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * Prunes the small language model by every method at every pattern. Checked are the masks, against
 * the scalar tier, and the perplexity, against that which the published programs reach.
 */
final class ModelTour {
  private static final List<String> METHODS =
      List.of("magnitude", "wanda", "gradient.l1", "gblm.l1", "gblm.l2");
  private static final Map<String, String> PATTERNS = patterns();

  /** Relative; the forward passes of the two programs round differently. */
  private static final double PERPLEXITY_TOLERANCE = 2e-3;

  private static final String STEP = "pruning a language model";

  /** The runs whose kept weights are drawn, side by side, and of which layers. */
  private static final List<String> DRAWN_RUNS = List.of("magnitude.u0.5", "gblm.l1.u0.5");

  private static final List<String> DRAWN_LAYERS =
      List.of("layers.0.self_attn.k_proj", "layers.0.mlp.down_proj");

  private final TourContext context;
  private final List<Chart> pictures = new ArrayList<>();
  private int done;

  ModelTour(TourContext context) {
    this.context = context;
  }

  /** How the runs are named, and how they are shown. */
  private static Map<String, String> patterns() {
    Map<String, String> patterns = new LinkedHashMap<>();
    patterns.put("u0.5", "50 %");
    patterns.put("2of4", "2:4");
    patterns.put("4of8", "4:8");
    return patterns;
  }

  TourReport run() throws IOException {
    try (Arena arena = Arena.ofShared()) {
      report();
      TourModel tour = TourModel.load(arena);
      double dense = perplexity(tour.model(), tour.test());
      List<TourRow> rows = new ArrayList<>();
      Perplexities perplexities = new Perplexities(dense);
      for (String method : METHODS) {
        List<Outcome> outcomes = new ArrayList<>();
        for (Map.Entry<String, String> pattern : PATTERNS.entrySet()) {
          Outcome outcome = prune(tour, method + "." + pattern.getKey());
          outcomes.add(outcome);
          perplexities.add(method.replace('.', ' '), pattern.getValue(), outcome.perplexity());
          done++;
          report();
        }
        rows.add(row(method, dense, outcomes));
      }
      rows.add(new CalibrationTour(context, tour, perplexities).run(PATTERNS, dense));
      done += PATTERNS.size();
      report();
      List<Chart> charts = new ArrayList<>(List.of(perplexities.chart()));
      charts.addAll(pictures);
      return new TourReport(rows, List.of(perplexities.table()), charts);
    }
  }

  private void report() {
    context.progress().report(STEP, done, (METHODS.size() + 1L) * PATTERNS.size());
  }

  /** What one run gave: wall time of calibration and pruning, perplexity, and the two checks. */
  private record Outcome(double seconds, double perplexity, double deviation, boolean sameMasks) {}

  private Outcome prune(TourModel tour, String run) throws IOException {
    try (Arena arena = Arena.ofShared()) {
      LanguageModel pruned = tour.model().copy(arena);
      long start = System.nanoTime();
      prune(tour, run, pruned, context.tier());
      double seconds = (System.nanoTime() - start) * 1e-9;
      LanguageModel oracle = tour.model().copy(arena);
      prune(tour, run, oracle, Tier.SCALAR);
      if (DRAWN_RUNS.contains(run)) {
        for (String layer : DRAWN_LAYERS) {
          String title = layer + " by " + run.replace(".u0.5", " at 50 %").replace('.', ' ');
          pictures.add(KeptWeights.of(title, pruned.weights(layer)).picture());
        }
      }
      double perplexity = perplexity(pruned, tour.test());
      double recorded = tour.perplexities().getOrDefault(run, Double.NaN);
      double deviation = Deviation.relative(perplexity, recorded, 1);
      return new Outcome(seconds, perplexity, deviation, same(pruned, oracle));
    }
  }

  private void prune(TourModel tour, String name, LanguageModel model, Tier tier)
      throws IOException {
    GoldenRun run = GoldenRun.parse(name);
    if (run == null) {
      throw new AssertionError(name);
    }
    GradientNorm norm = run.norm();
    Map<String, Tensor> gradients =
        norm == null ? Map.of() : tour.gradients().getOrDefault(norm, Map.of());
    try (Arena arena = Arena.ofShared()) {
      new ModelPruner(run.pruner(tier), Reconstruction.NONE, context.threads(), Progress.NONE)
          .prune(arena, model, tour.calibration(), gradients);
    }
  }

  private double perplexity(LanguageModel model, Tensor test) throws IOException {
    try (Decoder decoder = new Decoder(model.shape(), context.threads())) {
      return decoder.perplexity(model, test);
    }
  }

  private static boolean same(LanguageModel a, LanguageModel b) {
    return a.linears().stream()
        .allMatch(linear -> a.weights(linear).memory().mismatch(b.weights(linear).memory()) < 0);
  }

  private TourRow row(String method, double dense, List<Outcome> outcomes) {
    StringBuilder job =
        new StringBuilder(
            String.format(
                Locale.ROOT,
                "language model by %s, perplexity %.3f ->",
                method.replace('.', ' '),
                dense));
    int i = 0;
    for (String pattern : PATTERNS.values()) {
      job.append(
          String.format(
              Locale.ROOT,
              "%s %.3f at %s",
              i == 0 ? "" : ",",
              outcomes.get(i).perplexity(),
              pattern));
      i++;
    }
    double worst = outcomes.stream().mapToDouble(Outcome::deviation).reduce(0, Math::max);
    boolean sameMasks = outcomes.stream().allMatch(Outcome::sameMasks);
    String check =
        String.format(
            Locale.ROOT,
            "%s; perplexity within %.1g of the published program",
            sameMasks ? "weights equal the scalar tier's" : "weights differ from the scalar tier's",
            worst);
    return new TourRow(
        PruneFamily.NAME,
        job.toString(),
        context.tier(),
        outcomes.stream().mapToDouble(Outcome::seconds).sum(),
        Double.NaN,
        "",
        check,
        sameMasks && worst <= PERPLEXITY_TOLERANCE);
  }
}
