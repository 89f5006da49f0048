package org.quern.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.ToLongFunction;
import org.jspecify.annotations.Nullable;
import org.quern.family.Chart;
import org.quern.prune.KeptWeights;
import org.quern.prune.Layout;
import org.quern.prune.Perplexities;
import org.quern.prune.PruneReport;
import org.quern.runtime.Capabilities;

/**
 * The page of a pruning: totals, perplexities where some were measured, sparsity by layer, and what
 * every layer keeps.
 */
final class PruneReportPage {
  /** Most layers to draw: a browser takes a few megabytes for them. */
  private static final int MOST_PICTURES = 112;

  private final PruneReport report;
  private final Map<String, String> facts;
  private final Table layers;
  private List<KeptWeights> kept = List.of();
  private @Nullable Perplexities perplexities;

  PruneReportPage(PruneReport report, Map<String, String> facts, Table layers) {
    this.report = report;
    this.facts = facts;
    this.layers = layers;
  }

  /** Adds measured perplexities, or none. */
  PruneReportPage perplexities(@Nullable Perplexities measured) {
    perplexities = measured;
    return this;
  }

  /**
   * Reads what was written for pictures of it; a dry run has none.
   *
   * @param layout how the matrices are stored
   */
  PruneReportPage pictures(Layout layout, int threads) throws IOException {
    Path output = report.output();
    if (output != null) {
      List<PruneReport.Layer> drawn =
          report.layers().subList(0, Math.min(MOST_PICTURES, report.layers().size()));
      kept = KeptWeights.read(output, drawn, layout, threads);
    }
    return this;
  }

  void write(Path file) throws IOException {
    HtmlReport html = new HtmlReport("Pruning of " + report.model());
    html.facts("Totals", facts);
    if (perplexities != null) {
      html.table(perplexities.table());
      html.charts("Perplexity", List.of(perplexities.chart()));
    }
    html.charts("Sparsity by layer", List.of(sparsity()));
    if (!kept.isEmpty()) {
      html.charts("Structure", kept.stream().map(KeptWeights::picture).toList());
      html.text(
          "Every cell is a tile of the matrix, coloured by the share of its weights that is kept."
              + (kept.size() < report.layers().size()
                  ? " Drawn are the first " + kept.size() + " layers."
                  : ""));
      html.charts("Kept weights along the axes", kept.stream().map(KeptWeights::profile).toList());
    }
    html.table("Layers", layers);
    Table left = new Table("TENSOR", "LEFT ALONE BECAUSE");
    report.untouched().forEach(tensor -> left.add(tensor.name(), tensor.reason()));
    html.table("Other tensors", left);
    html.facts("Machine", Machine.facts(Capabilities.get()));
    html.write(file);
  }

  private Chart sparsity() {
    List<Chart.Series> series = new ArrayList<>();
    series.add(series("after", PruneReport.Layer::zerosAfter));
    if (report.zerosBefore() > 0) {
      series.add(series("before", PruneReport.Layer::zerosBefore));
    }
    return new Chart(
        "Share of zeros",
        Chart.Kind.BARS,
        "layer",
        "zeros (%)",
        false,
        report.layers().stream().map(PruneReport.Layer::name).toList(),
        series);
  }

  private Chart.Series series(String name, ToLongFunction<PruneReport.Layer> zeros) {
    return new Chart.Series(
        name,
        List.of(),
        report.layers().stream()
            .map(layer -> 100.0 * zeros.applyAsLong(layer) / Math.max(1, layer.weights()))
            .toList());
  }
}
