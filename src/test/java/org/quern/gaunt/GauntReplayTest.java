package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;
import static org.quern.tensor.DType.F64;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.family.CaseResult;
import org.quern.family.Family;
import org.quern.family.Replay;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsWriter;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

class GauntReplayTest {
  /** The recorded cases, beside the project where it is developed. */
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "gaunt");

  static Stream<Tier> tiers() {
    return GauntConvolution.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static Replay replay(Path cases, Tier tier) throws IOException {
    Replay replay = new Replay(cases, tier, result -> {});
    new GauntFamily().replay(replay);
    return replay;
  }

  @Test
  void theFamilyIsFoundAsAService() {
    List<Family> families =
        ServiceLoader.load(Family.class).stream()
            .map(ServiceLoader.Provider::get)
            .filter(family -> family.name().equals("gaunt"))
            .toList();
    assertEquals(1, families.size());
    assertEquals(GauntConvolution.TIERS, families.get(0).tiers());
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void recordedCasesPass(Tier tier) throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    TreeSet<String> all = new TreeSet<>(new Replay(GOLDEN, tier, result -> {}).unclaimed());
    Replay replay = replay(GOLDEN, tier);
    assertEquals(List.of(), replay.results().stream().filter(result -> !result.passed()).toList());
    assertEquals(List.of(), replay.unclaimed());
    assertEquals(
        all,
        replay.results().stream()
            .map(CaseResult::file)
            .collect(Collectors.toCollection(TreeSet::new)));
  }

  /** Recognised tensors of other shapes, and what the error says of them. */
  static Stream<Arguments> wrongFiles() {
    return Stream.of(
        Arguments.of(
            Map.of("x1", shape(54), "x2", shape(2, 3, 9), "out", shape(2, 3, 25)),
            "tensor \"x1\": expected shape [any, any, any], got [54]"),
        Arguments.of(
            Map.of("x1", shape(2, 3, 9), "x2", shape(2, 3, 8), "out", shape(2, 3, 25)),
            "tensor \"x2\": expected (L + 1)^2 components, got 8"),
        Arguments.of(
            Map.of("x1", shape(2, 3, 9), "x2", shape(3, 3, 9), "out", shape(2, 3, 25)), "x2: "),
        Arguments.of(
            Map.of("xyz", shape(9), "Y", shape(3, 9)),
            "tensor \"xyz\": expected shape [any, 3], got [9]"),
        Arguments.of(
            Map.of("x", shape(2, 3, 9), "species", shape(2), "W", shape(3, 4)),
            "tensor \"W\": expected shape [any, any, any, any], got [3, 4]"),
        Arguments.of(
            Map.of("i", shape(2), "j", shape(2), "k", shape(1), "value", shape(2)),
            "tensor \"k\": expected shape [2], got [1]"));
  }

  private static long[] shape(long... extents) {
    return extents;
  }

  @ParameterizedTest
  @MethodSource("wrongFiles")
  void aWrongShapeIsAnErrorThatNamesTheFile(
      Map<String, long[]> shapes, String expected, @TempDir Path directory) throws IOException {
    Path file = directory.resolve("wrong.safetensors");
    try (Arena arena = Arena.ofConfined()) {
      Map<String, Tensor> tensors = new TreeMap<>();
      shapes.forEach((name, extents) -> tensors.put(name, Tensor.allocate(arena, F64, extents)));
      SafetensorsWriter.write(file, tensors, Map.of());
    }
    FormatException error =
        assertThrows(FormatException.class, () -> replay(directory, Tier.SCALAR));
    assertTrue(error.getMessage().startsWith(file + ": " + expected), error.getMessage());
  }
}
