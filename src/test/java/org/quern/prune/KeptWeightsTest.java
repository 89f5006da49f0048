package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.quern.family.Chart;
import org.quern.io.FormatException;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class KeptWeightsTest {
  private static final String NAME = "h.0.fc.weight";

  @TempDir Path directory;

  /** The share kept of the rows and columns that fall into one tile, counted one by one. */
  private static double share(
      float[] weights, int rows, int columns, int i, int tileRows, int j, int tileColumns) {
    int kept = 0;
    int all = 0;
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column++) {
        if (row * tileRows / rows == i && column * tileColumns / columns == j) {
          all++;
          kept += weights[row * columns + column] != 0 ? 1 : 0;
        }
      }
    }
    return (double) kept / all;
  }

  @ParameterizedTest
  @CsvSource({"1,1,F32", "3,5,F16", "64,128,BF16", "70,140,F32", "131,67,F16", "65,133,BF16"})
  void everyTileHasTheShareOfItsNonzeros(int rows, int columns, String type) throws IOException {
    long seed = 41;
    Random random = new Random(seed);
    float[] weights = new float[rows * columns];
    float[] transposed = new float[weights.length];
    for (int i = 0; i < weights.length; i++) {
      float zero = random.nextBoolean() ? 0f : -0f;
      weights[i] = random.nextInt(3) > 0 ? 1 + random.nextFloat() : zero;
      transposed[i % columns * rows + i / columns] = weights[i];
    }
    Path model =
        new SampleModel(1)
            .add(NAME, type, weights, rows, columns)
            .add("h.1.fc.weight", type, transposed, columns, rows)
            .write(directory.resolve("model.safetensors"));
    KeptWeights kept = read(model, NAME, Layout.OUT_IN);
    String what = "seed " + seed;
    assertEquals(Math.min(rows, 64), kept.tiles().size());
    int tileColumns = Math.min(columns, 128);
    for (int i = 0; i < kept.tiles().size(); i++) {
      for (int j = 0; j < tileColumns; j++) {
        assertEquals(
            share(weights, rows, columns, i, kept.tiles().size(), j, tileColumns),
            kept.tiles().get(i).get(j),
            1e-12,
            what + " tile " + i + ", " + j);
      }
    }
    int bins = kept.byOutput().size();
    assertEquals(Math.min(rows, 128), bins);
    for (int i = 0; i < bins; i++) {
      assertEquals(
          share(weights, rows, columns, i, bins, 0, 1), kept.byOutput().get(i), 1e-12, what);
    }
    KeptWeights other = read(model, "h.1.fc.weight", Layout.IN_OUT);
    assertEquals(rows, other.outputs());
    assertEquals(columns, other.inputs());
    assertEquals(kept.byOutput(), other.byOutput());
    if (rows <= 64 && columns <= 64) {
      assertEquals(kept.tiles(), other.tiles());
    }
    try (Arena arena = Arena.ofConfined()) {
      KeptWeights inMemory = KeptWeights.of(NAME, Tensor.copyOf(arena, weights, rows, columns));
      assertEquals(kept, inMemory);
    }
  }

  private static KeptWeights read(Path model, String name, Layout layout) throws IOException {
    PruneReport.Layer layer =
        new PruneReport.Layer(
            name,
            List.of(1L, 1L),
            DType.F32,
            Method.WANDA.label(),
            Pattern.unstructured(0.5),
            0,
            0,
            0);
    return KeptWeights.read(model, List.of(layer), layout, 2).getFirst();
  }

  @Test
  void theChartsSayWhatTheyShow() {
    KeptWeights kept =
        new KeptWeights(
            "fc",
            2,
            3,
            List.of(List.of(1.0, 0.0, 0.5), List.of(0.0, 0.0, 0.25)),
            List.of(0.5, 0.1234));
    Chart picture = kept.picture();
    assertEquals(Chart.Kind.HEAT, picture.kind());
    assertEquals("inputs 0 to 2", picture.xLabel());
    assertEquals("outputs 0 to 1", picture.yLabel());
    assertEquals(List.of(0.0, 0.0, 25.0), picture.series().get(1).y());
    Chart profile = kept.profile();
    assertEquals(List.of(50.0, 0.0, 37.5), profile.series().get(0).y());
    assertEquals(List.of(50.0, 12.3), profile.series().get(1).y());
    assertEquals(List.of(25.0, 75.0), profile.series().get(1).x());
    assertTrue(profile.xLabel().contains("%"));
  }

  @Test
  void aMissingLayerIsAnError() throws IOException {
    Path model =
        new SampleModel(1).add("x", "F32", 2, 2).write(directory.resolve("model.safetensors"));
    assertThrows(FormatException.class, () -> read(model, NAME, Layout.OUT_IN));
  }
}
