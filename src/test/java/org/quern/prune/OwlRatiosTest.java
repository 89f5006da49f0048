package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

class OwlRatiosTest {
  @TempDir Path directory;

  @Test
  void layersKeepTheTargetOnAverageAndMoreTheMoreOutliers() {
    long seed = 12;
    Random random = new Random(seed);
    for (int round = 0; round < 50; round++) {
      double[] outliers = random.doubles(1 + random.nextInt(40), 0, 30).toArray();
      double lambda = 0.15 * random.nextDouble();
      double ratio = 0.4 + 0.2 * random.nextDouble();
      double[] ratios = new OwlRatios(5, lambda).ratios(outliers, ratio);
      String what = "seed " + seed + " round " + round;
      assertEquals(ratio, Arrays.stream(ratios).average().getAsDouble(), 1e-12, what);
      for (int i = 0; i < ratios.length; i++) {
        for (int j = 0; j < ratios.length; j++) {
          assertTrue(outliers[i] < outliers[j] == ratios[i] > ratios[j], what);
        }
      }
      double width =
          Arrays.stream(ratios).max().getAsDouble() - Arrays.stream(ratios).min().getAsDouble();
      assertEquals(ratios.length == 1 ? 0 : 2 * lambda, width, 1e-12, what);
    }
  }

  @Test
  void equalLayersKeepTheSame() {
    assertArrayEquals(
        new double[] {0.7, 0.7, 0.7},
        OwlRatios.PUBLISHED.ratios(new double[] {3, 3, 3}, 0.7),
        1e-15);
    assertEquals(0, OwlRatios.PUBLISHED.ratios(new double[0], 0.7).length);
  }

  @Test
  void outliersAreCountedOverAllMatricesOfALayer() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor a = Tensor.copyOf(arena, new float[] {1, 1, 1, 1, 1, 25}, 2, 3);
      Tensor b = Tensor.copyOf(arena, new float[] {0, 10}, 1, 2);
      // The mean is 5: above 1 x 5 are two, above 2 x 5 one, for 10 is not above 10.
      assertEquals(25, new OwlRatios(1, 0).outliers(List.of(a, b)));
      assertEquals(12.5, new OwlRatios(2, 0).outliers(List.of(a, b)));
      assertEquals(0, new OwlRatios(5, 0).outliers(List.of(a, b)));
      assertRejected(
          "scores: expected at least one", () -> OwlRatios.PUBLISHED.outliers(List.of()));
    }
  }

  @Test
  void settingsAreReadAndChecked() {
    assertEquals(new OwlRatios(5, 0.08), OwlRatios.parse(""));
    assertEquals(new OwlRatios(7, 0.08), OwlRatios.parse("M=7"));
    assertEquals(new OwlRatios(2.5, 0.1), OwlRatios.parse("lambda=0.1, M=2.5"));
    for (String text : List.of("M", "M=", "M=x", "N=5", "M=5;lambda=1", "5")) {
      assertRejected("owl: expected settings such as M=5,lambda=0.08", () -> OwlRatios.parse(text));
    }
    for (String text : List.of("M=0", "M=-1", "M=NaN", "M=Infinity")) {
      assertRejected("owl: expected a finite multiple M above 0", () -> OwlRatios.parse(text));
    }
    for (String text : List.of("lambda=-0.1", "lambda=1", "lambda=NaN")) {
      assertRejected("owl: expected lambda in [0, 1)", () -> OwlRatios.parse(text));
    }
    double[] outliers = {1, 2, 3};
    assertRejected(
        "ratio: expected a share in [0, 1), got 1.0",
        () -> OwlRatios.PUBLISHED.ratios(outliers, 1));
    assertRejected(
        "got -1.0 for layer 1", () -> OwlRatios.PUBLISHED.ratios(new double[] {1, -1}, 0.5));
    assertRejected(
        "owl: expected a share to keep in (0, 1], got 1.04 for layer 2",
        () -> OwlRatios.PUBLISHED.ratios(outliers, 0.04));
    assertRejected(
        " for layer 0 with lambda 0.08 at the ratio 0.95",
        () -> OwlRatios.PUBLISHED.ratios(outliers, 0.95));
  }

  private static void assertRejected(String message, Runnable job) {
    IllegalArgumentException error = assertThrows(IllegalArgumentException.class, job::run);
    assertTrue(error.getMessage().contains(message), error.getMessage());
  }

  /** The streamed pass gives the ratios of the scores in memory, in either layout. */
  @ParameterizedTest
  @EnumSource(Layout.class)
  void theCheckpointIsPrunedByTheRatiosOfItsBlocks(Layout layout) throws IOException {
    int m = 700;
    int n = 400;
    SampleModel model = new SampleModel(8);
    SampleModel norms = new SampleModel(9);
    Random random = new Random(10);
    float[][] weights = new float[4][m * n];
    float[][] c = new float[4][n];
    for (int i = 0; i < 4; i++) {
      String name = "h." + i / 2 + (i % 2 == 0 ? ".a" : ".b");
      float[] stored = new float[m * n];
      for (int j = 0; j < m * n; j++) {
        weights[i][j] = (float) (random.nextGaussian() * Math.exp(i * random.nextGaussian() / 2));
        stored[layout == Layout.OUT_IN ? j : j % n * m + j / n] = weights[i][j];
      }
      for (int j = 0; j < n; j++) {
        c[i][j] = random.nextFloat();
      }
      model.add(
          name + ".weight",
          "F32",
          stored,
          layout == Layout.OUT_IN ? m : n,
          layout == Layout.OUT_IN ? n : m);
      norms.add(name + ".column_norm", "F32", c[i], n);
    }
    Path input = model.write(directory.resolve("model.safetensors"));
    Path statistics = norms.write(directory.resolve("norms.safetensors"));
    OwlRatios owl = new OwlRatios(4, 0.1);
    double[] outliers = new double[2];
    try (Arena arena = Arena.ofShared()) {
      Pruner scorer = Pruner.builder().method(Method.WANDA).tier(Tier.SCALAR).build();
      for (int block = 0; block < 2; block++) {
        outliers[block] =
            owl.outliers(
                List.of(
                    scores(arena, scorer, weights[2 * block], c[2 * block], m, n),
                    scores(arena, scorer, weights[2 * block + 1], c[2 * block + 1], m, n)));
      }
    }
    double[] ratios = owl.ratios(outliers, 0.5);
    assertTrue(ratios[0] > ratios[1], Arrays.toString(ratios));
    for (int threads = 1; threads <= 3; threads++) {
      PruneReport report =
          CheckpointPruner.builder()
              .method(Method.WANDA)
              .pattern(Pattern.unstructured(0.5))
              .activations(statistics)
              .layout(layout)
              .owl(owl)
              .threads(threads)
              .build()
              .dryRun(input);
      for (int i = 0; i < 4; i++) {
        PruneReport.Layer layer = report.layers().get(i);
        double ratio = ((Pattern.Unstructured) layer.pattern()).ratio();
        assertEquals(ratios[i / 2], ratio, 1e-12);
        assertEquals((long) m * (int) (n * ratio), layer.zerosAfter());
      }
    }
  }

  private static Tensor scores(
      Arena arena, Pruner scorer, float[] weights, float[] c, int m, int n) {
    return scorer.scores(
        arena,
        Tensor.copyOf(arena, weights, m, n),
        new Statistics(null, Tensor.copyOf(arena, c, n)));
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void owlNeedsBlocksAndNoOtherRatios(boolean withRatios) throws IOException {
    Path input =
        new SampleModel(1)
            .add("head.weight", "F32", 4, 4)
            .write(directory.resolve("m.safetensors"));
    Path norms =
        new SampleModel(2)
            .add("head.column_norm", "F32", new float[] {1, 2, 3, 4}, 4)
            .write(directory.resolve("n.safetensors"));
    CheckpointPruner.Builder builder =
        CheckpointPruner.builder()
            .method(Method.WANDA)
            .activations(norms)
            .include("head")
            .owl(OwlRatios.PUBLISHED)
            .ratios(withRatios ? Path.of("ratios.csv") : null);
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> builder.build().dryRun(input));
    assertTrue(
        error
            .getMessage()
            .startsWith(
                withRatios
                    ? "owl: expected no table of ratios beside it, got ratios.csv"
                    : "owl: expected matrices within numbered blocks, got head.weight"),
        error.getMessage());
  }
}
