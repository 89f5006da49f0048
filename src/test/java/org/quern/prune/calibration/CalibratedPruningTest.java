package org.quern.prune.calibration;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.quern.io.Checkpoint;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.prune.Compat;
import org.quern.prune.GradientNorm;
import org.quern.prune.GradientScale;
import org.quern.prune.Method;
import org.quern.prune.Pattern;
import org.quern.prune.Pruner;
import org.quern.prune.lm.LanguageModel;
import org.quern.runtime.Progress;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Calibration of a sharded checkpoint in bf16. */
class CalibratedPruningTest {
  private static final String LAYER = "model.layers.1.mlp.down_proj.weight";

  @TempDir Path directory;

  private Path model;
  private Path tokens;
  private Path output;

  @BeforeEach
  void write() throws IOException {
    model =
        SampleCheckpoint.write(directory.resolve("model"), SampleCheckpoint.SHAPE, DType.BF16, 11);
    tokens = SampleCheckpoint.writeTokens(directory.resolve("tokens.bin"), 400, 40, 12);
    output = directory.resolve("out");
  }

  private CalibratedPruning.Builder builder(Method method) {
    return CalibratedPruning.builder(tokens)
        .pruner(Pruner.builder().method(method).pattern(Pattern.nm(2, 4)))
        .sequences(6)
        .length(16);
  }

  private static Map<String, byte[]> files(Path directory) throws IOException {
    Map<String, byte[]> files = new TreeMap<>();
    try (Stream<Path> all = Files.list(directory)) {
      for (Path file : all.toList()) {
        files.put(file.getFileName().toString(), Files.readAllBytes(file));
      }
    }
    return files;
  }

  private static void assertSameFiles(Path expected, Path actual) throws IOException {
    Map<String, byte[]> wanted = files(expected);
    Map<String, byte[]> got = files(actual);
    assertEquals(wanted.keySet(), got.keySet());
    wanted.forEach((name, bytes) -> assertArrayEquals(bytes, got.get(name), name));
  }

  @Test
  void masksKeepEveryOtherBitAndEqualThoseInMemory() throws IOException {
    CalibrationReport report =
        builder(Method.GBLM).reconstruction(Reconstruction.NONE).build().prune(model, output);
    assertEquals(21, report.pruning().layers().size());
    assertEquals(0.5, report.pruning().sparsity());
    try (Arena arena = Arena.ofShared();
        Checkpoint before = Checkpoint.open(model);
        Checkpoint after = Checkpoint.open(output)) {
      LanguageModel inMemory = LanguageModel.load(model, arena);
      Tensor sequences = TokenFile.read(tokens, null, 40, arena).sample(arena, 6, 16, 0);
      Map<String, Tensor> gradients =
          new DenseGradients(
                  inMemory,
                  sequences,
                  GradientNorm.L1,
                  GradientScale.OFFICIAL,
                  Compat.EXACT,
                  2,
                  Progress.NONE)
              .take(arena);
      new ModelPruner(
              Pruner.builder().method(Method.GBLM).pattern(Pattern.nm(2, 4)).build(),
              Reconstruction.NONE,
              1,
              Progress.NONE)
          .prune(arena, inMemory, sequences, gradients);
      for (SafetensorsFile shard : before.shards()) {
        SafetensorsFile written = after.shardOf(shard.entries().getFirst().name());
        assertArrayEquals(shard.header().bytes(), written.header().bytes());
        for (SafetensorsEntry entry : shard.entries()) {
          Tensor old = shard.load(entry.name(), arena);
          Tensor now = written.load(entry.name(), arena);
          if (!entry.name().contains("_proj")) {
            assertEquals(-1, old.memory().mismatch(now.memory()), entry.name());
            continue;
          }
          String linear = entry.name().substring(6, entry.name().length() - 7);
          Tensor expected = inMemory.weights(linear);
          for (long i = 0; i < old.dim(0); i++) {
            for (long j = 0; j < old.dim(1); j++) {
              double kept = now.getDouble(i, j);
              assertEquals(expected.getDouble(i, j), kept, entry.name());
              assertTrue(kept == 0 || kept == old.getDouble(i, j), entry.name());
            }
          }
        }
      }
    }
    assertArrayEquals(
        Files.readAllBytes(model.resolve("tokenizer.json")),
        Files.readAllBytes(output.resolve("tokenizer.json")));
    assertFalse(Files.exists(directory.resolve("out.calibration")));
  }

  @ParameterizedTest
  @EnumSource(Method.class)
  void everyMethodPrunesItsShareWithAndWithoutRefit(Method method) throws IOException {
    for (Reconstruction reconstruction : List.of(Reconstruction.NONE, Reconstruction.REFIT)) {
      CalibrationReport report =
          builder(method)
              .reconstruction(reconstruction)
              .sequential(reconstruction == Reconstruction.REFIT)
              .overwrite(true)
              .build()
              .prune(model, output);
      assertEquals(0.5, report.pruning().sparsity());
      assertEquals(
          method.label() + (reconstruction == Reconstruction.REFIT ? " + refit" : ""),
          report.pruning().layers().getFirst().method());
    }
  }

  @Test
  void refitAndSparseGptChangeKeptWeightsAndDoNotDependOnThreads() throws IOException {
    for (Reconstruction reconstruction : List.of(Reconstruction.REFIT, Reconstruction.SPARSEGPT)) {
      Path one = directory.resolve("one" + reconstruction);
      Path three = directory.resolve("three" + reconstruction);
      CalibrationReport report =
          builder(Method.GBLM).reconstruction(reconstruction).build().prune(model, one);
      builder(Method.GBLM).reconstruction(reconstruction).threads(3).build().prune(model, three);
      assertSameFiles(one, three);
      assertEquals(0.5, report.pruning().sparsity(), 0.01);
      try (Arena arena = Arena.ofShared();
          Checkpoint before = Checkpoint.open(model);
          Checkpoint after = Checkpoint.open(one)) {
        Tensor old = before.load(LAYER, arena);
        Tensor now = after.load(LAYER, arena);
        int changed = 0;
        for (long j = 0; j < old.dim(1); j++) {
          changed += now.getDouble(3, j) != 0 && now.getDouble(3, j) != old.getDouble(3, j) ? 1 : 0;
        }
        assertTrue(changed > old.dim(1) / 4, reconstruction + ": " + changed);
      }
    }
  }

  /** Where a run is interrupted, and what the next one still has to do. */
  @ParameterizedTest
  @CsvSource({
    "forward pass, 7, 18, 0",
    "gradients, 0, 18, 0",
    "gradients, 7, 12, 0",
    "gradients, 13, 6, 0",
    "pruning blocks, 5, 0, 0",
    "pruning blocks, 18, 0, 1",
    "writing tensors, 9, 0, 3"
  })
  void anInterruptedRunGoesOnWhereItStopped(
      String step, long after, long gradientsLeft, int prunedBlocks) throws IOException {
    Path whole = directory.resolve("whole");
    builder(Method.GBLM).build().prune(model, whole);
    CalibratedPruning interrupted =
        builder(Method.GBLM)
            .progress((name, done, total) -> {
              if (name.equals(step) && done >= after) {
                Thread.currentThread().interrupt();
              }
            })
            .build();
    assertThrows(InterruptedIOException.class, () -> interrupted.prune(model, output));
    assertTrue(Thread.interrupted());
    assertFalse(Files.exists(output));
    try (Stream<Path> left = Files.list(directory)) {
      assertEquals(
          List.of("model", "out.calibration", "tokens.bin", "whole"),
          left.map(file -> file.getFileName().toString()).sorted().toList());
    }
    Map<String, Long> totals = new HashMap<>();
    CalibrationReport report =
        builder(Method.GBLM)
            .progress((name, done, total) -> totals.put(name, total))
            .build()
            .prune(model, output);
    assertSameFiles(whole, output);
    assertEquals(gradientsLeft, totals.getOrDefault("gradients", 0L));
    assertEquals(prunedBlocks, report.resumedBlocks());
    assertFalse(Files.exists(directory.resolve("out.calibration")));
  }

  @Test
  void aStateServesOtherSettingsButNoOtherInput() throws IOException {
    Path state = directory.resolve("state");
    List<String> steps = new ArrayList<>();
    builder(Method.GBLM).state(state).build().prune(model, output);
    Path direct = directory.resolve("direct");
    Pruner.Builder pruner = Pruner.builder().method(Method.GBLM).pattern(Pattern.nm(4, 8));
    builder(Method.GBLM).pruner(pruner).build().prune(model, direct);
    Path again = directory.resolve("again");
    builder(Method.GBLM)
        .pruner(pruner)
        .state(state)
        .progress((step, done, total) -> steps.add(step))
        .build()
        .prune(model, again);
    assertSameFiles(direct, again);
    assertFalse(steps.contains("gradients"), steps.toString());
    // The gradients are files as --grads reads them.
    Path given = directory.resolve("given");
    builder(Method.GBLM)
        .pruner(pruner)
        .gradients(state.resolve("gradients"))
        .build()
        .prune(model, given);
    assertSameFiles(direct, given);

    IllegalArgumentException error =
        assertThrows(
            IllegalArgumentException.class,
            () -> builder(Method.GBLM).seed(1).state(state).build().dryRun(model));
    assertTrue(error.getMessage().startsWith("state: expected in " + state), error.getMessage());
    assertTrue(error.getMessage().contains("tokens"), error.getMessage());
    assertTrue(error.getMessage().endsWith("name another (--state)"), error.getMessage());
    assertThrows(
        IllegalArgumentException.class,
        () -> builder(Method.GBLM).state(model).build().dryRun(model));
  }

  @Test
  void evaluatesBeforeAndAfterAndADryRunLeavesNothing() throws IOException {
    CalibratedPruning.Builder builder = builder(Method.WANDA).evaluate(tokens).threads(2);
    CalibrationReport dry = builder.build().dryRun(model);
    CalibrationReport report = builder.build().prune(model, output);
    Evaluation before = report.before();
    Evaluation after = report.after();
    assertNotNull(before);
    assertNotNull(after);
    assertEquals(25, before.windows());
    assertTrue(after.perplexity() > 1 && after.perplexity() != before.perplexity());
    Evaluation dryAfter = dry.after();
    assertNotNull(dryAfter);
    assertEquals(after.loss(), dryAfter.loss());
    try (Arena arena = Arena.ofShared();
        LanguageModel written = LanguageModel.open(output);
        LanguageModel dense = LanguageModel.open(model)) {
      Tensor windows = TokenFile.read(tokens, null, 40, arena).windows(arena, 16);
      assertEquals(before.loss(), evaluate(dense, windows));
      assertEquals(after.loss(), evaluate(written, windows));
    }
    assertTrue(report.toJson().contains("\"calibration\""));
    try (Stream<Path> left = Files.list(directory)) {
      assertEquals(3, left.count());
    }
  }

  private double evaluate(LanguageModel model, Tensor windows) throws IOException {
    return Evaluation.of(model, windows, directory, 1, Progress.NONE).loss();
  }

  @Test
  void layersAreChosenAndHaveSharesOfTheirOwn() throws IOException {
    Path ratios =
        Files.writeString(directory.resolve("ratios.csv"), "pattern,ratio\nlayers\\.0\\.,0.25\n");
    CalibrationReport report =
        builder(Method.WANDA)
            .pruner(Pruner.builder().method(Method.WANDA).pattern(Pattern.unstructured(0.5)))
            .ratios(ratios)
            .exclude("layers\\.2\\.|gate")
            .build()
            .prune(model, output);
    assertEquals(12, report.pruning().layers().size());
    assertEquals(0.25, report.pruning().layers().get(0).sparsity());
    assertEquals(0.5, report.pruning().layers().get(6).sparsity());
    try (Arena arena = Arena.ofShared();
        Checkpoint before = Checkpoint.open(model);
        Checkpoint after = Checkpoint.open(output)) {
      String left = "model.layers.0.mlp.gate_proj.weight";
      assertEquals(
          -1, before.load(left, arena).memory().mismatch(after.load(left, arena).memory()));
    }
    assertFails(
        "include: expected linear layers of decoder blocks",
        builder(Method.WANDA).include("lm_head"));
    assertFails("include: expected an expression", builder(Method.WANDA).include("nothing"));
    assertFails(
        "expected columns in whole groups of 5",
        builder(Method.WANDA)
            .pruner(Pruner.builder().method(Method.WANDA).pattern(Pattern.nm(2, 5))));
  }

  @Test
  void badInputIsToldAndNothingIsWritten() throws IOException {
    assertFails("expected at least 401 token ids, got 400", builder(Method.WANDA).length(401));
    SampleCheckpoint.writeTokens(tokens, 400, 41, 12);
    IOException wide =
        assertThrows(FormatException.class, () -> builder(Method.WANDA).build().dryRun(model));
    assertTrue(wide.getMessage().contains("below the model's vocabulary of 40, got 40"));
    Files.delete(model.resolve("config.json"));
    IOException bare =
        assertThrows(
            FormatException.class, () -> builder(Method.WANDA).build().prune(model, output));
    assertTrue(bare.getMessage().contains("config.json"), bare.getMessage());
    assertFalse(Files.exists(output));
    assertFalse(Files.exists(directory.resolve("out.calibration")));
  }

  private void assertFails(String part, CalibratedPruning.Builder builder) {
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> builder.build().dryRun(model));
    assertTrue(error.getMessage().contains(part), error.getMessage());
  }
}
