package org.quern.prune;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.regex.Matcher;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.quern.family.Replay;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.prune.calibration.DenseGradients;
import org.quern.prune.calibration.ModelPruner;
import org.quern.prune.calibration.PrunedLayer;
import org.quern.prune.calibration.Reconstruction;
import org.quern.prune.lm.Decoder;
import org.quern.prune.lm.LanguageModel;
import org.quern.runtime.Progress;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Replays the recorded runs over a whole language model: its logits and perplexity, and for every
 * run that only masks weights the zeros, activation statistics, sparsity and perplexity. Selection
 * runs on the tier asked for; the forward pass between, which has no part in it, on the best.
 */
final class ModelReplayer {
  private static final double LOGITS_TOLERANCE = 2e-4;
  private static final double PERPLEXITY_TOLERANCE = 2e-3;

  /** Share of the bits that may differ: a near tie may fall otherwise in another forward pass. */
  private static final double ZEROS_TOLERANCE = 1e-3;

  /** Those near ties shift the inputs of later blocks. */
  private static final double STATISTIC_TOLERANCE = 1e-3;

  /** SparseGPT also changes the weights that it keeps, by sums in another order. */
  private static final double SPARSEGPT_TOLERANCE = 2e-2;

  /**
   * Share of the perplexity of guessing that a dense model stays below where it has learnt
   * something; of one that has not, no method is better than another.
   */
  private static final double LEARNT = 0.25;

  private static final String SPARSEGPT = "sparsegpt.";
  private static final String REFITTED = "gblm.l1.";

  private static final java.util.regex.Pattern LOGITS =
      java.util.regex.Pattern.compile("test(\\d+)_logits");
  private static final java.util.regex.Pattern ZEROS =
      java.util.regex.Pattern.compile(".+\\.zeros\\.(.+)");

  private final Replay replay;
  private final SafetensorsFile modelFile;
  private final SafetensorsFile expected;
  private final String name;
  private final JsonObject figures;
  private final int threads = Runtime.getRuntime().availableProcessors();

  /**
   * A replay.
   *
   * @param modelFile the weights
   * @param expected token ids, gradients and recorded results
   * @param figures recorded figures of the runs; empty where there are none
   */
  ModelReplayer(
      Replay replay, SafetensorsFile modelFile, SafetensorsFile expected, JsonObject figures) {
    this.replay = replay;
    this.modelFile = modelFile;
    this.expected = expected;
    this.name = expected.path().getFileName().toString();
    this.figures = figures;
  }

  /** True where a file holds the weights of a language model. */
  static boolean isModel(Set<String> keys) {
    return keys.contains("model.embed_tokens.weight");
  }

  /** True where a file holds what is expected of one. */
  static boolean isExpectation(Set<String> keys) {
    return keys.contains("test_ids") || keys.contains("calib_ids");
  }

  /** True where a document holds the figures of the runs. */
  static boolean isFigures(JsonObject document) {
    return document.has("runs") && document.has("dense");
  }

  void run() throws IOException {
    Set<String> keys =
        expected.entries().stream().map(SafetensorsEntry::name).collect(Collectors.toSet());
    try (Arena arena = Arena.ofShared()) {
      LanguageModel dense = LanguageModel.load(modelFile.path(), arena);
      Tensor test = keys.contains("test_ids") ? expected.load("test_ids", arena) : null;
      Tensor calibration = keys.contains("calib_ids") ? expected.load("calib_ids", arena) : null;
      if (test != null) {
        replayDense(dense, test, keys, arena);
      }
      Map<GradientNorm, Map<String, Tensor>> taken = new EnumMap<>(GradientNorm.class);
      for (String run : runs(keys)) {
        try (Arena own = Arena.ofShared()) {
          replayRun(run, dense.copy(own), calibration, test, keys, own);
        }
        if (run.startsWith(REFITTED) && calibration != null && test != null) {
          try (Arena own = Arena.ofShared()) {
            replayRefit(run, dense.copy(own), calibration, test, keys, own);
          }
        }
        if (calibration != null && figures.has("calibration")) {
          replayOwnGradients(run, dense, calibration, test, keys, taken, arena);
        }
      }
    }
  }

  private Set<String> runs(Set<String> keys) {
    Set<String> runs = new TreeSet<>(recordedRuns().keySet());
    for (String key : keys) {
      Matcher zeros = ZEROS.matcher(key);
      if (zeros.matches()) {
        runs.add(zeros.group(1));
      }
    }
    return runs;
  }

  private JsonObject recordedRuns() {
    return figures.has("runs") ? figures.getAsJsonObject("runs") : new JsonObject();
  }

  private void replayDense(LanguageModel model, Tensor test, Set<String> keys, Arena arena)
      throws IOException {
    try (Decoder decoder = new Decoder(model.shape(), threads)) {
      for (String key : new TreeSet<>(keys)) {
        Matcher logits = LOGITS.matcher(key);
        if (logits.matches()) {
          long window = Long.parseLong(logits.group(1));
          Tensor hidden = model.embed(arena, test.rows(window, window + 1));
          for (int block = 0; block < model.shape().layers(); block++) {
            decoder.forwardBlock(model.loadBlock(arena, block), hidden);
          }
          double worst =
              Deviation.absolute(
                  decoder.logits(arena, model.loadOutput(arena), hidden).toFloatArray(),
                  expected.load(key, arena).toFloatArray());
          replay.record(name, key, worst, LOGITS_TOLERANCE, "absolute error");
        }
      }
    }
    if (figures.has("dense")) {
      recordPerplexity(
          "dense", model, test, figures.getAsJsonObject("dense"), PERPLEXITY_TOLERANCE);
    }
  }

  private void recordPerplexity(
      String run, LanguageModel model, Tensor test, JsonObject recorded, double tolerance)
      throws IOException {
    if (recorded.has("ppl")) {
      double wanted = recorded.get("ppl").getAsDouble();
      double worst = Deviation.relative(perplexity(model, test), wanted, 1);
      replay.record(name, run + " perplexity", worst, tolerance, PruneReplayer.RELATIVE);
    }
  }

  private double perplexity(LanguageModel model, Tensor test) throws IOException {
    try (Decoder decoder = new Decoder(model.shape(), threads)) {
      return decoder.perplexity(model, test);
    }
  }

  private void replayRun(
      String run,
      LanguageModel model,
      @Nullable Tensor calibration,
      @Nullable Tensor test,
      Set<String> keys,
      Arena arena)
      throws IOException {
    boolean sweeps = run.startsWith(SPARSEGPT);
    Reconstruction reconstruction = sweeps ? Reconstruction.SPARSEGPT : Reconstruction.NONE;
    GoldenRun golden = GoldenRun.parse(sweeps ? patternOf(run) : run);
    if (golden == null) {
      replay.skip(name + ": " + run, PruneReplayer.LATER);
      return;
    }
    if (calibration == null && golden.method().usesActivations()) {
      replay.skip(name + ": " + run, "the calibration ids are missing");
      return;
    }
    Map<String, Tensor> gradients = gradients(run, golden, model, keys, arena);
    if (gradients == null) {
      return;
    }
    Tensor sequences = calibration == null ? Tensor.allocate(arena, DType.U8, 0, 0) : calibration;
    List<PrunedLayer> layers =
        new ModelPruner(golden.pruner(replay.tier()), reconstruction, threads, Progress.NONE)
            .prune(arena, model, sequences, gradients);
    compareStatistics(run, layers, keys, arena);
    compareZeros(run, run, model, keys, arena);
    JsonObject recorded = recordedRuns().getAsJsonObject(run);
    if (recorded != null && test != null) {
      double tolerance = sweeps ? SPARSEGPT_TOLERANCE : PERPLEXITY_TOLERANCE;
      recordPerplexity(run, model, test, recorded, tolerance);
    }
  }

  /**
   * A run again by gradients that are taken here of the calibration sequences, instead of the
   * recorded ones; only where the figures tell that those are of these sequences.
   *
   * @param taken gradients that were already taken, by norm and layer; others are added
   */
  private void replayOwnGradients(
      String run,
      LanguageModel dense,
      Tensor calibration,
      @Nullable Tensor test,
      Set<String> keys,
      Map<GradientNorm, Map<String, Tensor>> taken,
      Arena arena)
      throws IOException {
    GoldenRun golden = GoldenRun.parse(run);
    if (golden == null || golden.method() != Method.GBLM) {
      return;
    }
    GradientNorm norm = golden.norm() == null ? GradientNorm.L1 : golden.norm();
    Map<String, Tensor> gradients = taken.get(norm);
    if (gradients == null) {
      gradients =
          new DenseGradients(
                  dense,
                  calibration,
                  norm,
                  GradientScale.OFFICIAL,
                  Compat.OFFICIAL,
                  threads,
                  Progress.NONE)
              .take(arena);
      taken.put(norm, gradients);
    }
    try (Arena own = Arena.ofShared()) {
      LanguageModel model = dense.copy(own);
      new ModelPruner(golden.pruner(replay.tier()), Reconstruction.NONE, threads, Progress.NONE)
          .prune(own, model, calibration, gradients);
      String label = run + " by own gradients";
      compareZeros(run, label, model, keys, own);
      JsonObject recorded = recordedRuns().getAsJsonObject(run);
      if (recorded != null && test != null) {
        recordPerplexity(label, model, test, recorded, PERPLEXITY_TOLERANCE);
      }
    }
  }

  /** What the method of a run needs; null, and the run skipped, where a tensor is missing. */
  private @Nullable Map<String, Tensor> gradients(
      String run, GoldenRun golden, LanguageModel model, Set<String> keys, Arena arena)
      throws IOException {
    Map<String, Tensor> gradients = new HashMap<>();
    if (golden.method().usesGradients()) {
      for (String linear : model.linears()) {
        String key = linear + "." + GoldenRun.gradientKey(golden.norm());
        if (!keys.contains(key)) {
          replay.skip(name + ": " + run, key + " is missing");
          return null;
        }
        gradients.put(linear, expected.load(key, arena));
      }
    }
    return gradients;
  }

  /** A run over patterns alone has the name of its pattern behind that of the method. */
  private static String patternOf(String run) {
    return Method.WANDA.label() + "." + run.substring(SPARSEGPT.length());
  }

  /**
   * The masks of a run with the weights that they keep refitted: the perplexity is to be below that
   * of SparseGPT with the same pattern.
   */
  private void replayRefit(
      String run,
      LanguageModel model,
      Tensor calibration,
      Tensor test,
      Set<String> keys,
      Arena arena)
      throws IOException {
    GoldenRun golden = GoldenRun.parse(run);
    JsonObject rival = recordedRuns().getAsJsonObject(SPARSEGPT + run.substring(REFITTED.length()));
    double dense =
        figures.has("dense") ? figures.getAsJsonObject("dense").get("ppl").getAsDouble() : 0;
    if (golden == null || rival == null || !(dense < LEARNT * model.shape().vocabulary())) {
      return;
    }
    Map<String, Tensor> gradients = gradients(run, golden, model, keys, arena);
    if (gradients == null) {
      return;
    }
    new ModelPruner(golden.pruner(replay.tier()), Reconstruction.REFIT, threads, Progress.NONE)
        .prune(arena, model, calibration, gradients);
    double ratio = perplexity(model, test) / rival.get("ppl").getAsDouble();
    replay.record(name, run + " with refit, perplexity", ratio, 1, "of SparseGPT's");
  }

  private void compareStatistics(
      String run, List<PrunedLayer> layers, Set<String> keys, Arena arena) throws IOException {
    List<Double> deviations = new ArrayList<>();
    for (PrunedLayer layer : layers) {
      String key = layer.name() + ".scaler_row." + run;
      Tensor means = layer.meanSquares();
      if (means != null && keys.contains(key)) {
        float[] recorded = expected.load(key, arena).toFloatArray();
        deviations.add(Deviation.relative(means.toFloatArray(), recorded, Float.MIN_NORMAL));
      }
    }
    if (!deviations.isEmpty()) {
      replay.record(
          name,
          run + " scaler_row",
          worst(deviations),
          STATISTIC_TOLERANCE,
          PruneReplayer.RELATIVE);
    }
  }

  /** The largest, or NaN where there is one. */
  private static double worst(List<Double> deviations) {
    return deviations.stream().reduce(0.0, Math::max);
  }

  private void compareZeros(
      String run, String label, LanguageModel model, Set<String> keys, Arena arena)
      throws IOException {
    double different = 0;
    long compared = 0;
    long zeros = 0;
    long weights = 0;
    for (String linear : model.linears()) {
      Tensor matrix = model.weights(linear);
      Tensor packed = packZeros(matrix, arena);
      zeros += ones(packed);
      weights += matrix.size();
      String key = linear + ".zeros." + run;
      if (keys.contains(key)) {
        different += Deviation.bits(packed, expected.load(key, arena));
        compared += matrix.size();
      }
    }
    if (compared > 0) {
      replay.record(name, label + " zeros", different / compared, ZEROS_TOLERANCE, "share of bits");
    }
    JsonObject recorded = recordedRuns().getAsJsonObject(run);
    if (recorded != null && recorded.has("sparsity")) {
      double wanted = recorded.get("sparsity").getAsDouble();
      double worst = Math.abs((double) zeros / weights - wanted);
      replay.record(name, label + " sparsity", worst, ZEROS_TOLERANCE, "share of weights");
    }
  }

  /** One bit per weight, 1 where it is zero, rows padded to whole bytes. */
  private static Tensor packZeros(Tensor matrix, Arena arena) {
    int columns = Math.toIntExact(matrix.dim(1));
    Tensor packed =
        Tensor.allocate(arena, DType.U8, matrix.dim(0), Math.ceilDiv(columns, Byte.SIZE));
    for (long row = 0; row < matrix.dim(0); row++) {
      for (int j = 0; j < columns; j++) {
        if (matrix.memory().getAtIndex(ValueLayout.JAVA_FLOAT, row * columns + j) == 0) {
          long at = row * packed.dim(1) + j / Byte.SIZE;
          byte bits = packed.memory().get(ValueLayout.JAVA_BYTE, at);
          packed.memory().set(ValueLayout.JAVA_BYTE, at, (byte) (bits | 1 << j % Byte.SIZE));
        }
      }
    }
    return packed;
  }

  private static long ones(Tensor packed) {
    long count = 0;
    for (long at = 0; at < packed.size(); at++) {
      count += Integer.bitCount(packed.memory().get(ValueLayout.JAVA_BYTE, at) & 0xff);
    }
    return count;
  }
}
