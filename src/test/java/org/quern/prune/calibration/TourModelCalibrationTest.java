package org.quern.prune.calibration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.io.SafetensorsFile;
import org.quern.prune.Compat;
import org.quern.prune.GradientNorm;
import org.quern.prune.Method;
import org.quern.prune.Pattern;
import org.quern.prune.PruneFamily;
import org.quern.prune.Pruner;

/** A trained model, calibrated and pruned from its tokens alone, against the published programs. */
class TourModelCalibrationTest {
  @TempDir Path directory;

  private Path model;

  @BeforeEach
  void copyModel() throws IOException {
    model = directory.resolve("model.safetensors");
    try (InputStream resource = PruneFamily.class.getResourceAsStream("tour-model.safetensors")) {
      Files.copy(resource, model);
    }
  }

  private CalibratedPruning.Builder builder(String pattern, Compat compat) {
    return CalibratedPruning.builder(Path.of(model + "#calib_ids"))
        .pruner(Pruner.builder().method(Method.GBLM).pattern(Pattern.parse(pattern)).compat(compat))
        .evaluate(Path.of(model + "#test_ids"))
        .threads(2)
        .overwrite(true)
        .state(directory.resolve("state"));
  }

  private double perplexity(CalibratedPruning.Builder builder) throws IOException {
    CalibrationReport report = builder.build().prune(model, directory.resolve("out.safetensors"));
    Evaluation after = report.after();
    assertNotNull(after);
    return after.perplexity();
  }

  @Test
  void theDefaultIsBetterThanSparseGpt() throws IOException {
    // The published SparseGPT reaches 4.415, 8.952 and 5.207.
    assertTrue(perplexity(builder("0.5", Compat.EXACT)) <= 4.10);
    assertTrue(perplexity(builder("0.7", Compat.EXACT)) <= 6.95);
    assertTrue(perplexity(builder("2:4", Compat.EXACT)) <= 4.72);
  }

  @Test
  void masksByOwnGradientsAreAsGoodAsThePublishedOnes() throws IOException {
    try (SafetensorsFile recorded = SafetensorsFile.open(model)) {
      for (String run : new String[] {"u0.5", "2of4", "4of8"}) {
        String pattern = run.startsWith("u") ? run.substring(1) : run.replace("of", ":");
        double published = Double.parseDouble(recorded.metadata().get("perplexity.gblm.l2." + run));
        double own =
            perplexity(
                builder(pattern, Compat.OFFICIAL)
                    .gradientNorm(GradientNorm.L2)
                    .reconstruction(Reconstruction.NONE));
        assertEquals(published, own, 2e-3 * published, run);
      }
    }
  }
}
