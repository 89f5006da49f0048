package org.quern.prune.sparse;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.nio.file.Path;
import java.util.List;
import org.quern.tensor.DType;

/**
 * What {@link CheckpointPacker} or {@link CheckpointUnpacker} did.
 *
 * @param model the input
 * @param output what was written
 * @param tensors the tensors that were packed or unpacked, in the order of the files
 * @param untouched how many others were copied
 * @param notCopied files beside the shards that are too large to be configuration and were left
 *     behind
 * @param bytesBefore size of all shards before
 * @param bytesAfter size of all shards after
 * @param seconds wall time from the first byte read to the last rename
 */
public record PackReport(
    Path model,
    Path output,
    List<PackedLayer> tensors,
    int untouched,
    List<Path> notCopied,
    long bytesBefore,
    long bytesAfter,
    double seconds) {
  /** Copies the lists. */
  public PackReport {
    tensors = List.copyOf(tensors);
    notCopied = List.copyOf(notCopied);
  }

  /**
   * A tensor that is packed on one side.
   *
   * @param name its name where it is dense
   * @param format {@link BitmaskMatrix#FORMAT} or {@link TwoOfFourMatrix#FORMAT}
   * @param rows number of rows
   * @param columns number of columns
   * @param type element type
   * @param stored elements that the packed form stores
   * @param denseBytes size where it is dense
   * @param packedBytes size of all its parts where it is packed
   */
  public record PackedLayer(
      String name,
      String format,
      int rows,
      int columns,
      DType type,
      long stored,
      long denseBytes,
      long packedBytes) {
    /** Share of elements that are not stored. */
    public double sparsity() {
      return 1 - (double) stored / ((double) rows * columns);
    }
  }

  /** The report as one JSON object. */
  public String toJson() {
    JsonArray layers = new JsonArray();
    for (PackedLayer layer : tensors) {
      JsonObject entry = new JsonObject();
      entry.addProperty("name", layer.name());
      entry.addProperty("format", layer.format());
      entry.addProperty("rows", layer.rows());
      entry.addProperty("columns", layer.columns());
      entry.addProperty("type", layer.type().name());
      entry.addProperty("sparsity", layer.sparsity());
      entry.addProperty("denseBytes", layer.denseBytes());
      entry.addProperty("packedBytes", layer.packedBytes());
      layers.add(entry);
    }
    JsonArray behind = new JsonArray();
    notCopied.forEach(file -> behind.add(file.toString()));
    JsonObject report = new JsonObject();
    report.addProperty("model", model.toString());
    report.addProperty("output", output.toString());
    report.addProperty("bytesBefore", bytesBefore);
    report.addProperty("bytesAfter", bytesAfter);
    report.addProperty("seconds", seconds);
    report.addProperty("untouched", untouched);
    report.add("tensors", layers);
    report.add("notCopied", behind);
    return new GsonBuilder().setPrettyPrinting().disableHtmlEscaping().create().toJson(report);
  }
}
