package org.quern.prune;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * What {@link CheckpointPruner} did.
 *
 * @param model the input
 * @param output what was written, or null after a dry run
 * @param tier the tier that ran
 * @param threads threads that might work at a time
 * @param layers the pruned tensors, in the order of the files
 * @param untouched the tensors that were copied as they are
 * @param notCopied files beside the shards that are too large to be configuration and were left
 *     behind
 * @param bytes size of all shards
 * @param seconds wall time from the first byte read to the last rename
 */
public record PruneReport(
    Path model,
    @Nullable Path output,
    Tier tier,
    int threads,
    List<Layer> layers,
    List<Untouched> untouched,
    List<Path> notCopied,
    long bytes,
    double seconds) {
  /** Copies the lists. */
  public PruneReport {
    layers = List.copyOf(layers);
    untouched = List.copyOf(untouched);
    notCopied = List.copyOf(notCopied);
  }

  /**
   * A pruned tensor.
   *
   * @param name its name
   * @param shape as stored
   * @param type element type
   * @param method label of the score; where all gradients are zero, of the one that does without
   * @param pattern what was selected
   * @param zerosBefore zeros of either sign before
   * @param zerosAfter zeros of either sign after, those that were kept included
   * @param seconds time of all threads that worked on it
   */
  public record Layer(
      String name,
      List<Long> shape,
      DType type,
      String method,
      Pattern pattern,
      long zerosBefore,
      long zerosAfter,
      double seconds) {
    /** Copies the list. */
    public Layer {
      shape = List.copyOf(shape);
    }

    /** Number of weights. */
    public long weights() {
      return shape.stream().reduce(1L, (a, b) -> a * b);
    }

    /** Share of zeros after; 0 for an empty tensor. */
    public double sparsity() {
      return share(zerosAfter, weights());
    }
  }

  /**
   * A tensor that was left alone.
   *
   * @param name its name
   * @param reason why
   */
  public record Untouched(String name, String reason) {}

  /** Weights in the pruned tensors. */
  public long weights() {
    return layers.stream().mapToLong(Layer::weights).sum();
  }

  /** Zeros in the pruned tensors before. */
  public long zerosBefore() {
    return layers.stream().mapToLong(Layer::zerosBefore).sum();
  }

  /** Zeros in the pruned tensors after. */
  public long zerosAfter() {
    return layers.stream().mapToLong(Layer::zerosAfter).sum();
  }

  /** Share of zeros in the pruned tensors after. */
  public double sparsity() {
    return share(zerosAfter(), weights());
  }

  /** The report as one JSON object. */
  public String toJson() {
    JsonArray pruned = new JsonArray();
    for (Layer layer : layers) {
      JsonArray shape = new JsonArray();
      layer.shape().forEach(shape::add);
      JsonObject entry = new JsonObject();
      entry.addProperty("name", layer.name());
      entry.add("shape", shape);
      entry.addProperty("type", layer.type().name());
      entry.addProperty("method", layer.method());
      entry.addProperty("pattern", layer.pattern().toString());
      addZeros(entry, layer.weights(), layer.zerosBefore(), layer.zerosAfter(), layer.seconds());
      pruned.add(entry);
    }
    JsonArray left = new JsonArray();
    for (Untouched tensor : untouched) {
      JsonObject entry = new JsonObject();
      entry.addProperty("name", tensor.name());
      entry.addProperty("reason", tensor.reason());
      left.add(entry);
    }
    JsonArray behind = new JsonArray();
    notCopied.forEach(file -> behind.add(file.toString()));
    JsonObject report = new JsonObject();
    report.addProperty("model", model.toString());
    report.addProperty("output", output == null ? null : output.toString());
    report.addProperty("tier", tier.label());
    report.addProperty("threads", threads);
    report.addProperty("bytes", bytes);
    addZeros(report, weights(), zerosBefore(), zerosAfter(), seconds);
    report.add("layers", pruned);
    report.add("untouched", left);
    report.add("notCopied", behind);
    return new GsonBuilder()
        .setPrettyPrinting()
        .serializeNulls()
        .disableHtmlEscaping()
        .create()
        .toJson(report);
  }

  private static void addZeros(
      JsonObject entry, long weights, long before, long after, double seconds) {
    entry.addProperty("weights", weights);
    entry.addProperty("zerosBefore", before);
    entry.addProperty("zerosAfter", after);
    entry.addProperty("sparsity", share(after, weights));
    entry.addProperty("seconds", seconds);
  }

  private static double share(long part, long whole) {
    return whole == 0 ? 0 : (double) part / whole;
  }
}
