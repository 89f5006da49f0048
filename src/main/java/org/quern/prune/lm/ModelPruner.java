package org.quern.prune.lm;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.prune.ActivationStatistics;
import org.quern.prune.PruneWorkspace;
import org.quern.prune.Pruner;
import org.quern.prune.Statistics;
import org.quern.runtime.Progress;
import org.quern.tensor.Tensor;

/**
 * Prunes all linear layers of a model in the order of its blocks. The activation statistics of a
 * block are taken from all calibration sequences after they passed the blocks before it, those
 * already pruned, and the block itself, still dense; gradients come from the dense model. This is
 * the order of the released Wanda and GBLM-Pruner programs.
 */
public final class ModelPruner {
  private final Pruner pruner;
  private final int threads;
  private final Progress progress;

  /**
   * A pruner of models.
   *
   * @param pruner prunes each layer
   * @param threads most threads that may work at a time on the forward pass, at least 1
   * @param progress receives the blocks done
   */
  public ModelPruner(Pruner pruner, int threads, Progress progress) {
    this.pruner = pruner;
    this.threads = threads;
    this.progress = progress;
  }

  /**
   * What became of one layer.
   *
   * @param name name out of {@link LanguageModel#linears}
   * @param pruned number of weights selected
   * @param meanSquares the activation statistic of its inputs, F32 [inputs]; null where the method
   *     needs none
   */
  public record PrunedLayer(String name, long pruned, @Nullable Tensor meanSquares) {}

  /**
   * Prunes a model in memory in place.
   *
   * @param model one that was loaded, not opened
   * @param arena gives the memory of the statistics that are returned
   * @param tokens calibration sequences as token ids, an integer type, [sequences, length]; not
   *     read where the method needs no activations
   * @param gradients gradient statistic by layer name; may be empty where the method needs none
   * @return one entry per layer, in order
   * @throws IllegalArgumentException where a layer lacks a statistic or one does not fit
   * @throws IllegalStateException where the method needs activations and there are no sequences
   */
  public List<PrunedLayer> prune(
      Arena arena, LanguageModel model, Tensor tokens, Map<String, Tensor> gradients)
      throws IOException {
    List<PrunedLayer> layers = new ArrayList<>();
    int blocks = model.shape().layers();
    boolean calibrates = pruner.method().usesActivations();
    try (Decoder decoder = new Decoder(model.shape(), threads);
        PruneWorkspace workspace = new PruneWorkspace();
        Arena own = Arena.ofShared()) {
      Tensor hidden = calibrates ? model.embed(own, tokens) : null;
      for (int block = 0; block < blocks; block++) {
        progress.report("pruning blocks", block, blocks);
        DecoderBlock weights = model.loadBlock(own, block);
        Map<LinearInput, ActivationStatistics> statistics =
            hidden == null ? Map.of() : observe(decoder, weights, hidden);
        for (LinearInput input : LinearInput.values()) {
          ActivationStatistics seen = statistics.get(input);
          Tensor means = seen == null ? null : seen.meanSquares(arena);
          Tensor norms = seen == null ? null : seen.columnNorms(own);
          for (String linear : input.linears()) {
            String name = LanguageModel.linear(block, linear);
            Statistics given = new Statistics(gradients.get(name), norms);
            long pruned = pruner.prune(name, weights.weights(linear), given, workspace);
            layers.add(new PrunedLayer(name, pruned, means));
          }
        }
        if (hidden != null && block < blocks - 1) {
          decoder.forwardBlock(weights, hidden);
        }
      }
      progress.report("pruning blocks", blocks, blocks);
    }
    return layers;
  }

  private static Map<LinearInput, ActivationStatistics> observe(
      Decoder decoder, DecoderBlock block, Tensor hidden) {
    Map<LinearInput, ActivationStatistics> statistics = new EnumMap<>(LinearInput.class);
    decoder.observeBlock(
        block,
        hidden,
        (input, values) ->
            statistics
                .computeIfAbsent(
                    input, key -> new ActivationStatistics(Math.toIntExact(values.rowLength())))
                .add(values));
    if (statistics.isEmpty()) {
      throw new IllegalStateException("tokens: expected calibration sequences, got none");
    }
    return statistics;
  }
}
