package org.quern.prune;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.quern.io.Checkpoint;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;

/**
 * Which of the linear layers of a model are pruned, each with its pruner, and which tensors of its
 * checkpoint are left alone and why. The choice is that of {@link CheckpointPruner}, among the
 * layers that the model runs.
 */
public final class LayerPruners {
  private final Map<String, Pruner> pruners = new LinkedHashMap<>();
  private final List<PruneReport.Untouched> untouched = new ArrayList<>();

  private LayerPruners() {}

  /**
   * Decides about every tensor.
   *
   * @param linears names of the tensors that can be pruned
   * @param include regular expressions of names to prune instead of all; may be empty
   * @param exclude regular expressions of names to leave alone
   * @param ratios a table of shares by layer, as {@link CheckpointPruner.Builder#ratios} reads it,
   *     or null
   * @param pattern of the layers that the table does not name
   * @param pruner makes the pruner for a pattern
   * @throws IllegalArgumentException where an expression matches no tensor, or one that cannot be
   *     pruned, where a layer shares its bytes with another tensor, its inputs do not suit the
   *     pattern, or nothing is left to prune
   */
  public static LayerPruners of(
      Checkpoint checkpoint,
      Set<String> linears,
      List<String> include,
      List<String> exclude,
      @Nullable Path ratios,
      Pattern pattern,
      Function<Pattern, Pruner> pruner)
      throws IOException {
    LayerSelection selection =
        new LayerSelection(
            LayerSelection.compile("include", include), LayerSelection.compile("exclude", exclude));
    selection.requireMatches(checkpoint.names());
    LayerRatios own = ratios == null ? LayerRatios.NONE : LayerRatios.read(ratios);
    LayerPruners plan = new LayerPruners();
    for (SafetensorsFile shard : checkpoint.shards()) {
      for (SafetensorsEntry entry : shard.entries()) {
        String reason = selection.reasonToLeave(entry);
        if (reason == null && !linears.contains(entry.name())) {
          reason = "not a linear layer of a decoder block";
          if (!include.isEmpty()) {
            throw new IllegalArgumentException(
                "include: expected linear layers of decoder blocks, which calibration can prune, got "
                    + entry.name());
          }
        }
        if (reason != null) {
          plan.untouched.add(new PruneReport.Untouched(entry.name(), reason));
          continue;
        }
        requireOwnBytes(shard, entry);
        Pruner ofLayer = pruner.apply(own.of(entry.name(), pattern));
        ofLayer.checkColumns(shard.path() + ": " + entry.name(), entry.shape()[1]);
        plan.pruners.put(entry.name(), ofLayer);
      }
    }
    own.requireMatches(plan.pruners.keySet());
    if (plan.pruners.isEmpty()) {
      throw new IllegalArgumentException(
          checkpoint.shards().getFirst().path() + ": expected a linear layer to prune, found none");
    }
    return plan;
  }

  private static void requireOwnBytes(SafetensorsFile shard, SafetensorsEntry entry) {
    for (SafetensorsEntry other : shard.entries()) {
      if (other != entry && other.sharesBytesWith(entry)) {
        throw new IllegalArgumentException(
            shard.path()
                + ": expected layers with bytes of their own, as each is calibrated in its own place,"
                + " got "
                + entry.name()
                + " and "
                + other.name()
                + " with the same; exclude them");
      }
    }
  }

  /** The pruners by the name of the tensor, in the order of the files. */
  public Map<String, Pruner> pruners() {
    return Collections.unmodifiableMap(pruners);
  }

  /** The tensors that are left alone. */
  public List<PruneReport.Untouched> untouched() {
    return Collections.unmodifiableList(untouched);
  }
}
