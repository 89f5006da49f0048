package org.quern.prune;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsHeader;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Calibration statistics of a model in one safetensors file, as {@link CheckpointPruner} reads
 * them. A linear layer with weights {@code model.layers.0.mlp.up_proj.weight} is the module {@code
 * model.layers.0.mlp.up_proj}; it has {@code MODULE.scaler_row}, F32 [inputs], and {@code
 * MODULE.grad_l1} and {@code MODULE.grad_l2}, [outputs, inputs]. The metadata hold the {@link
 * StatisticsOrigin}.
 */
public final class StatisticsFile {
  private StatisticsFile() {}

  /** What the statistics in a file were taken of. */
  public static StatisticsOrigin origin(Path file) throws IOException {
    try (SafetensorsFile open = SafetensorsFile.open(file)) {
      return StatisticsOrigin.of(open);
    }
  }

  /**
   * Writes statistics. One tensor at a time is converted; the file appears at its destination when
   * it is complete, and a failure leaves what stood there whole.
   *
   * @param origin what they were taken of; its samples and scale are those of every statistic
   * @param activations by module; may be empty
   * @param gradients by module; may be empty
   * @param type element type of the gradient statistics, F32, F16 or BF16
   * @throws IllegalArgumentException where a statistic has other samples or another scale, or a
   *     value is beyond {@code type}
   * @throws IllegalStateException where a statistic has no samples
   */
  public static void write(
      Path destination,
      StatisticsOrigin origin,
      Map<String, ActivationStatistics> activations,
      Map<String, GradientStatistics> gradients,
      DType type)
      throws IOException {
    SafetensorsHeader.Builder header = SafetensorsHeader.builder().metadata(origin.metadata());
    activations.forEach((module, statistic) -> {
      requireSamples(module, statistic.samples(), origin);
      header.add(module + CalibrationFiles.SCALER_ROW, DType.F32, statistic.columns());
    });
    gradients.forEach((module, statistic) -> {
      requireSamples(module, statistic.samples(), origin);
      if (!statistic.scale().equals(origin.scale())) {
        throw new IllegalArgumentException(
            module
                + ": expected the scale of the origin, "
                + origin.scale()
                + ", got "
                + statistic.scale());
      }
      for (GradientNorm norm : statistic.norms()) {
        header.add(module + "." + norm.key(), type, statistic.rows(), statistic.columns());
      }
    });
    try (SafetensorsWriter writer = SafetensorsWriter.create(destination, header.build())) {
      for (Map.Entry<String, ActivationStatistics> each : activations.entrySet()) {
        try (Arena arena = Arena.ofConfined()) {
          String key = each.getKey() + CalibrationFiles.SCALER_ROW;
          writer.write(key, each.getValue().meanSquares(arena));
        }
      }
      for (Map.Entry<String, GradientStatistics> each : gradients.entrySet()) {
        for (GradientNorm norm : each.getValue().norms()) {
          try (Arena arena = Arena.ofConfined()) {
            String key = each.getKey() + "." + norm.key();
            Tensor statistic = each.getValue().statistic(arena, norm, type);
            requireFinite(key, statistic);
            writer.write(key, statistic);
          }
        }
      }
      writer.commit();
    }
  }

  /**
   * Joins files of the same model and data: statistics of different samples become those of all of
   * them, and statistics of different layers come together. A calibration that writes a file for
   * every few samples, or for every block, so goes on after an interruption with what it has. Reads
   * and writes in bounded memory; the file appears when it is complete, and may replace a part.
   *
   * @param parts files with an origin of one source and scale; for every statistic, the samples of
   *     the parts that have it must follow one another without gap or overlap, and be the same in
   *     all
   * @throws IllegalArgumentException where the parts do not fit together, or a joined value is
   *     beyond its element type
   */
  public static void merge(List<Path> parts, Path destination) throws IOException {
    StatisticsMerge.run(parts, destination);
  }

  private static void requireSamples(String module, long samples, StatisticsOrigin origin) {
    if (samples != 0 && samples != origin.samples()) {
      throw new IllegalArgumentException(
          module
              + ": expected "
              + origin.samples()
              + " samples as the origin says, got "
              + samples);
    }
  }

  /** Values that were finite in binary32 may be beyond F16. */
  static void requireFinite(String key, Tensor values) {
    for (long row = 0; row < values.rows(); row++) {
      Tensor line = values.row(row);
      for (long j = 0; j < line.size(); j++) {
        if (!Double.isFinite(line.getDouble(j))) {
          throw new IllegalArgumentException(
              key
                  + ": expected values within "
                  + values.type()
                  + ", got one beyond it at row "
                  + row
                  + ", column "
                  + j
                  + "; write F32 or BF16");
        }
      }
    }
  }
}
