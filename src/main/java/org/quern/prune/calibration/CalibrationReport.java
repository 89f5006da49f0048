package org.quern.prune.calibration;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.prune.PruneReport;

/**
 * What {@link CalibratedPruning} did.
 *
 * @param pruning the layers
 * @param reconstruction what became of the weights that were kept
 * @param sequences calibration sequences
 * @param length tokens of each
 * @param before how the dense model predicts; null where that was not asked for
 * @param after how the pruned model does; null where that was not asked for
 * @param resumedBlocks blocks that an interrupted run had pruned
 * @param seconds wall time by phase, in order
 */
public record CalibrationReport(
    PruneReport pruning,
    Reconstruction reconstruction,
    long sequences,
    int length,
    @Nullable Evaluation before,
    @Nullable Evaluation after,
    int resumedBlocks,
    Map<String, Double> seconds) {
  /** Copies the times. */
  public CalibrationReport {
    seconds = new LinkedHashMap<>(seconds);
  }

  /** The report as one JSON object: that of the pruning, with an object {@code calibration}. */
  public String toJson() {
    JsonObject calibration = new JsonObject();
    calibration.addProperty("reconstruction", reconstruction.label());
    calibration.addProperty("sequences", sequences);
    calibration.addProperty("length", length);
    calibration.add("before", before == null ? null : before.toJson());
    calibration.add("after", after == null ? null : after.toJson());
    calibration.addProperty("resumedBlocks", resumedBlocks);
    JsonObject phases = new JsonObject();
    seconds.forEach(phases::addProperty);
    calibration.add("seconds", phases);
    JsonObject report = JsonParser.parseString(pruning.toJson()).getAsJsonObject();
    report.add("calibration", calibration);
    return new GsonBuilder()
        .setPrettyPrinting()
        .serializeNulls()
        .disableHtmlEscaping()
        .create()
        .toJson(report);
  }
}
