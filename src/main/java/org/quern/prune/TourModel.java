package org.quern.prune;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.EnumMap;
import java.util.HashMap;
import java.util.Map;
import org.quern.io.SafetensorsFile;
import org.quern.prune.lm.LanguageModel;
import org.quern.tensor.Tensor;

/**
 * The trained language model that the tour prunes, with what pruning it takes: a character model of
 * 161,728 parameters, its gradient statistics, calibration and test sequences, and the perplexities
 * that the published programs reach with it. All of it is one resource; docs/prune-tour-model.md
 * says where it comes from.
 *
 * @param model the dense weights
 * @param calibration token ids, [sequences, length]
 * @param test token ids, [sequences, length]
 * @param gradients gradient statistic by norm and layer
 * @param perplexities recorded perplexity on the test sequences by run, such as {@code
 *     gblm.l1.2of4}
 */
record TourModel(
    LanguageModel model,
    Tensor calibration,
    Tensor test,
    Map<GradientNorm, Map<String, Tensor>> gradients,
    Map<String, Double> perplexities) {
  /** The resource, beside this class. */
  static final String RESOURCE = "tour-model.safetensors";

  /** What the metadata calls the perplexity of a run, in front of its name. */
  static final String PERPLEXITY = "perplexity.";

  /** Loads the resource through a temporary file. */
  static TourModel load(Arena arena) throws IOException {
    Path file = Files.createTempFile("quern-tour-model", ".safetensors");
    try {
      try (InputStream resource = TourModel.class.getResourceAsStream(RESOURCE)) {
        if (resource == null) {
          throw new IOException("the resource " + RESOURCE + " is missing from the jar");
        }
        Files.copy(resource, file, StandardCopyOption.REPLACE_EXISTING);
      }
      try (SafetensorsFile tensors = SafetensorsFile.open(file)) {
        return read(LanguageModel.load(file, arena), tensors, arena);
      }
    } finally {
      Files.delete(file);
    }
  }

  private static TourModel read(LanguageModel model, SafetensorsFile tensors, Arena arena)
      throws IOException {
    Map<GradientNorm, Map<String, Tensor>> gradients = new EnumMap<>(GradientNorm.class);
    for (GradientNorm norm : GradientNorm.values()) {
      Map<String, Tensor> ofLayers = new HashMap<>();
      for (String linear : model.linears()) {
        ofLayers.put(linear, tensors.load(linear + "." + GoldenRun.gradientKey(norm), arena));
      }
      gradients.put(norm, ofLayers);
    }
    Map<String, Double> perplexities = new HashMap<>();
    tensors
        .metadata()
        .forEach((key, value) -> {
          if (key.startsWith(PERPLEXITY)) {
            perplexities.put(key.substring(PERPLEXITY.length()), Double.valueOf(value));
          }
        });
    return new TourModel(
        model,
        tensors.load("calib_ids", arena),
        tensors.load("test_ids", arena),
        gradients,
        perplexities);
  }
}
