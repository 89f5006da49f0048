package org.quern.prune;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import org.quern.family.Chart;
import org.quern.family.TourTable;

/**
 * Measured perplexities of one model by method and pattern, as a table and as a chart. Methods and
 * patterns appear in the order in which they were added.
 */
public final class Perplexities {
  private final double dense;
  private final Map<String, Map<String, Double>> byMethod = new LinkedHashMap<>();
  private final Set<String> patterns = new LinkedHashSet<>();

  /**
   * An empty collection.
   *
   * @param dense perplexity of the model before it is pruned; NaN where it is not known
   */
  public Perplexities(double dense) {
    this.dense = dense;
  }

  /**
   * Adds a measured value, in place of an earlier one of the same run.
   *
   * @param method how the method is shown, such as {@code gblm l1}
   * @param pattern how the pattern is shown, such as {@code 50 %} or {@code 2:4}
   * @param perplexity exp of the mean negative log-likelihood per token
   */
  public void add(String method, String pattern, double perplexity) {
    patterns.add(pattern);
    byMethod.computeIfAbsent(method, key -> new LinkedHashMap<>()).put(pattern, perplexity);
  }

  /** One row for each method and one column for each pattern; a dash where nothing was measured. */
  public TourTable table() {
    List<String> headings = new ArrayList<>(List.of("METHOD"));
    headings.addAll(patterns);
    List<List<String>> rows = new ArrayList<>();
    byMethod.forEach((method, values) -> {
      List<String> row = new ArrayList<>(List.of(method));
      patterns.forEach(pattern -> row.add(figure(values.getOrDefault(pattern, Double.NaN))));
      rows.add(row);
    });
    return new TourTable("Perplexity after pruning" + ofDense(), headings, rows);
  }

  /**
   * Bars for each pattern, one for each method, beside that of the dense model where it is known; a
   * bar of 0 where nothing was measured.
   */
  public Chart chart() {
    List<Chart.Series> series = new ArrayList<>();
    if (!Double.isNaN(dense)) {
      series.add(new Chart.Series("dense", List.of(), Collections.nCopies(patterns.size(), dense)));
    }
    byMethod.forEach((method, values) ->
        series.add(
            new Chart.Series(
                method,
                List.of(),
                patterns.stream().map(pattern -> values.getOrDefault(pattern, 0.0)).toList())));
    return new Chart(
        "Language model after pruning" + ofDense(),
        Chart.Kind.BARS,
        "pruned weights",
        "perplexity on the test text",
        false,
        List.copyOf(patterns),
        series);
  }

  private String ofDense() {
    return Double.isNaN(dense) ? "" : " (dense: " + figure(dense) + ")";
  }

  private static String figure(double value) {
    return Double.isNaN(value) ? "-" : String.format(Locale.ROOT, "%.3f", value);
  }
}
