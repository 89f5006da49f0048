package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsWriter;
import org.quern.kronecker.Storage;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Saved runs (property 16, defect 10). */
class MkorCheckpointTest {
  private static final int OUT = 21;
  private static final int IN = 70;

  @TempDir Path directory;

  private final Arena arena = Arena.ofConfined();

  @AfterEach
  void close() {
    arena.close();
  }

  static Stream<Arguments> cases() {
    List<Arguments> cases = new ArrayList<>();
    List<Storage> storages =
        List.of(
            Storage.dense(),
            new Storage.SymmetricTiles(3),
            Storage.deviation(DType.F16),
            Storage.deviation(DType.BF16),
            Storage.lowRank(4, 0.05),
            Storage.lowRank(6, Double.POSITIVE_INFINITY));
    for (Tier tier : List.of(Tier.SCALAR, Tier.VECTOR)) {
      if (Capabilities.get().available().contains(tier)) {
        for (Storage storage : storages) {
          cases.add(Arguments.of(tier, storage));
        }
      }
    }
    return cases.stream();
  }

  private static MkorBuilder builder() {
    return Mkor.builder().refreshEvery(2).backEnd(new Adam(0.01)).switchPolicy(new KneePoint());
  }

  /** An optimizer with its parameters. */
  private final class Run implements AutoCloseable {
    final Mkor mkor;
    final MkorLayer layer;
    final MkorLayer gain;
    Tensor w = Tensor.allocate(arena, DType.F32, OUT, IN);
    Tensor b = Tensor.allocate(arena, DType.F32, OUT);
    Tensor s = Tensor.allocate(arena, DType.F32, 5);

    Run(MkorBuilder builder) {
      mkor = builder.build();
      layer = mkor.layer("fc1", OUT, IN, true);
      gain = mkor.parameter("gain", 5);
    }

    void step(int t) {
      Samples samples = new Samples(arena, 100 + t);
      layer.observe(samples.input(1, IN + 1), samples.normal(1, OUT));
      layer.step(w, b, samples.normal(1, OUT, IN), samples.normal(1, OUT), 0.01);
      gain.step(s, null, samples.normal(1, 5), null, 0.01);
      mkor.observeLoss(10.0 / (t + 1));
      mkor.step();
    }

    @Override
    public void close() {
      mkor.close();
    }
  }

  @ParameterizedTest
  @MethodSource("cases")
  void property16ARunGoesOnBitForBitAsIfItHadNeverStopped(Tier tier, Storage storage)
      throws IOException {
    Path file = directory.resolve("run.safetensors");
    try (Run whole = new Run(builder().tier(tier).storage(storage));
        Run second = new Run(builder().tier(tier).storage(storage))) {
      for (int t = 0; t < 15; t++) {
        whole.step(t);
      }
      whole.mkor.save(file);
      second.w = whole.w.to(DType.F32, arena);
      second.b = whole.b.to(DType.F32, arena);
      second.s = whole.s.to(DType.F32, arena);
      second.mkor.load(file);
      assertEquals(
          whole.mkor.stats().getFirst().updates(), second.mkor.stats().getFirst().updates());
      for (int t = 15; t < 40; t++) {
        whole.step(t);
        second.step(t);
      }
      assertArrayEquals(whole.w.toFloatArray(), second.w.toFloatArray());
      assertArrayEquals(whole.b.toFloatArray(), second.b.toFloatArray());
      assertArrayEquals(whole.s.toFloatArray(), second.s.toFloatArray());
      assertArrayEquals(Samples.left(whole.layer), Samples.left(second.layer));
      assertArrayEquals(Samples.right(whole.layer), Samples.right(second.layer));
      assertEquals(
          whole.mkor.stats().getFirst().toString(), second.mkor.stats().getFirst().toString());
    }
  }

  @Test
  void aRunAfterTheSwitchGoesOnWithoutFactors() throws IOException {
    Path file = directory.resolve("run.safetensors");
    try (Run whole = new Run(builder());
        Run second = new Run(builder())) {
      whole.step(0);
      whole.mkor.switchToFirstOrder();
      whole.step(1);
      whole.mkor.save(file);
      second.w = whole.w.to(DType.F32, arena);
      second.mkor.load(file);
      assertTrue(second.mkor.isFirstOrder());
      whole.step(2);
      second.step(2);
      assertArrayEquals(whole.w.toFloatArray(), second.w.toFloatArray());
      try (Run third = new Run(builder())) {
        Path early = directory.resolve("early.safetensors");
        third.mkor.save(early);
        assertRefused(second.mkor, early, "expected a run without factors");
      }
    }
  }

  @Test
  void defect10AnotherVersionIsNamed() throws IOException {
    Path file = directory.resolve("run.safetensors");
    try (Run run = new Run(builder())) {
      run.step(0);
      run.mkor.save(file);
      rewrite(file, Map.of("mkor.version", "2"));
      assertRefused(run.mkor, file, "mkor.version: expected 1, got 2");
      SafetensorsWriter.write(file, Map.of(), Map.of());
      assertRefused(run.mkor, file, "got none: not the state of an optimizer");
    }
  }

  @Test
  void otherSettingsAndLayersAreNamedAndNothingChanges() throws IOException {
    Path file = directory.resolve("run.safetensors");
    try (Run run = new Run(builder())) {
      run.step(0);
      run.mkor.save(file);
      assertOther(file, builder().gamma(0.9), "gamma: expected 0.9, got 0.95");
      assertOther(file, builder().backEnd(new Sgd()), "backEnd: expected Sgd[");
      assertOther(
          file,
          builder().storage(Storage.deviation(DType.F16)),
          "layer.fc1: expected factors Deviation");
      try (Mkor mkor = builder().build()) {
        mkor.layer("fc1", OUT, IN, true);
        assertRefused(mkor, file, "layer.gain: expected none, got first order");
        mkor.parameter("gain", 6);
        assertRefused(mkor, file, "layer.gain: expected first order of [6]");
      }
    }
  }

  private void assertOther(Path file, MkorBuilder builder, String message) throws IOException {
    try (Run other = new Run(builder)) {
      other.step(0);
      float[] left = Samples.left(other.layer);
      assertRefused(other.mkor, file, message);
      assertArrayEquals(left, Samples.left(other.layer));
      assertEquals(1, other.mkor.stepNumber());
    }
  }

  private static void assertRefused(Mkor mkor, Path file, String message) {
    FormatException error = assertThrows(FormatException.class, () -> mkor.load(file));
    assertTrue(error.getMessage().contains(message), error.getMessage());
    assertTrue(error.getMessage().startsWith(file.toString()), error.getMessage());
  }

  @Test
  void missingTensorsAreNamedAndNothingChanges() throws IOException {
    Path file = directory.resolve("run.safetensors");
    Path broken = directory.resolve("broken.safetensors");
    try (Run run = new Run(builder())) {
      run.step(0);
      run.mkor.save(file);
      run.step(1);
      Map<String, Tensor> tensors = new HashMap<>();
      Map<String, String> metadata;
      try (SafetensorsFile saved = SafetensorsFile.open(file)) {
        metadata = saved.metadata();
        for (SafetensorsEntry entry : saved.entries()) {
          tensors.put(entry.name(), saved.load(entry.name(), arena));
        }
      }
      float[] left = Samples.left(run.layer);
      for (String name : List.copyOf(tensors.keySet())) {
        Map<String, Tensor> fewer = new HashMap<>(tensors);
        fewer.remove(name);
        SafetensorsWriter.write(broken, fewer, metadata);
        FormatException error =
            assertThrows(FormatException.class, () -> run.mkor.load(broken), name);
        String key = name.substring(Math.max(name.lastIndexOf('/'), name.lastIndexOf('.')) + 1);
        assertTrue(error.getMessage().contains(key), error.getMessage());
        assertArrayEquals(left, Samples.left(run.layer));
        assertEquals(2, run.mkor.stepNumber());
      }
    }
  }

  private void rewrite(Path file, Map<String, String> changes) throws IOException {
    Map<String, Tensor> tensors = new HashMap<>();
    Map<String, String> metadata;
    try (SafetensorsFile saved = SafetensorsFile.open(file)) {
      metadata = new HashMap<>(saved.metadata());
      for (SafetensorsEntry entry : saved.entries()) {
        tensors.put(entry.name(), saved.load(entry.name(), arena));
      }
    }
    metadata.putAll(changes);
    SafetensorsWriter.write(file, tensors, metadata);
  }

  @Test
  void theMiddleOfAStepIsNotSaved() throws IOException {
    Path file = directory.resolve("run.safetensors");
    try (Run run = new Run(builder())) {
      run.mkor.save(file);
      Samples samples = new Samples(arena, 1);
      run.layer.observe(samples.input(1, IN + 1), samples.normal(1, OUT));
      assertThrows(IllegalStateException.class, () -> run.mkor.save(file));
      assertThrows(IllegalStateException.class, () -> run.mkor.load(file));
      run.mkor.step();
      run.mkor.save(file);
      assertFalse(run.mkor.isRefresh());
    }
  }
}
