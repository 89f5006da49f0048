package org.quern.prune.calibration;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.prune.Pruner;
import org.quern.prune.lm.Decoder;
import org.quern.prune.lm.DecoderBlock;
import org.quern.prune.lm.LanguageModel;
import org.quern.runtime.Progress;
import org.quern.tensor.Tensor;

/**
 * Prunes all linear layers of a model in the order of its blocks. The statistics of a block are
 * taken from all calibration sequences after they passed the blocks before it, those already
 * pruned, and the block itself, still dense; gradients come from the dense model. This is the order
 * of the released Wanda and GBLM-Pruner programs.
 */
public final class ModelPruner {
  private final BlockPruner pruner;
  private final int threads;
  private final Progress progress;

  /** Where pruned blocks go, and come back from when a run was interrupted. */
  interface Store {
    /** A model in memory, whose blocks are pruned in place. */
    Store IN_PLACE =
        new Store() {
          @Override
          public @Nullable List<PrunedLayer> restore(DecoderBlock block) {
            return null;
          }

          @Override
          public void save(DecoderBlock block, List<PrunedLayer> layers) {}
        };

    /** Gives a block its pruned weights and tells what became of it; null where it has none. */
    @Nullable List<PrunedLayer> restore(DecoderBlock block) throws IOException;

    /** Keeps a pruned block, and gives it the weights as they are kept. */
    void save(DecoderBlock block, List<PrunedLayer> layers) throws IOException;
  }

  /**
   * A pruner of models in memory.
   *
   * @param pruner prunes each layer
   * @param reconstruction what becomes of the weights that are kept
   * @param threads most threads that may work at a time on the forward pass and the reconstruction,
   *     at least 1
   * @param progress receives the advance in sequences times blocks
   */
  public ModelPruner(Pruner pruner, Reconstruction reconstruction, int threads, Progress progress) {
    this(
        new BlockPruner(pruner.method(), linear -> pruner, reconstruction, false, false, threads),
        threads,
        progress);
  }

  ModelPruner(BlockPruner pruner, int threads, Progress progress) {
    this.pruner = pruner;
    this.threads = threads;
    this.progress = progress;
  }

  /**
   * Prunes a model in memory in place.
   *
   * @param arena gives the memory of the statistics that are returned
   * @param model one that was loaded, not opened
   * @param tokens calibration sequences as token ids, an integer type, [sequences, length]; there
   *     may be none where neither method nor reconstruction needs activations
   * @param gradients gradient statistic by layer name; may be empty where the method needs none
   * @return one entry per layer, in order
   * @throws IllegalArgumentException where a layer lacks a statistic or one does not fit
   * @throws IllegalStateException where activations are needed and there are no sequences
   */
  public List<PrunedLayer> prune(
      Arena arena, LanguageModel model, Tensor tokens, Map<String, Tensor> gradients)
      throws IOException {
    try (StreamStore streams = new StreamStore(Path.of(System.getProperty("java.io.tmpdir")))) {
      return prune(
          arena,
          model,
          tokens,
          (layerArena, linear) -> gradients.get(linear),
          streams,
          Store.IN_PLACE);
    }
  }

  /** Prunes block by block; those that the store has are only passed through. */
  List<PrunedLayer> prune(
      Arena arena,
      LanguageModel model,
      Tensor tokens,
      BlockPruner.Gradients gradients,
      StreamStore streams,
      Store store)
      throws IOException {
    List<PrunedLayer> layers = new ArrayList<>();
    int blocks = model.shape().layers();
    if (!pruner.needsInputs()) {
      tokens = tokens.rows(0, 0);
    }
    Tensor hidden = streams.allocate(tokens.dim(0), tokens.dim(1), model.shape().hidden());
    try (Decoder decoder = new Decoder(model.shape(), threads)) {
      ResidualStream stream = new ResidualStream(decoder, hidden, threads);
      stream.embed(model, tokens);
      long passes = (long) blocks * (pruner.passes() + 1) - 1;
      Work work = new Work(progress, "pruning blocks", passes * stream.sequences());
      for (int index = 0; index < blocks; index++) {
        try (Arena own = Arena.ofShared()) {
          DecoderBlock block = model.loadBlock(own, index);
          List<PrunedLayer> ofBlock = store.restore(block);
          if (ofBlock == null) {
            ofBlock = pruner.prune(arena, block, stream, gradients, work);
            store.save(block, ofBlock);
          } else {
            work.advance(pruner.passes() * stream.sequences());
          }
          layers.addAll(ofBlock);
          if (index < blocks - 1) {
            stream.forward(block, work);
          }
        }
      }
    }
    return layers;
  }
}
