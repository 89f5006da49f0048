package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.family.CaseResult;
import org.quern.family.Family;
import org.quern.family.Replay;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsWriter;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

class PruneReplayTest {
  /** The recorded cases, beside the project where it is developed. */
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "prune");

  @TempDir Path directory;

  static Stream<Tier> tiers() {
    return Pruner.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static Replay replay(Path cases, Tier tier) throws IOException {
    Replay replay = new Replay(cases, tier, result -> {});
    new PruneFamily().replay(replay);
    return replay;
  }

  private static List<CaseResult> failures(Replay replay) {
    return replay.results().stream().filter(result -> !result.passed()).toList();
  }

  private static Set<String> filesWithResults(Replay replay) {
    return replay.results().stream().map(CaseResult::file).collect(Collectors.toSet());
  }

  @Test
  void theFamilyIsFoundAsAService() {
    List<Family> families =
        ServiceLoader.load(Family.class).stream()
            .map(ServiceLoader.Provider::get)
            .filter(family -> family.name().equals("prune"))
            .toList();
    assertEquals(1, families.size());
    assertEquals(Pruner.TIERS, families.get(0).tiers());
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void recordedCasesPass(Tier tier) throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    Replay replay = replay(GOLDEN, tier);
    assertEquals(List.of(), failures(replay));
    assertEquals(List.of(), replay.unclaimed());
    // Perplexities that are demanded of the refit, to those recorded of SparseGPT.
    Map<String, Double> limits =
        Map.of("u0.5", 4.10 / 4.4147, "u0.7", 6.95 / 8.9519, "2of4", 4.72 / 5.2071);
    limits.forEach((pattern, limit) -> {
      double[] ratios =
          replay.results().stream()
              .filter(result -> result.name().startsWith("gblm.l1." + pattern + " with refit"))
              .mapToDouble(CaseResult::worst)
              .toArray();
      assertEquals(1, ratios.length, pattern);
      assertTrue(ratios[0] <= limit, pattern + ": " + ratios[0]);
    });
    Set<String> files = filesWithResults(replay);
    replay.skipped().keySet().forEach(what -> files.add(what.split(":", 2)[0]));
    try (Stream<Path> cases = Files.list(GOLDEN)) {
      Set<String> silent =
          cases
              .map(path -> path.getFileName().toString())
              .filter(name -> !name.startsWith("README") && !files.contains(name))
              // Read together with the tensors of the same name, or by them.
              .filter(name -> !name.startsWith("tiny_lm"))
              .collect(Collectors.toCollection(HashSet::new));
      assertEquals(Set.of(), silent);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void casesOfOtherNamesAndSizesPass(Tier tier) throws IOException {
    for (long seed : new long[] {3, 77}) {
      new SyntheticCases(directory, seed).write();
      Replay replay = replay(directory, tier);
      assertEquals(List.of(), failures(replay), "seed " + seed);
      assertEquals(List.of(), replay.unclaimed());
      // Per layer: 30 masks, a statistic, zeros and weights of SparseGPT by two patterns.
      for (String file :
          List.of(
              SyntheticCases.LAYERS_F32, SyntheticCases.LAYERS_F16, SyntheticCases.LAYERS_BF16)) {
        assertEquals(70, count(replay, file), file);
      }
      assertEquals(12, count(replay, SyntheticCases.SCORES));
      assertEquals(1, count(replay, SyntheticCases.OUTLIERS));
      assertEquals(8, count(replay, SyntheticCases.SUMS));
      assertEquals(6, count(replay, SyntheticCases.TIES));
      // Logits, dense perplexity; per run zeros, sparsity, perplexity; statistics for two of them.
      assertEquals(2 + 6 * 3 + 2, count(replay, SyntheticCases.MODEL_EXPECTED));
      assertTrue(
          replay
              .skipped()
              .keySet()
              .containsAll(
                  List.of(
                      SyntheticCases.SCORES + ": *.score.madeup",
                      SyntheticCases.MODEL_EXPECTED + ": madeup.u0.5")),
          replay.skipped().toString());
    }
  }

  private static long count(Replay replay, String file) {
    return replay.results().stream().filter(result -> result.file().equals(file)).count();
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void oneWrongBitOfAMaskFails(Tier tier) throws IOException {
    new SyntheticCases(directory, 5).write();
    for (String key : List.of("out.mask.gblm.u0.45.l2", "enc.0.proj.mask.magnitude.4of8")) {
      for (String file : List.of(SyntheticCases.LAYERS_F32, SyntheticCases.LAYERS_F16)) {
        flip(file, key);
        List<CaseResult> failures = failures(replay(directory, tier));
        assertEquals(List.of(key), failures.stream().map(CaseResult::name).toList());
        assertEquals(file, failures.get(0).file());
        flip(file, key);
        assertEquals(List.of(), failures(replay(directory, tier)));
      }
    }
  }

  @Test
  void aWrongStatisticScoreOrLogitFails() throws IOException {
    new SyntheticCases(directory, 6).write();
    assertFails(SyntheticCases.LAYERS_F32, "out.scaler_row", "out.scaler_row");
    assertFails(SyntheticCases.SUMS, "scaler_row.final", "scaler_row.final");
    assertFails(SyntheticCases.SUMS, "grad_l2", "grad_l2 official");
    assertFails(SyntheticCases.SCORES, "out.score.gblm.l1", "out.score.gblm.l1");
    assertFails(SyntheticCases.SCORES, "out.score.ria.a0.75", "out.score.ria.a0.75");
    assertFails(SyntheticCases.SCORES, "out.mask.ria.a0.75.u0.3", "out.mask.ria.a0.75.u0.3");
    assertFails(
        SyntheticCases.SCORES, "out.mask.prunerzero.2of4.l1", "out.mask.prunerzero.2of4.l1");
    Path outliers = directory.resolve(SyntheticCases.OUTLIERS);
    Files.writeString(outliers, Files.readString(outliers).replace("2.5", "1.5"));
    assertEquals(
        List.of("outliers at M 1.5"),
        failures(replay(directory, Tier.SCALAR)).stream().map(CaseResult::name).toList());
    assertFails(SyntheticCases.MODEL_EXPECTED, "test2_logits", "test2_logits");
  }

  private void assertFails(String file, String key, String result) throws IOException {
    flip(file, key);
    Set<String> failed =
        failures(replay(directory, Tier.SCALAR)).stream()
            .map(CaseResult::name)
            .collect(Collectors.toSet());
    assertTrue(failed.contains(result), failed.toString());
    flip(file, key);
  }

  /** Inverts a bit of a tensor's fourth byte, which is high in a float of 32 or 16 bits. */
  private void flip(String file, String key) throws IOException {
    try (Arena arena = Arena.ofShared()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      Map<String, String> metadata;
      try (SafetensorsFile source = SafetensorsFile.open(directory.resolve(file))) {
        metadata = source.metadata();
        for (SafetensorsEntry entry : source.entries()) {
          tensors.put(entry.name(), source.load(entry.name(), arena));
        }
      }
      Tensor tensor = tensors.get(key);
      byte old = tensor.memory().get(ValueLayout.JAVA_BYTE, 3);
      tensor.memory().set(ValueLayout.JAVA_BYTE, 3, (byte) (old ^ 2));
      SafetensorsWriter.write(directory.resolve(file), tensors, metadata);
    }
  }

  @Test
  void someFilesAreEnough() throws IOException {
    new SyntheticCases(directory, 7).write();
    Files.delete(directory.resolve(SyntheticCases.MODEL));
    Files.delete(directory.resolve(SyntheticCases.LAYERS_F32));
    Files.delete(directory.resolve(SyntheticCases.LAYERS_BF16));
    Files.delete(directory.resolve(SyntheticCases.LAYERS_F16));
    Replay replay = replay(directory, Tier.SCALAR);
    assertEquals(List.of(), failures(replay));
    assertEquals(List.of(), replay.unclaimed());
    assertEquals(Set.of(SyntheticCases.SUMS, SyntheticCases.TIES), filesWithResults(replay));
    assertTrue(replay.skipped().containsKey(SyntheticCases.MODEL_EXPECTED));
    assertTrue(replay.skipped().containsKey(SyntheticCases.SCORES + ": out.score.gblm.l1"));
    assertTrue(replay.skipped().containsKey(SyntheticCases.OUTLIERS + ": outlier_percent_by_M"));
  }

  @Test
  void aModelWithoutExpectationIsSkippedAloud() throws IOException {
    new SyntheticCases(directory, 7).write();
    Files.delete(directory.resolve(SyntheticCases.MODEL_EXPECTED));
    Replay replay = replay(directory, Tier.SCALAR);
    assertEquals(List.of(), replay.unclaimed());
    assertTrue(
        replay
            .skipped()
            .keySet()
            .containsAll(List.of(SyntheticCases.MODEL, SyntheticCases.MODEL_FIGURES)),
        replay.skipped().toString());
  }

  @Test
  void strangersAreLeftUnclaimed() throws IOException {
    Files.writeString(directory.resolve("notes.txt"), "nothing to replay");
    Files.writeString(directory.resolve("list.json"), "[1, 2]");
    Files.writeString(directory.resolve("other.json"), "{\"answer\": 42}");
    try (Arena arena = Arena.ofShared()) {
      Tensor tensor = Tensor.copyOf(arena, new float[] {1}, 1);
      SafetensorsWriter.write(
          directory.resolve("other.safetensors"), Map.of("a.weight", tensor), Map.of());
    }
    Replay replay = replay(directory, Tier.SCALAR);
    assertEquals(
        List.of("list.json", "notes.txt", "other.json", "other.safetensors"), replay.unclaimed());
    assertTrue(replay.results().isEmpty());
    assertTrue(replay.skipped().isEmpty());
  }

  @Test
  void brokenFilesAreErrors() throws IOException {
    Files.writeString(directory.resolve("cut.safetensors"), "abc");
    assertThrows(FormatException.class, () -> replay(directory, Tier.SCALAR));
  }

  @Test
  void missingStatisticsAreSkippedAloud() throws IOException {
    new SyntheticCases(directory, 8).write();
    Path file = directory.resolve(SyntheticCases.LAYERS_F32);
    try (Arena arena = Arena.ofShared()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      try (SafetensorsFile source = SafetensorsFile.open(file)) {
        for (SafetensorsEntry entry : source.entries()) {
          if (!entry.name().endsWith("grad_l1")) {
            tensors.put(entry.name(), source.load(entry.name(), arena));
          }
        }
      }
      SafetensorsWriter.write(file, tensors, Map.of());
    }
    Replay replay = replay(directory, Tier.SCALAR);
    assertEquals(List.of(), failures(replay));
    String what = SyntheticCases.LAYERS_F32 + ": out.mask.gblm.u0.45.l1";
    assertTrue(replay.skipped().containsKey(what), replay.skipped().toString());
    assertFalse(
        replay.results().stream()
            .anyMatch(result -> what.equals(result.file() + ": " + result.name())));
  }
}
