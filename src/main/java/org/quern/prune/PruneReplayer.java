package org.quern.prune;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.quern.family.Replay;
import org.quern.io.Json;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Replays recorded cases of this family. Files are recognised by the names that they hold, so that
 * file names, layer names, sizes, seeds and the choice of patterns are free.
 */
final class PruneReplayer {
  static final String LATER = "the kernel belongs to a later release of this family";
  private static final String SUFFIX = ".safetensors";
  static final String MASK_BITS = "mask bits";
  static final String RELATIVE = "relative error";
  private static final double STATISTIC_TOLERANCE = 1e-5;

  /** What the F16 storage of a recorded statistic may cost against the binary32 sum. */
  private static final double HALF_TOLERANCE = 1e-2;

  /** Smallest normal F16: below it the recorded value has few bits. */
  private static final double HALF_NORMAL = 0x1p-14;

  static final java.util.regex.Pattern MEMBER =
      java.util.regex.Pattern.compile("(.+?)\\.(mask|score|sparsegpt|refit)\\.(.+)");

  private final Replay replay;
  private final ScoreReplayer scores;
  private final Map<String, SafetensorsFile> files = new TreeMap<>();
  private final Map<String, JsonObject> documents = new TreeMap<>();

  PruneReplayer(Replay replay) {
    this.replay = replay;
    scores = new ScoreReplayer(replay);
  }

  /** Replays every recognised file of the directory. */
  void run() throws IOException {
    try {
      for (String file : replay.unclaimed()) {
        if (file.endsWith(SUFFIX)) {
          files.put(file, SafetensorsFile.open(replay.directory().resolve(file)));
        } else if (file.endsWith(".json")
            && Json.read(replay.directory().resolve(file)) instanceof JsonObject object) {
          documents.put(file, object);
        }
      }
      for (Map.Entry<String, SafetensorsFile> each : files.entrySet()) {
        try (Arena arena = Arena.ofShared()) {
          replayTensors(each.getKey(), each.getValue(), arena);
        }
      }
      for (Map.Entry<String, JsonObject> each : documents.entrySet()) {
        replayDocument(each.getKey(), each.getValue());
      }
    } finally {
      for (SafetensorsFile file : files.values()) {
        file.close();
      }
    }
  }

  private void replayTensors(String name, SafetensorsFile file, Arena arena) throws IOException {
    Set<String> keys = keys(file);
    if (ModelReplayer.isModel(keys)) {
      replay.claim(name);
      if (companion(files, name, each -> ModelReplayer.isExpectation(keys(each))) == null) {
        replay.skip(name, "no file beside it holds what is expected of the model");
      }
    } else if (ModelReplayer.isExpectation(keys)) {
      replay.claim(name);
      replayModel(name, file);
    } else if (isLayerFile(keys)) {
      replay.claim(name);
      replayLayers(name, file, keys, arena);
    } else if (holdsMember(keys, "score")) {
      replay.claim(name);
      scores.replay(name, file, keys, files, arena);
    } else if (holdsMember(keys, "refit")) {
      replay.claim(name);
      for (String key : keys) {
        new ReconstructionReplayer(replay, files).replayRefit(name, file, key, arena);
      }
    } else if (FormatReplayer.recognises(keys)) {
      replay.claim(name);
      new FormatReplayer(replay, name, file, arena).run();
    } else if (keys.contains("inputs") || keys.contains("grads")) {
      replay.claim(name);
      replayAccumulators(name, file, keys, arena);
    }
  }

  // Models. Weights, expectation and figures belong together where their names begin alike.

  private void replayModel(String name, SafetensorsFile expected) throws IOException {
    SafetensorsFile model = companion(files, name, file -> ModelReplayer.isModel(keys(file)));
    if (model == null) {
      replay.skip(name, "no file beside it holds the model");
      return;
    }
    JsonObject figures = companion(documents, name, ModelReplayer::isFigures);
    new ModelReplayer(replay, model, expected, figures == null ? new JsonObject() : figures).run();
  }

  /** Of the files that suit, the one whose name shares the longest beginning; null for none. */
  private static <T> @Nullable T companion(Map<String, T> files, String name, Predicate<T> suits) {
    return files.entrySet().stream()
        .filter(entry -> suits.test(entry.getValue()))
        .max(Comparator.comparingInt(entry -> sharedPrefix(entry.getKey(), name)))
        .map(Map.Entry::getValue)
        .orElse(null);
  }

  private static int sharedPrefix(String a, String b) {
    int length = 0;
    while (length < Math.min(a.length(), b.length()) && a.charAt(length) == b.charAt(length)) {
      length++;
    }
    return length;
  }

  static Set<String> keys(SafetensorsFile file) {
    return file.entries().stream()
        .map(SafetensorsEntry::name)
        .collect(Collectors.toCollection(TreeSet::new));
  }

  private static boolean holdsMember(Set<String> keys, String kind) {
    return keys.stream()
        .map(MEMBER::matcher)
        .anyMatch(member -> member.matches() && member.group(2).equals(kind));
  }

  /** Weights with something recorded of the same layer. */
  static boolean isLayerFile(Set<String> keys) {
    return layers(keys).stream()
        .anyMatch(layer ->
            keys.stream()
                .anyMatch(key ->
                    key.startsWith(layer + ".mask.")
                        || key.startsWith(layer + ".sparsegpt.")
                        || key.equals(layer + ".scaler_row")));
  }

  private static List<String> layers(Set<String> keys) {
    String suffix = ".weight";
    return keys.stream()
        .filter(key -> key.endsWith(suffix))
        .map(key -> key.substring(0, key.length() - suffix.length()))
        .toList();
  }

  // Layers.

  private void replayLayers(String name, SafetensorsFile file, Set<String> keys, Arena arena)
      throws IOException {
    for (String layer : layers(keys)) {
      if (keys.contains(layer + ".inputs") && keys.contains(layer + ".scaler_row")) {
        Tensor inputs = file.load(layer + ".inputs", arena);
        ActivationStatistics statistics =
            new ActivationStatistics(columns(inputs), 1, replay.tier());
        statistics.add(inputs);
        recordStatistic(name, layer + ".scaler_row", statistics, file, arena);
      }
    }
    for (String key : keys) {
      Matcher member = MEMBER.matcher(key);
      if (!member.matches()) {
        continue;
      }
      if (member.group(2).equals("mask")) {
        scores.replayMask(name, file, member, files, arena);
      } else if (member.group(2).equals("sparsegpt")) {
        new ReconstructionReplayer(replay, files).replaySparseGpt(name, file, key, arena);
      } else {
        replay.skip(name + ": *." + member.group(2) + ".*", LATER);
      }
    }
  }

  private void recordStatistic(
      String name, String key, ActivationStatistics statistics, SafetensorsFile file, Arena arena)
      throws IOException {
    double worst =
        Deviation.relative(
            statistics.meanSquares(arena).toFloatArray(),
            file.load(key, arena).toFloatArray(),
            Float.MIN_NORMAL);
    replay.record(name, key, worst, STATISTIC_TOLERANCE, RELATIVE);
  }

  private static int columns(Tensor inputs) {
    return Math.toIntExact(inputs.rowLength());
  }

  // Accumulators.

  private void replayAccumulators(String name, SafetensorsFile file, Set<String> keys, Arena arena)
      throws IOException {
    if (keys.contains("inputs")) {
      Tensor inputs = file.load("inputs", arena);
      for (String key : keys) {
        if (key.startsWith("scaler_row.")) {
          String which = key.substring("scaler_row.".length());
          recordStatistic(name, key, accumulate(inputs, which), file, arena);
        }
      }
    }
    if (!keys.contains("grads")) {
      return;
    }
    Tensor gradients = file.load("grads", arena);
    for (String key : List.of("grad_l1", "grad_l2")) {
      if (keys.contains(key)) {
        float[] expected = file.load(key, arena).toFloatArray();
        float[] official = accumulate(gradients, key, Compat.OFFICIAL, DType.F16, arena);
        replay.record(
            name, key + " official", Deviation.different(official, expected), 0, "values");
        float[] exact = accumulate(gradients, key, Compat.EXACT, DType.F32, arena);
        replay.record(name, key, relativeWhereFinite(exact, expected), HALF_TOLERANCE, RELATIVE);
        float[] products = accumulateProducts(gradients, key, arena);
        double worst = relativeWhereFinite(products, expected);
        replay.record(name, key + " by products", worst, HALF_TOLERANCE, RELATIVE);
      }
    }
    if (keys.contains("grad_l2_sumsq")) {
      float[] roots = accumulate(gradients, "grad_l2", Compat.EXACT, DType.F32, arena);
      float[] expected = file.load("grad_l2_sumsq", arena).toFloatArray();
      for (int i = 0; i < roots.length; i++) {
        roots[i] *= roots[i];
      }
      double worst = Deviation.relative(roots, expected, Float.MIN_NORMAL);
      replay.record(name, "grad_l2_sumsq", worst, STATISTIC_TOLERANCE, RELATIVE);
    }
  }

  /**
   * The statistic of [samples, tokens, n], all in one batch, of the first K ({@code after_K}), or
   * sample by sample as matrices ({@code final_2d_calls}).
   */
  private ActivationStatistics accumulate(Tensor inputs, String which) {
    ActivationStatistics statistics = new ActivationStatistics(columns(inputs), 1, replay.tier());
    long samples =
        which.startsWith("after_")
            ? Long.parseLong(which.substring("after_".length()))
            : inputs.dim(0);
    if (which.contains("2d")) {
      for (long sample = 0; sample < samples; sample++) {
        statistics.add(sample(inputs, sample));
      }
    } else {
      long tokens = inputs.dim(1);
      statistics.add(
          Tensor.of(
              inputs.rows(0, samples * tokens).memory(),
              inputs.type(),
              samples,
              tokens,
              inputs.rowLength()));
    }
    return statistics;
  }

  private float[] accumulate(Tensor gradients, String key, Compat compat, DType type, Arena arena) {
    GradientNorm norm = key.endsWith("l1") ? GradientNorm.L1 : GradientNorm.L2;
    GradientStatistics statistics =
        GradientStatistics.builder(gradients.dim(1), gradients.dim(2))
            .norms(norm)
            .compat(compat)
            .tier(replay.tier())
            .build(arena);
    for (long sample = 0; sample < gradients.dim(0); sample++) {
      statistics.add(sample(gradients, sample));
    }
    return statistics.statistic(arena, type).toFloatArray();
  }

  /**
   * The statistic of products that are the recorded gradients: one token for each row, whose output
   * gradient is 1 there and 0 elsewhere, and whose input is the row.
   */
  private float[] accumulateProducts(Tensor gradients, String key, Arena arena) {
    GradientNorm norm = key.endsWith("l1") ? GradientNorm.L1 : GradientNorm.L2;
    long rows = gradients.dim(1);
    GradientStatistics statistics =
        GradientStatistics.builder(rows, gradients.dim(2))
            .norms(norm)
            .tier(replay.tier())
            .build(arena);
    Tensor deltas = Tensor.allocate(arena, DType.F32, rows, rows);
    for (long i = 0; i < rows; i++) {
      deltas.setDouble(1, i, i);
    }
    GradientProduct product = GradientProduct.create(arena, 1, replay.tier());
    for (long sample = 0; sample < gradients.dim(0); sample++) {
      product.add(statistics, deltas, sample(gradients, sample).to(DType.F32, arena));
    }
    return statistics.statistic(arena, DType.F32).toFloatArray();
  }

  /** One matrix of a stack of them. */
  private static Tensor sample(Tensor stack, long sample) {
    return stack.rows(sample * stack.dim(1), (sample + 1) * stack.dim(1));
  }

  /** The deviation where the recorded F16 sum did not overflow; ours must be finite everywhere. */
  private static double relativeWhereFinite(float[] got, float[] expected) {
    double worst = got.length == expected.length ? 0 : Double.NaN;
    for (int i = 0; i < got.length && !Double.isNaN(worst); i++) {
      if (!Float.isFinite(got[i])) {
        return Double.NaN;
      }
      if (Float.isFinite(expected[i])) {
        worst = Math.max(worst, Deviation.relative(got[i], expected[i], HALF_NORMAL));
      }
    }
    return worst;
  }

  // Documents.

  private void replayDocument(String name, JsonObject document) throws IOException {
    if (document.has("scores") && (document.has("unstructured") || document.has("nm"))) {
      replay.claim(name);
      replayTies(name, document);
    } else if (ModelReplayer.isFigures(document)) {
      replay.claim(name);
      if (companion(files, name, each -> ModelReplayer.isExpectation(keys(each))) == null) {
        replay.skip(name, "no file beside it holds the token ids");
      }
    } else if (document.has("outlier_percent_by_M")
        || document.has("owl_sparsity_from_toy_ratios")) {
      replay.claim(name);
      new OwlReplayer(replay, files).run(name, document);
    } else if (ReconstructionReplayer.isObjectives(document)) {
      replay.claim(name);
      new ReconstructionReplayer(replay, files).replayObjectives(name, document);
    }
  }

  private void replayTies(String name, JsonObject document) {
    JsonArray rows = document.getAsJsonArray("scores");
    try (Arena arena = Arena.ofShared()) {
      Tensor scores =
          Tensor.allocate(arena, DType.F32, rows.size(), rows.get(0).getAsJsonArray().size());
      for (int i = 0; i < rows.size(); i++) {
        for (int j = 0; j < scores.dim(1); j++) {
          scores.setDouble(rows.get(i).getAsJsonArray().get(j).getAsDouble(), i, j);
        }
      }
      for (Map.Entry<String, JsonElement> each : entries(document, "unstructured")) {
        Pattern pattern = Pattern.unstructured(Double.parseDouble(each.getKey()));
        JsonArray pruned = each.getValue().getAsJsonObject().getAsJsonArray("pruned");
        replayTies(name, "unstructured " + each.getKey(), scores, pattern, pruned, arena);
      }
      for (Map.Entry<String, JsonElement> each : entries(document, "nm")) {
        Pattern pattern = Pattern.parse(each.getKey());
        JsonArray pruned = each.getValue().getAsJsonArray();
        replayTies(name, each.getKey(), scores, pattern, pruned, arena);
      }
      replayCounts(name, document, arena);
    }
  }

  private static List<Map.Entry<String, JsonElement>> entries(JsonObject document, String key) {
    return document.has(key)
        ? new ArrayList<>(document.getAsJsonObject(key).asMap().entrySet())
        : List.of();
  }

  private void replayTies(
      String name, String what, Tensor scores, Pattern pattern, JsonArray pruned, Arena arena) {
    Tensor got = ranking(pattern).mask(arena, scores, Statistics.NONE);
    Tensor expected = Tensor.allocate(arena, DType.U8, got.shape());
    for (int i = 0; i < pruned.size(); i++) {
      for (JsonElement column : pruned.get(i).getAsJsonArray()) {
        long at = column.getAsLong() / Byte.SIZE;
        long bit = 1L << column.getAsLong() % Byte.SIZE;
        expected.setLong(expected.getLong(i, at) | bit, i, at);
      }
    }
    replay.record(name, what, Deviation.bits(got, expected), 0, MASK_BITS);
  }

  /** Selects among weights that are their own scores. */
  private Pruner ranking(Pattern pattern) {
    return Pruner.builder().method(Method.MAGNITUDE).pattern(pattern).tier(replay.tier()).build();
  }

  private void replayCounts(String name, JsonObject document, Arena arena) {
    if (!document.has("k_of")) {
      return;
    }
    for (JsonElement each : document.getAsJsonArray("k_of")) {
      JsonObject count = each.getAsJsonObject();
      double ratio = count.get("ratio").getAsDouble();
      Tensor row = Tensor.allocate(arena, DType.F32, 1, count.get("n").getAsLong());
      row.fill(1);
      long k = ranking(Pattern.unstructured(ratio)).prune(row, Statistics.NONE);
      double worst = Math.abs(k - count.get("k").getAsLong());
      replay.record(name, "k of " + row.dim(1) + " at " + ratio, worst, 0, "weights");
    }
  }
}
