package org.quern.prune.calibration;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;
import org.quern.prune.Method;
import org.quern.prune.Pattern;
import org.quern.prune.PruneReport;
import org.quern.prune.Pruner;
import org.quern.prune.lm.DecoderShape;
import org.quern.tensor.DType;

/**
 * Calibrates and prunes a generated checkpoint in bf16 with the shapes of a LLaMA of 1.1 billion
 * parameters, and prints the time of every phase and the peak of the resident memory. Run by hand;
 * see docs/prune-calibration.md. Arguments: a directory with room for five times the model, the
 * number of decoder blocks (22 for the whole model, 88 MB each), of sequences and of tokens in
 * each, and what becomes of the kept weights: none, refit or sparsegpt.
 */
final class CalibrationTool {
  private static final int VOCABULARY = 32_000;

  private CalibrationTool() {}

  /** Generates the files, calibrates, prints and deletes them. */
  public static void main(String[] arguments) throws IOException {
    Path directory = Files.createTempDirectory(Path.of(arguments[0]), "quern-calibration");
    int blocks = Integer.parseInt(arguments[1]);
    int sequences = Integer.parseInt(arguments[2]);
    int length = Integer.parseInt(arguments[3]);
    Reconstruction reconstruction = Reconstruction.valueOf(arguments[4].toUpperCase(Locale.ROOT));
    try {
      DecoderShape shape =
          new DecoderShape(VOCABULARY, 2048, 5632, 32, 4, 64, blocks, 10_000, 1e-5);
      Path model = SampleCheckpoint.write(directory.resolve("model"), shape, DType.BF16, 1);
      Path tokens =
          SampleCheckpoint.writeTokens(directory.resolve("tokens.bin"), 20_000, VOCABULARY, 2);
      resetPeak();
      CalibrationReport report =
          CalibratedPruning.builder(tokens)
              .pruner(Pruner.builder().method(Method.GBLM).pattern(Pattern.nm(2, 4)))
              .reconstruction(reconstruction)
              .sequences(sequences)
              .length(length)
              .threads(Runtime.getRuntime().availableProcessors())
              .progress((step, done, total) ->
                  System.err.printf("%s: %d of %d, %d MB%n", step, done, total, memory("VmRSS")))
              .build()
              .prune(model, directory.resolve("out"));
      print(report.pruning(), report);
    } finally {
      try (Stream<Path> files = Files.walk(directory)) {
        for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(file);
        }
      }
    }
  }

  private static void print(PruneReport pruning, CalibrationReport report) throws IOException {
    System.out.printf(
        "%.2f GB, %d prunable weights, %d sequences of %d tokens, %s%n",
        pruning.bytes() * 1e-9,
        pruning.weights(),
        report.sequences(),
        report.length(),
        report.reconstruction());
    report.seconds().forEach((phase, seconds) -> System.out.printf("%s: %.1f s%n", phase, seconds));
    System.out.printf(
        "all: %.1f s, sparsity %.4f, threads %d%n",
        pruning.seconds(), pruning.sparsity(), pruning.threads());
    System.out.printf("peak resident memory: %d MB%n", memory("VmHWM"));
  }

  /** Makes the peak that the system keeps begin anew, without what generating took. */
  private static void resetPeak() throws IOException {
    System.gc();
    Files.writeString(Path.of("/proc/self/clear_refs"), "5");
  }

  /** A figure of the process, in MB. */
  static long memory(String key) {
    try {
      List<String> lines = Files.readAllLines(Path.of("/proc/self/status"));
      for (String line : lines) {
        if (line.startsWith(key + ":")) {
          return Long.parseLong(line.replaceAll("\\D", "")) / 1000;
        }
      }
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    throw new IllegalStateException("/proc/self/status: expected " + key);
  }
}
