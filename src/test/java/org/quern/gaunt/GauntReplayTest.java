package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.ServiceLoader;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.family.CaseResult;
import org.quern.family.Family;
import org.quern.family.Replay;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

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
}
