package org.quern.prune;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import org.quern.family.Replay;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.Tensor;

/**
 * Replays recorded {@link OwlRatios}: the outliers of groups that a note names, as in {@code group
 * 0 = fc1 wanda scores}, and the ratios of given outliers.
 */
final class OwlReplayer {
  private static final double TOLERANCE = 1e-9;
  private static final java.util.regex.Pattern GROUP =
      java.util.regex.Pattern.compile("group \\d+ = (\\S+) (\\S+) scores");

  private final Replay replay;
  private final Map<String, SafetensorsFile> files;

  OwlReplayer(Replay replay, Map<String, SafetensorsFile> files) {
    this.replay = replay;
    this.files = files;
  }

  void run(String name, JsonObject document) throws IOException {
    if (document.has("outlier_percent_by_M")) {
      replayOutliers(name, document);
    }
    if (document.has("owl_sparsity_from_toy_ratios")) {
      JsonObject given = document.getAsJsonObject("owl_sparsity_from_toy_ratios");
      double[] ratios =
          new OwlRatios(5, given.get("lambda").getAsDouble())
              .ratios(numbers(given, "ratios"), given.get("target").getAsDouble());
      double[] expected = numbers(given, "layer_sparsity");
      replay.record(name, "layer_sparsity", worst(ratios, expected), TOLERANCE, "absolute error");
    }
  }

  private void replayOutliers(String name, JsonObject document) throws IOException {
    JsonElement note = document.get("layers");
    try (Arena arena = Arena.ofShared()) {
      List<Tensor> groups = groups(note == null ? "" : note.getAsString(), arena);
      JsonObject byMultiple = document.getAsJsonObject("outlier_percent_by_M");
      if (groups.isEmpty()) {
        replay.skip(name + ": outlier_percent_by_M", "no file beside it holds the layers");
        return;
      }
      for (String multiple : byMultiple.keySet()) {
        OwlRatios owl = new OwlRatios(Double.parseDouble(multiple), 0);
        double[] got =
            groups.stream().mapToDouble(scores -> owl.outliers(List.of(scores))).toArray();
        double worst = worst(got, numbers(byMultiple, multiple));
        replay.record(name, "outliers at M " + multiple, worst, TOLERANCE, "absolute error");
      }
    }
  }

  /** The scores of the groups in order; none where a layer is missing or a method unknown. */
  private List<Tensor> groups(String note, Arena arena) throws IOException {
    List<Tensor> groups = new ArrayList<>();
    Matcher group = GROUP.matcher(note);
    while (group.find()) {
      Method method = GoldenRun.method(group.group(2));
      RecordedLayer layer =
          method == null
              ? null
              : RecordedLayer.find(files, note, group.group(1), null, method, null, arena);
      if (method == null || layer == null) {
        return List.of();
      }
      groups.add(
          Pruner.builder()
              .method(method)
              .tier(replay.tier())
              .build()
              .scores(arena, layer.weights(), layer.statistics()));
    }
    return groups;
  }

  private static double[] numbers(JsonObject document, String key) {
    return document.getAsJsonArray(key).asList().stream()
        .mapToDouble(JsonElement::getAsDouble)
        .toArray();
  }

  private static double worst(double[] got, double[] expected) {
    double worst = got.length == expected.length ? 0 : Double.NaN;
    for (int i = 0; i < got.length && !Double.isNaN(worst); i++) {
      worst = Math.max(worst, Math.abs(got[i] - expected[i]));
    }
    return worst;
  }
}
