package org.quern.cli;

import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.prune.Perplexities;
import org.quern.prune.PruneReport;
import org.quern.prune.calibration.CalibratedPruning;
import org.quern.prune.calibration.CalibrationReport;
import org.quern.prune.calibration.Evaluation;
import org.quern.prune.calibration.Reconstruction;
import org.quern.prune.calibration.TokenType;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;

/** The options of {@code prune} that run the model to calibrate it, and what they report. */
final class CalibrationOptions {
  @Option(
      names = "--calibrate",
      paramLabel = "TOKENS",
      description = {
        "Take all statistics from the model itself, a LLaMA-style decoder, run over these token ids: raw little-endian"
            + " integers, .safetensors (FILE#TENSOR where it holds several), .csv (a sequence a line) or .txt.",
        "Kept weights are refitted to the outputs of their layer unless --no-refit is given."
      })
  private @Nullable Path tokens;

  @Option(
      names = "--token-type",
      paramLabel = "TYPE",
      description =
          "Type of the ids in raw files: u16 or u32 (default: u16 where the vocabulary fits).")
  private @Nullable TokenType type;

  @Option(
      names = "--sequences",
      paramLabel = "N",
      description = "Calibration sequences (default: 128, or the rows that the file has).")
  private @Nullable Integer sequences;

  @Option(
      names = "--length",
      paramLabel = "T",
      description = "Tokens of a sequence (default: 2048, or the length of the file's rows).")
  private @Nullable Integer length;

  @Option(
      names = "--seed",
      paramLabel = "S",
      description = "Where the places of the cuts are drawn from (default: 0).")
  private @Nullable Long seed;

  @Option(
      names = "--no-refit",
      description = "With --calibrate: leave the bits of kept weights as they are.")
  private boolean noRefit;

  @Option(
      names = "--sequential",
      description =
          "With --calibrate: take the statistics of a layer behind the pruned layers of its own block, too.")
  private boolean sequential;

  @Option(
      names = "--evaluate",
      paramLabel = "TOKENS",
      description =
          "With --calibrate: print the perplexity on these token ids before and after, in windows of the calibration"
              + " length.")
  private @Nullable Path evaluate;

  @Option(
      names = "--state",
      paramLabel = "DIR",
      description =
          "With --calibrate: where an interrupted run leaves its state, and finds it again. Kept at the end if it is"
              + " named here; its gradients then serve later runs (default: OUT.calibration, deleted at the end).")
  private @Nullable Path state;

  /** True where the model is to be calibrated. */
  boolean isAsked() {
    return tokens != null;
  }

  /**
   * Begins the pruning that these options describe.
   *
   * @param sparseGpt true to select and update by SparseGPT
   */
  CalibratedPruning.Builder builder(CommandSpec command, boolean sparseGpt) {
    if (tokens == null) {
      throw new AssertionError("asked for without --calibrate");
    }
    if (sparseGpt && noRefit) {
      throw new ParameterException(
          command.commandLine(), "--no-refit: expected another method than sparsegpt");
    }
    CalibratedPruning.Builder builder =
        CalibratedPruning.builder(tokens)
            .tokenType(type)
            .reconstruction(
                sparseGpt
                    ? Reconstruction.SPARSEGPT
                    : noRefit ? Reconstruction.NONE : Reconstruction.REFIT)
            .sequential(sequential)
            .evaluate(evaluate)
            .state(state);
    if (sequences != null) {
      builder.sequences(sequences);
    }
    if (length != null) {
      builder.length(length);
    }
    if (seed != null) {
      builder.seed(seed);
    }
    return builder;
  }

  /** Rejects options that mean nothing without {@code --calibrate}. */
  void requireNone(CommandSpec command) {
    boolean any =
        type != null
            || sequences != null
            || length != null
            || seed != null
            || noRefit
            || sequential
            || evaluate != null
            || state != null;
    if (any) {
      throw new ParameterException(
          command.commandLine(),
          "expected --calibrate TOKENS with --token-type, --sequences, --length, --seed, --no-refit,"
              + " --sequential, --evaluate and --state");
    }
  }

  /** The perplexity after, beside that before; null where none was measured. */
  static @Nullable Perplexities perplexities(CalibrationReport report) {
    Evaluation before = report.before();
    Evaluation after = report.after();
    if (before == null || after == null) {
      return null;
    }
    Perplexities perplexities = new Perplexities(before.perplexity());
    PruneReport.Layer layer = report.pruning().layers().getFirst();
    perplexities.add(layer.method(), layer.pattern().toString(), after.perplexity());
    return perplexities;
  }

  /** What the calibration did, for people. */
  static Map<String, String> facts(CalibrationReport report) {
    Map<String, String> facts = new LinkedHashMap<>();
    PruneReport pruning = report.pruning();
    facts.put(
        "Time",
        Output.seconds(pruning.seconds())
            + ", tier "
            + Output.workers(pruning.tier(), pruning.threads()));
    facts.put(
        "Calibrated",
        report.sequences()
            + " sequences of "
            + report.length()
            + " tokens; kept weights "
            + switch (report.reconstruction()) {
              case NONE -> "unchanged";
              case REFIT -> "refitted";
              case SPARSEGPT -> "updated by SparseGPT";
            }
            + (report.resumedBlocks() > 0
                ? "; went on behind " + report.resumedBlocks() + " blocks of an earlier run"
                : ""));
    Evaluation before = report.before();
    Evaluation after = report.after();
    if (before != null && after != null) {
      facts.put(
          "Perplexity",
          Output.figure4(before.perplexity())
              + " before, "
              + Output.figure4(after.perplexity())
              + " after, on "
              + before.windows()
              + " windows of "
              + before.length()
              + " tokens");
    }
    StringBuilder phases = new StringBuilder();
    report
        .seconds()
        .forEach((phase, seconds) ->
            phases
                .append(phases.isEmpty() ? "" : ", ")
                .append(phase)
                .append(' ')
                .append(Output.seconds(seconds)));
    facts.put("Phases", phases.toString());
    return facts;
  }
}
