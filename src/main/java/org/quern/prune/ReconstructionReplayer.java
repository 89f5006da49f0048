package org.quern.prune;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.quern.family.Replay;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.prune.reconstruct.InputGram;
import org.quern.prune.reconstruct.SparseGpt;
import org.quern.prune.reconstruct.SurvivorRefit;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Replays recorded reconstructions of layers: what SparseGPT made of the weights, and what the
 * refit of the weights that a mask keeps can reach. Weights, inputs and masks come from the files
 * of layers beside them.
 */
final class ReconstructionReplayer {
  /** Of the largest weight. */
  private static final double WEIGHTS_TOLERANCE = 1e-4;

  private static final double EXACT_TOLERANCE = 1e-6;
  private static final double STEPS_TOLERANCE = 1e-3;

  /** Steps after which binary32 gains nothing more on layers of the recorded size. */
  private static final int EXHAUSTIVE = 60;

  private static final java.util.regex.Pattern SPARSEGPT =
      java.util.regex.Pattern.compile("(.+?)\\.sparsegpt\\.(.+)");
  private static final java.util.regex.Pattern REFIT =
      java.util.regex.Pattern.compile("(.+?)\\.refit\\.(.+)");
  private static final java.util.regex.Pattern LAYER_PATTERN =
      java.util.regex.Pattern.compile("(.+)\\.(u[\\d.]+|\\d+of\\d+)");
  private static final String OBJECTIVE = "objective_";

  private final Replay replay;
  private final Map<String, SafetensorsFile> files;

  /**
   * A replay.
   *
   * @param files all files of tensors by name
   */
  ReconstructionReplayer(Replay replay, Map<String, SafetensorsFile> files) {
    this.replay = replay;
    this.files = files;
  }

  private static Set<String> keys(SafetensorsFile file) {
    return file.entries().stream().map(SafetensorsEntry::name).collect(Collectors.toSet());
  }

  /** Replays {@code LAYER.sparsegpt.PATTERN}, new weights. */
  void replaySparseGpt(String name, SafetensorsFile file, String key, Arena arena)
      throws IOException {
    Matcher member = SPARSEGPT.matcher(key);
    GoldenRun run =
        member.matches() ? GoldenRun.parse(Method.WANDA.label() + "." + member.group(2)) : null;
    Set<String> keys = keys(file);
    if (run == null
        || !keys.contains(member.group(1) + ".weight")
        || !keys.contains(member.group(1) + ".inputs")) {
      replay.skip(name + ": " + key, "the pattern is unknown, or weights or inputs are missing");
      return;
    }
    Tensor stored = file.load(member.group(1) + ".weight", arena);
    Tensor weights = stored.to(stored.type(), arena);
    Tensor hessian = hessian(file.load(member.group(1) + ".inputs", arena), arena);
    sparseGpt(run.pattern()).prune(member.group(1), weights, hessian);
    float[] got = weights.toFloatArray();
    float[] expected = file.load(key, arena).toFloatArray();
    double largest = 0;
    for (float weight : stored.toFloatArray()) {
      largest = Math.max(largest, Math.abs(weight));
    }
    replay.record(name, key + " zeros", differentZeros(got, expected), 0, "weights");
    replay.record(
        name,
        key,
        Deviation.absolute(got, expected) / largest,
        WEIGHTS_TOLERANCE + unit(stored.type()),
        "of the largest weight");
  }

  /** What one rounding to the type of the weights costs. */
  private static double unit(DType type) {
    return switch (type) {
      case F16 -> 0x1p-10;
      case BF16 -> 0x1p-7;
      default -> 0;
    };
  }

  private static double differentZeros(float[] got, float[] expected) {
    double count = got.length == expected.length ? 0 : Double.NaN;
    for (int i = 0; i < Math.min(got.length, expected.length); i++) {
      count += (got[i] == 0) == (expected[i] == 0) ? 0 : 1;
    }
    return count;
  }

  private Tensor hessian(Tensor inputs, Arena arena) {
    int columns = Math.toIntExact(inputs.rowLength());
    InputGram moments = new InputGram(arena, columns, 1, replay.tier());
    moments.add(inputs);
    return moments.hessian(arena);
  }

  // Refits.

  /** A layer with the mask that a recorded refit kept to. */
  private record Masked(String layer, Tensor weights, Tensor inputs, Tensor mask) {}

  /** Replays {@code LAYER.refit.MASK}, the exact solution. */
  void replayRefit(String name, SafetensorsFile file, String key, Arena arena) throws IOException {
    Matcher member = REFIT.matcher(key);
    Masked masked = member.matches() ? find(member.group(1), member.group(2), arena) : null;
    if (masked == null) {
      replay.skip(name + ": " + key, "no file beside it holds the layer, its inputs and the mask");
      return;
    }
    LayerObjective objective = new LayerObjective(masked.weights, masked.inputs);
    double exact = objective.of(file.load(key, arena));
    double reached = objective.of(refit(masked, EXHAUSTIVE, arena));
    double worst = Deviation.relative(reached, exact, Double.MIN_NORMAL);
    replay.record(name, key, worst, EXACT_TOLERANCE, PruneReplayer.RELATIVE);
  }

  private Tensor refit(Masked masked, int steps, Arena arena) {
    Tensor weights = masked.weights.to(DType.F32, arena);
    SurvivorRefit.builder()
        .steps(steps)
        .tier(replay.tier())
        .build()
        .refit(masked.layer, weights, hessian(masked.inputs, arena), masked.mask);
    return weights;
  }

  private @Nullable Masked find(String layer, String mask, Arena arena) throws IOException {
    List<String> needed = List.of(layer + ".weight", layer + ".inputs");
    GoldenRun wanted = GoldenRun.parse(mask);
    String masks = layer + ".mask.";
    for (SafetensorsFile file : files.values()) {
      Set<String> keys = keys(file);
      // The parts of a name come in any order.
      String key =
          keys.stream()
              .filter(each -> each.startsWith(masks))
              .filter(
                  each -> Objects.equals(wanted, GoldenRun.parse(each.substring(masks.length()))))
              .findFirst()
              .orElse(null);
      if (wanted != null && key != null && keys.containsAll(needed)) {
        return new Masked(
            layer,
            file.load(needed.get(0), arena).to(DType.F32, arena),
            file.load(needed.get(1), arena),
            file.load(key, arena));
      }
    }
    return null;
  }

  /** True where a document holds the objectives of refits. */
  static boolean isObjectives(JsonObject document) {
    return document.asMap().values().stream()
        .anyMatch(value -> value instanceof JsonObject object && object.has("objective_masked"));
  }

  /** Replays {@code LAYER.PATTERN}: objectives of new weights under the mask of GBLM with l1. */
  void replayObjectives(String name, JsonObject document) throws IOException {
    for (Map.Entry<String, JsonElement> each : document.entrySet()) {
      Matcher key = LAYER_PATTERN.matcher(each.getKey());
      try (Arena arena = Arena.ofShared()) {
        Masked masked =
            key.matches() ? find(key.group(1), "gblm." + key.group(2) + ".l1", arena) : null;
        if (masked == null || !(each.getValue() instanceof JsonObject recorded)) {
          replay.skip(
              name + ": " + each.getKey(), "no file beside it holds the layer and the mask");
          continue;
        }
        LayerObjective objective = new LayerObjective(masked.weights, masked.inputs);
        for (Map.Entry<String, JsonElement> figure : recorded.entrySet()) {
          Tensor weights = weights(masked, key.group(2), figure.getKey(), arena);
          if (weights == null) {
            replay.skip(name + ": " + figure.getKey(), "this objective is not known");
            continue;
          }
          double expected = figure.getValue().getAsDouble();
          double worst = Deviation.relative(objective.of(weights), expected, Double.MIN_NORMAL);
          boolean exact = figure.getKey().equals("objective_exact");
          replay.record(
              name,
              each.getKey() + " " + figure.getKey(),
              worst,
              exact ? EXACT_TOLERANCE : STEPS_TOLERANCE,
              PruneReplayer.RELATIVE);
        }
      }
    }
  }

  /** The weights that an objective is recorded of; null where it is unknown. */
  private @Nullable Tensor weights(Masked masked, String pattern, String figure, Arena arena) {
    String what = figure.startsWith(OBJECTIVE) ? figure.substring(OBJECTIVE.length()) : "";
    GoldenRun run = GoldenRun.parse(Method.WANDA.label() + "." + pattern);
    if (what.equals("masked")) {
      return refit(masked, 0, arena);
    } else if (what.equals("exact")) {
      return refit(masked, EXHAUSTIVE, arena);
    } else if (what.matches("pcg\\d+")) {
      return refit(masked, Integer.parseInt(what.substring(3)), arena);
    } else if (what.startsWith("sparsegpt") && run != null) {
      Tensor weights = masked.weights.to(DType.F32, arena);
      sparseGpt(run.pattern()).prune(masked.layer, weights, hessian(masked.inputs, arena));
      return weights;
    }
    return null;
  }

  private SparseGpt sparseGpt(Pattern pattern) {
    return SparseGpt.builder().pattern(pattern).tier(replay.tier()).build();
  }
}
