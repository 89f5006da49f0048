package org.quern.prune;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsType;
import org.quern.tensor.Tensor;

/** A recorded layer's weights with the statistics that a method takes. */
record RecordedLayer(Tensor weights, Statistics statistics) {
  private static final String WEIGHT = ".weight";

  /** Null where the file lacks the weights or a statistic. */
  static @Nullable RecordedLayer load(
      SafetensorsFile file, String layer, Method method, @Nullable GradientNorm norm, Arena arena)
      throws IOException {
    Set<String> keys = PruneReplayer.keys(file);
    String gradientKey = layer + "." + GoldenRun.gradientKey(norm);
    if (!keys.contains(layer + WEIGHT)
        || (method.usesActivations() && !keys.contains(layer + ".scaler_row"))
        || (method.usesGradients() && !keys.contains(gradientKey))) {
      return null;
    }
    Tensor norms =
        method.usesActivations()
            ? ActivationStatistics.columnNorms(arena, file.load(layer + ".scaler_row", arena))
            : null;
    Tensor gradients = method.usesGradients() ? file.load(gradientKey, arena) : null;
    return new RecordedLayer(file.load(layer + WEIGHT, arena), new Statistics(gradients, norms));
  }

  /**
   * The layer of this name and shape in one of several files: one that a note names, else one with
   * F32 weights.
   *
   * @param files files with layers, by name
   * @param shape of the weights; null for any
   */
  static @Nullable RecordedLayer find(
      Map<String, SafetensorsFile> files,
      String note,
      String layer,
      long @Nullable [] shape,
      Method method,
      @Nullable GradientNorm norm,
      Arena arena)
      throws IOException {
    String weights = layer + WEIGHT;
    SafetensorsFile best = null;
    int bestRank = -1;
    for (Map.Entry<String, SafetensorsFile> each : files.entrySet()) {
      SafetensorsFile candidate = each.getValue();
      Set<String> keys = PruneReplayer.keys(candidate);
      if (PruneReplayer.isLayerFile(keys)
          && keys.contains(weights)
          && (shape == null || Arrays.equals(candidate.entry(weights).shape(), shape))) {
        boolean isF32 = candidate.entry(weights).type() == SafetensorsType.F32;
        int rank = note.contains(each.getKey()) ? 2 : isF32 ? 1 : 0;
        if (rank > bestRank) {
          best = candidate;
          bestRank = rank;
        }
      }
    }
    return best == null ? null : load(best, layer, method, norm, arena);
  }
}
