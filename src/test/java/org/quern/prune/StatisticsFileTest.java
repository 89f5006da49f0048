package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.io.SafetensorsFile;
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
}
