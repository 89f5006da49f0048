package org.quern.prune;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Locale;
import java.util.Map;
import org.quern.family.TourContext;
import org.quern.family.TourRow;
import org.quern.prune.calibration.DenseGradients;
import org.quern.prune.calibration.ModelPruner;
import org.quern.prune.calibration.Reconstruction;
import org.quern.prune.lm.Decoder;
import org.quern.prune.lm.LanguageModel;
import org.quern.runtime.Progress;
import org.quern.tensor.Tensor;

/**
 * Calibrates the small language model by its tokens alone, as {@code prune --calibrate} does:
 * gradients of the dense model, then block by block GBLM and a refit of what is kept. Checked is
 * that it predicts better than what the published SparseGPT makes of it.
 */
final class CalibrationTour {
  private static final String METHOD = "gblm l1 + refit";

  private final TourContext context;
  private final TourModel tour;
  private final Perplexities perplexities;

  /**
   * A part of the tour.
   *
   * @param perplexities receives those that are measured
   */
  CalibrationTour(TourContext context, TourModel tour, Perplexities perplexities) {
    this.context = context;
    this.tour = tour;
    this.perplexities = perplexities;
  }

  /**
   * Runs it.
   *
   * @param patterns how the patterns are named in runs, and how they are shown
   */
  TourRow run(Map<String, String> patterns, double dense) throws IOException {
    StringBuilder job =
        new StringBuilder(
            String.format(
                Locale.ROOT,
                "language model by %s, all calibrated here, perplexity %.3f ->",
                METHOD,
                dense));
    long start = System.nanoTime();
    double worst = 0;
    try (Arena arena = Arena.ofShared()) {
      Map<String, Tensor> gradients =
          new DenseGradients(
                  tour.model(),
                  tour.calibration(),
                  GradientNorm.L1,
                  GradientScale.OFFICIAL,
                  Compat.EXACT,
                  context.threads(),
                  Progress.NONE)
              .take(arena);
      String separator = " ";
      for (Map.Entry<String, String> pattern : patterns.entrySet()) {
        double perplexity = prune(pattern.getKey(), gradients);
        perplexities.add(METHOD, pattern.getValue(), perplexity);
        job.append(
            String.format(Locale.ROOT, "%s%.3f at %s", separator, perplexity, pattern.getValue()));
        separator = ", ";
        String rival = "sparsegpt." + pattern.getKey();
        worst = Math.max(worst, perplexity / tour.perplexities().getOrDefault(rival, Double.NaN));
      }
    }
    double seconds = (System.nanoTime() - start) * 1e-9;
    String check =
        String.format(Locale.ROOT, "at most %.3f of the published SparseGPT's perplexity", worst);
    return new TourRow(
        PruneFamily.NAME,
        job.toString(),
        context.tier(),
        seconds,
        Double.NaN,
        "",
        check,
        worst < 1);
  }

  private double prune(String pattern, Map<String, Tensor> gradients) throws IOException {
    GoldenRun run = GoldenRun.parse(Method.GBLM.label() + "." + pattern);
    if (run == null) {
      throw new AssertionError(pattern);
    }
    try (Arena own = Arena.ofShared();
        Decoder decoder = new Decoder(tour.model().shape(), context.threads())) {
      LanguageModel model = tour.model().copy(own);
      Pruner pruner =
          Pruner.builder().method(run.method()).pattern(run.pattern()).tier(context.tier()).build();
      new ModelPruner(pruner, Reconstruction.REFIT, context.threads(), Progress.NONE)
          .prune(own, model, tour.calibration(), gradients);
      return decoder.perplexity(model, tour.test());
    }
  }
}
