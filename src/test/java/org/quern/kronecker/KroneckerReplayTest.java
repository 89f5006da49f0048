package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.Set;
import java.util.function.BiConsumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
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

class KroneckerReplayTest {
  /** The recorded cases, beside the project where it is developed. */
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "mkor");

  private static final List<String> STORAGES =
      List.of(
          "dense",
          "dense lazy 4",
          "tiles",
          "tiles lazy 4",
          "deviation f16",
          "deviation bf16",
          "low rank");

  @TempDir Path directory;

  static Stream<Tier> tiers() {
    return InverseFactor.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static Replay replay(Path cases, Tier tier) throws IOException {
    Replay replay = new Replay(cases, tier, result -> {});
    new KroneckerFamily().replay(replay);
    return replay;
  }

  private static List<CaseResult> failures(Replay replay) {
    return replay.results().stream().filter(result -> !result.passed()).toList();
  }

  private static Set<String> names(Replay replay, String file) {
    return replay.results().stream()
        .filter(result -> result.file().equals(file))
        .map(CaseResult::name)
        .collect(Collectors.toSet());
  }

  @Test
  void theFamilyIsFoundAsAService() {
    List<Family> families =
        ServiceLoader.load(Family.class).stream()
            .map(ServiceLoader.Provider::get)
            .filter(family -> family.name().equals("kronecker"))
            .toList();
    assertEquals(1, families.size());
    assertEquals(InverseFactor.TIERS, families.get(0).tiers());
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void recordedCasesPass(Tier tier) throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    Replay replay = replay(GOLDEN, tier);
    assertEquals(List.of(), failures(replay));
    assertEquals(List.of(), replay.unclaimed());
    assertEquals(Map.of(), replay.skipped());
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void casesOfOtherNamesAndSizesPass(Tier tier) throws IOException {
    long seed = System.nanoTime();
    new SyntheticCases(directory, seed).write();
    Replay replay = replay(directory, tier);
    assertEquals(List.of(), failures(replay), "seed " + seed);
    assertEquals(List.of(), replay.unclaimed());
    assertEquals(Map.of(), replay.skipped());
    for (String storage : STORAGES) {
      assertTrue(names(replay, SyntheticCases.RULES).contains("code J, " + storage), storage);
      assertTrue(names(replay, SyntheticCases.PRODUCT).contains("frobenius P, " + storage));
      for (String quantity : List.of("L", "R", "pw", "pb", "w", "b")) {
        String name = quantity + ", " + storage;
        assertTrue(names(replay, SyntheticCases.RUN).contains(name), name);
        assertTrue(names(replay, SyntheticCases.MEANS).contains(name), name);
      }
    }
    assertTrue(names(replay, SyntheticCases.RUN).containsAll(Set.of("a", "g")));
    assertEquals(Set.of("pw", "pb"), names(replay, SyntheticCases.EVA));
  }

  /** Reads a case, changes tensors and metadata, and writes it again. */
  private void change(String file, BiConsumer<Map<String, Tensor>, Map<String, String>> edit)
      throws IOException {
    try (Arena arena = Arena.ofShared()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      Map<String, String> metadata;
      try (SafetensorsFile source = SafetensorsFile.open(directory.resolve(file))) {
        metadata = new HashMap<>(source.metadata());
        for (SafetensorsEntry entry : source.entries()) {
          tensors.put(entry.name(), source.load(entry.name(), arena));
        }
      }
      edit.accept(tensors, metadata);
      SafetensorsWriter.write(directory.resolve(file), tensors, metadata);
    }
  }

  private void addToFirst(String file, String key, double difference) throws IOException {
    change(
        file,
        (tensors, metadata) -> {
          Tensor tensor = tensors.get(key);
          long[] first = new long[tensor.rank()];
          tensor.setDouble(tensor.getDouble(first) + difference, first);
        });
  }

  /** Every quantity of every kind is compared: one wrong entry is found, and nothing else. */
  @ParameterizedTest
  @CsvSource({
    "a.safetensors, d65.exact.J, exact J",
    "a.safetensors, d4.code.s, code s",
    "b.safetensors, g0.3.v3.J, v3 J",
    "c.safetensors, t9.code, code J",
    "c.safetensors, lowrank.c, code I - U diag(c) U'",
    "d.safetensors, c1.inf.blend, inf blend",
    "e.safetensors, 70by20.frobenius.P, frobenius P",
    "e.safetensors, 12by12.sum_of_norms.scale, sum_of_norms scale",
    "f.safetensors, P, L(Y'A)R: P",
    "g.safetensors, s3.l1.pb, pb",
    "h.safetensors, s4.l1.a, a",
    "h.safetensors, s1.l0.g, g",
    "h.safetensors, s5.l0.L, L",
    "h.safetensors, s2.l1.pb, pb",
    "h.safetensors, s5.l1.b, b",
    "i.safetensors, s6.l0.w, w",
  })
  void oneWrongEntryFails(String file, String key, String quantity) throws IOException {
    new SyntheticCases(directory, 5).write(file);
    addToFirst(file, key, 2);
    List<CaseResult> failures = failures(replay(directory, Tier.SCALAR));
    assertTrue(
        failures.stream()
            .anyMatch(result ->
                result.name().equals(quantity) || result.name().equals(quantity + ", tiles")),
        failures.toString());
  }

  @Test
  void aValueThatIsNotFiniteFails() throws IOException {
    new SyntheticCases(directory, 6).write(SyntheticCases.RULES);
    addToFirst(SyntheticCases.RULES, "d4.code.J", Double.NaN);
    assertTrue(
        failures(replay(directory, Tier.SCALAR)).stream()
            .anyMatch(result -> result.name().equals("code J, tiles")));
  }

  @ParameterizedTest
  @CsvSource({
    "a.safetensors, d4.v",
    "a.safetensors, d65.paper.s",
    "b.safetensors, J",
    "b.safetensors, g1.0.v2.J",
    "c.safetensors, V",
    "c.safetensors, lowrank.c",
    "d.safetensors, c2.inf.reset",
    "e.safetensors, 1by7.none.scale",
    "f.safetensors, A",
    "g.safetensors, s2.l1.db",
    "g.safetensors, s1.l0.x",
    "h.safetensors, init.l1.b",
    "h.safetensors, s0.l0.m1.dy",
    "h.safetensors, s5.l1.pw",
    "h.safetensors, s4.l0.R",
    "i.safetensors, s0.l0.b",
  })
  void aMissingTensorIsNamed(String file, String key) throws IOException {
    new SyntheticCases(directory, 7).write(file);
    change(file, (tensors, metadata) -> tensors.remove(key));
    assertError(file, '"' + key + '"');
  }

  private void assertError(String file, String what) {
    FormatException e = assertThrows(FormatException.class, () -> replay(directory, Tier.SCALAR));
    String message = String.valueOf(e.getMessage());
    assertTrue(message.contains(file + ": ") && message.contains(what), message);
    assertTrue(message.lines().count() == 1, message);
  }

  @ParameterizedTest
  @CsvSource({
    "a.safetensors, d4.v",
    "c.safetensors, V",
    "e.safetensors, 70by20.R",
    "g.safetensors, s0.l1.dy",
    "h.safetensors, s0.l0.m0.x",
    "h.safetensors, s1.l1.m1.x",
    "h.safetensors, s2.l0.dw",
    "i.safetensors, s3.l1.L",
  })
  void aWrongShapeIsNamed(String file, String key) throws IOException {
    new SyntheticCases(directory, 8).write(file);
    change(
        file,
        (tensors, metadata) -> {
          Tensor tensor = tensors.get(key);
          tensors.put(key, Tensor.of(tensor.memory(), tensor.type(), 1, tensor.size()));
        });
    assertError(file, '"' + key + '"');
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '~',
      value = {
        "a.safetensors | \"gamma\": 0.8 | \"gamma\": 1.5 | gamma",
        "a.safetensors | \"gamma\": 0.8 | \"gama\": 0.8 | gamma",
        "b.safetensors | \"rule\": \"code\" | \"rule\": \"codex\" | rule",
        "d.safetensors | \"zeta\": 0.7 | \"zeta\": 2 | zeta",
        "d.safetensors | \"inf\" | 7 | rows",
        "g.safetensors | \"steps\": 4 | \"steps\": 5 | s4.l0.x",
        "g.safetensors | \"damping\": 0.1 | \"damping\": -1 | damping",
        "h.safetensors | \"steps\": 6 | \"steps\": 0 | steps",
        "h.safetensors | \"inv_freq\": 4 | \"inv_freq\": 0 | refreshEvery",
        "h.safetensors | \"type\": \"linear\" | \"type\": \"lstm\" | type",
        "h.safetensors | \"d_out\": 5 | \"d_out\": 2000000000 | s0.l1.dw",
        "h.safetensors | \"backend\": \"sgd\" | \"backend\": \"magic\" | backend",
        "h.safetensors | \"momentum\" | \"inertia\" | backend_args",
        "i.safetensors | \"dims\": [8 | \"dims\": [\"8\" | dims",
      })
  void aWrongDescriptionIsNamed(String file, String text, String other, String named)
      throws IOException {
    new SyntheticCases(directory, 9).write(file);
    change(
        file,
        (tensors, metadata) ->
            metadata.compute("case", (key, all) -> String.valueOf(all).replace(text, other)));
    assertError(file, named);
  }

  @Test
  void brokenFilesAreErrors() throws IOException {
    new SyntheticCases(directory, 10).write(SyntheticCases.RUN);
    Path file = directory.resolve(SyntheticCases.RUN);
    byte[] whole = Files.readAllBytes(file);
    for (int length : new int[] {3, 100, whole.length - 1}) {
      Files.write(file, Arrays.copyOf(whole, length));
      assertError(SyntheticCases.RUN, "");
    }
    Files.write(file, whole);
    change(SyntheticCases.RUN, (tensors, metadata) -> metadata.put("case", "{\"kind\": "));
    assertError(SyntheticCases.RUN, "case");
  }

  @Test
  void strangersAreLeftUnclaimed() throws IOException {
    Files.writeString(directory.resolve("notes.txt"), "nothing to replay");
    try (Arena arena = Arena.ofShared()) {
      Map<String, Tensor> tensors = Map.of("d4.J", Tensor.copyOf(arena, new float[] {1}, 1));
      SafetensorsWriter.write(directory.resolve("x.safetensors"), tensors, Map.of());
      SafetensorsWriter.write(
          directory.resolve("y.safetensors"), tensors, Map.of("case", "{\"kind\": \"other\"}"));
      SafetensorsWriter.write(
          directory.resolve("z.safetensors"), tensors, Map.of("case", "[1, 2]"));
    }
    Replay replay = replay(directory, Tier.SCALAR);
    assertEquals(
        List.of("notes.txt", "x.safetensors", "y.safetensors", "z.safetensors"),
        replay.unclaimed());
    assertEquals(List.of(), replay.results());
  }
}
