package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class TourModelTest {
  private static final Path GOLDEN = Path.of("..", "shared", "golden", "prune");
  private static final Path RESOURCE =
      Path.of("src", "main", "resources", "org", "quern", "prune", TourModel.RESOURCE);

  @TempDir Path directory;

  @Test
  void theResourceIsComplete() throws IOException {
    try (Arena arena = Arena.ofShared()) {
      TourModel tour = TourModel.load(arena);
      assertEquals(21, tour.model().linears().size());
      assertEquals(tour.calibration().dim(1), tour.test().dim(1));
      for (String linear : tour.model().linears()) {
        for (GradientNorm norm : GradientNorm.values()) {
          assertArrayEquals(
              tour.model().weights(linear).shape(), tour.gradients().get(norm).get(linear).shape());
        }
      }
      assertTrue(tour.perplexities().get("gblm.l1.2of4") > 1);
    }
  }

  @Test
  void theResourceIsWhatTheRecordedCasesHold() throws IOException {
    assumeTrue(Files.isDirectory(GOLDEN), "recorded cases are absent");
    Path fresh = directory.resolve("fresh.safetensors");
    TourModelWriter.write(GOLDEN, fresh);
    assertEquals(-1, Files.mismatch(RESOURCE, fresh));
  }

  @Test
  void thePlainWayOfTheTourAgrees() {
    Random random = new Random(31);
    int n = 120;
    float[] weights = new float[n];
    float[] gradients = new float[n];
    float[] norms = new float[n];
    for (int j = 0; j < n; j++) {
      // Few values, so that scores tie.
      weights[j] = random.nextInt(5) - 2;
      gradients[j] = random.nextInt(3);
      norms[j] = 1 + random.nextInt(2);
    }
    try (Arena arena = Arena.ofShared()) {
      Statistics statistics =
          new Statistics(Tensor.copyOf(arena, gradients, 1, n), Tensor.copyOf(arena, norms, n));
      for (Pattern pattern : new Pattern[] {Pattern.unstructured(0.4), Pattern.nm(3, 8)}) {
        boolean[] plain = new boolean[n];
        PlainPruning.prune(weights, gradients, norms, pattern, plain);
        Tensor mask =
            Pruner.builder()
                .pattern(pattern)
                .build()
                .mask(arena, Tensor.copyOf(arena, weights, 1, n), statistics);
        assertEquals(DType.U8, mask.type());
        for (int j = 0; j < n; j++) {
          boolean bit = (mask.getLong(0, j / 8) >> j % 8 & 1) != 0;
          assertEquals(plain[j], bit, pattern + " at " + j);
        }
      }
    }
  }
}
