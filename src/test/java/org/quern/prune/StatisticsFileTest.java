package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class StatisticsFileTest {
  private static final String MODULE = "model.layers.0.mlp.up_proj";
  private static final int ROWS = 5;
  private static final int COLUMNS = 7;

  @TempDir Path directory;
  private final Arena arena = Arena.ofAuto();

  private Tensor values(Random random, long... shape) {
    Tensor values = Tensor.allocate(arena, DType.F32, shape);
    for (long i = 0; i < values.rows(); i++) {
      for (long j = 0; j < values.rowLength(); j++) {
        values.row(i).setDouble(random.nextGaussian(), j);
      }
    }
    return values;
  }

  @Test
  void writesWhatThePrunerReads() throws IOException {
    Random random = new Random(5);
    GradientStatistics gradients =
        GradientStatistics.builder(ROWS, COLUMNS)
            .norms(GradientNorm.L1, GradientNorm.L2)
            .build(arena);
    ActivationStatistics activations = new ActivationStatistics(COLUMNS);
    for (int s = 0; s < 3; s++) {
      activations.add(values(random, 4, COLUMNS));
      gradients.add(values(random, ROWS, COLUMNS));
    }
    StatisticsOrigin origin =
        new StatisticsOrigin("tiny", 0, 3, activations.tokens(), GradientScale.OFFICIAL);
    Path file = directory.resolve("statistics.safetensors");
    StatisticsFile.write(
        file, origin, Map.of(MODULE, activations), Map.of(MODULE, gradients), DType.BF16);
    assertEquals(origin, StatisticsFile.origin(file));
    try (SafetensorsFile read = SafetensorsFile.open(file)) {
      assertArrayEquals(
          activations.meanSquares(arena).toFloatArray(),
          read.load(MODULE + ".scaler_row", arena).toFloatArray());
      for (GradientNorm norm : GradientNorm.values()) {
        Tensor got = read.load(MODULE + "." + norm.key(), arena);
        assertEquals(DType.BF16, got.type());
        assertArrayEquals(
            gradients.statistic(arena, norm, DType.BF16).toFloatArray(), got.toFloatArray());
      }
    }
  }

  @Test
  void rejectsWhatDoesNotFit() {
    GradientStatistics gradients = GradientStatistics.builder(ROWS, COLUMNS).build(arena);
    Path file = directory.resolve("statistics.safetensors");
    StatisticsOrigin origin = new StatisticsOrigin("tiny", 0, 2, 8, GradientScale.OFFICIAL);
    assertThrows(
        IllegalStateException.class,
        () -> StatisticsFile.write(file, origin, Map.of(), Map.of("m", gradients), DType.F16));
    Tensor large = Tensor.allocate(arena, DType.F32, ROWS, COLUMNS);
    large.fill(400);
    gradients.add(large);
    assertThrows(
        IllegalArgumentException.class,
        () -> StatisticsFile.write(file, origin, Map.of(), Map.of("m", gradients), DType.F16),
        "one sample of two");
    gradients.add(large);
    assertThrows(
        IllegalArgumentException.class,
        () -> StatisticsFile.write(file, origin, Map.of(), Map.of("m", gradients), DType.F16),
        "beyond F16");
    StatisticsOrigin other = new StatisticsOrigin("t", 0, 2, 8, GradientScale.perMean(1));
    assertThrows(
        IllegalArgumentException.class,
        () -> StatisticsFile.write(file, other, Map.of(), Map.of("m", gradients), DType.F32));
    assertFalse(Files.exists(file));
    assertThrows(IllegalArgumentException.class, () -> new StatisticsOrigin("", 0, 0, 0, null));
  }

  /** The statistics of samples drawn from {@code random} one after the other. */
  private void write(
      Path file, Random random, long first, int samples, GradientScale scale, DType type)
      throws IOException {
    GradientStatistics gradients =
        GradientStatistics.builder(ROWS, COLUMNS)
            .norms(GradientNorm.L1, GradientNorm.L2)
            .scale(scale)
            .build(arena);
    ActivationStatistics activations = new ActivationStatistics(COLUMNS);
    for (int s = 0; s < samples; s++) {
      activations.add(values(random, 4, COLUMNS));
      gradients.add(values(random, ROWS, COLUMNS));
    }
    StatisticsOrigin origin =
        new StatisticsOrigin("tiny", first, samples, activations.tokens(), scale);
    StatisticsFile.write(
        file, origin, Map.of(MODULE, activations), Map.of(MODULE, gradients), type);
  }

  @Test
  void partsOfTheSamplesJoinToTheStatisticsOfAll() throws IOException {
    for (GradientScale scale : List.of(GradientScale.OFFICIAL, GradientScale.perMean(1000))) {
      Path whole = directory.resolve("whole");
      Path first = directory.resolve("first");
      Path second = directory.resolve("second");
      write(whole, new Random(8), 10, 7, scale, DType.F32);
      Random random = new Random(8);
      write(first, random, 10, 2, scale, DType.F32);
      write(second, random, 12, 5, scale, DType.F32);
      // The joined file may take the place of a part.
      StatisticsFile.merge(List.of(second, first), first);
      assertEquals(StatisticsFile.origin(whole), StatisticsFile.origin(first));
      try (SafetensorsFile expected = SafetensorsFile.open(whole);
          SafetensorsFile got = SafetensorsFile.open(first)) {
        assertEquals(3, got.entries().size());
        for (SafetensorsEntry entry : expected.entries()) {
          float[] values = got.load(entry.name(), arena).toFloatArray();
          float[] of = expected.load(entry.name(), arena).toFloatArray();
          for (int i = 0; i < of.length; i++) {
            assertEquals(of[i], values[i], 16 * 0x1p-24 * of[i], entry.name());
          }
        }
      }
    }
  }

  @Test
  void partsOfTheLayersComeTogether() throws IOException {
    Path first = directory.resolve("first");
    Path second = directory.resolve("second");
    Map<String, ActivationStatistics> layers = new LinkedHashMap<>();
    for (String module : List.of("model.layers.0.a", "model.layers.1.a")) {
      ActivationStatistics activations = new ActivationStatistics(COLUMNS);
      activations.add(values(new Random(1), 4, COLUMNS));
      layers.put(module, activations);
    }
    StatisticsOrigin origin = new StatisticsOrigin("tiny", 0, 1, 4, null);
    List<String> modules = List.copyOf(layers.keySet());
    for (int i = 0; i < 2; i++) {
      Path file = i == 0 ? first : second;
      String module = modules.get(i);
      StatisticsFile.write(file, origin, Map.of(module, layers.get(module)), Map.of(), DType.F32);
    }
    Path joined = directory.resolve("joined");
    StatisticsFile.merge(List.of(first, second), joined);
    assertEquals(origin, StatisticsFile.origin(joined));
    try (SafetensorsFile got = SafetensorsFile.open(joined)) {
      for (String module : modules) {
        assertArrayEquals(
            layers.get(module).meanSquares(arena).toFloatArray(),
            got.load(module + ".scaler_row", arena).toFloatArray());
      }
    }
  }

  @Test
  void partsThatDoNotFitAreRejectedAndTheDestinationStaysWhole() throws IOException {
    Path first = directory.resolve("first");
    Path gap = directory.resolve("gap");
    Path overlap = directory.resolve("overlap");
    Path scaled = directory.resolve("scaled");
    Path halves = directory.resolve("halves");
    Path none = directory.resolve("none");
    write(first, new Random(1), 0, 3, GradientScale.OFFICIAL, DType.F32);
    write(gap, new Random(2), 4, 2, GradientScale.OFFICIAL, DType.F32);
    write(overlap, new Random(2), 2, 2, GradientScale.OFFICIAL, DType.F32);
    write(scaled, new Random(2), 3, 2, GradientScale.official(10), DType.F32);
    write(halves, new Random(2), 3, 2, GradientScale.OFFICIAL, DType.F16);
    SafetensorsWriter.write(
        none, Map.of("m.scaler_row", values(new Random(3), COLUMNS)), Map.of("samples", "x"));
    Path destination = directory.resolve("destination");
    Files.writeString(destination, "whole");
    for (Path second : List.of(gap, overlap, scaled, halves)) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> StatisticsFile.merge(List.of(first, second), destination))
              .getMessage();
      assertTrue(message.startsWith(second + ": "), message);
    }
    FormatException error =
        assertThrows(
            FormatException.class, () -> StatisticsFile.merge(List.of(first, none), destination));
    assertTrue(error.getMessage().contains("first_sample: expected a number"), error.getMessage());
    assertThrows(
        IllegalArgumentException.class, () -> StatisticsFile.merge(List.of(), destination));
    assertEquals("whole", Files.readString(destination));
    assertArrayEquals(
        new String[0],
        directory.toFile().list((folder, name) -> name.endsWith(".tmp")),
        "temporary files");
  }
}
