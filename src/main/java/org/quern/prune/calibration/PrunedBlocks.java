package org.quern.prune.calibration;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.io.Checkpoint;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsFile;
import org.quern.prune.Pruner;
import org.quern.prune.Zeros;
import org.quern.prune.lm.DecoderBlock;
import org.quern.prune.lm.LanguageModel;
import org.quern.prune.lm.LinearInput;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Keeps pruned blocks in the state of a run, in the element types of the checkpoint. Weights that
 * were not changed come out of F32 with the bits that they had; the others are rounded, and the
 * block goes on with the rounded ones.
 */
final class PrunedBlocks implements ModelPruner.Store {
  private final Checkpoint checkpoint;
  private final CalibrationState state;
  private final Map<String, Pruner> pruners;

  /**
   * The blocks of a run.
   *
   * @param pruners by the name of the tensor
   */
  PrunedBlocks(Checkpoint checkpoint, CalibrationState state, Map<String, Pruner> pruners) {
    this.checkpoint = checkpoint;
    this.state = state;
    this.pruners = pruners;
  }

  /** The name of the tensor of a layer's weights. */
  static String tensor(String linear) {
    return "model." + linear + ".weight";
  }

  private List<String> layers(DecoderBlock block) {
    List<String> layers = new ArrayList<>();
    for (LinearInput input : LinearInput.values()) {
      for (String linear : input.linears()) {
        if (pruners.containsKey(tensor(LanguageModel.linear(block.index(), linear)))) {
          layers.add(linear);
        }
      }
    }
    return layers;
  }

  @Override
  public @Nullable List<PrunedLayer> restore(DecoderBlock block) throws IOException {
    if (!state.isPruned(block.index())) {
      return null;
    }
    List<PrunedLayer> layers = new ArrayList<>();
    try (SafetensorsFile file = state.openPruned(block.index())) {
      for (String linear : layers(block)) {
        String name = LanguageModel.linear(block.index(), linear);
        Tensor weights = block.weights(linear);
        long before = Zeros.count(weights.memory(), weights.type());
        try (Arena own = Arena.ofShared()) {
          Tensor kept = file.load(tensor(name), own);
          file.requireShape(tensor(name), weights.shape());
          weights.memory().copyFrom(kept.to(DType.F32, own).memory());
        }
        Pruner pruner = pruner(name);
        layers.add(
            new PrunedLayer(
                name,
                pruner.method(),
                pruner.pattern(),
                before,
                Zeros.count(weights.memory(), weights.type()),
                seconds(file, name),
                null));
      }
    }
    return layers;
  }

  private Pruner pruner(String name) {
    Pruner pruner = pruners.get(tensor(name));
    if (pruner == null) {
      throw new AssertionError(name);
    }
    return pruner;
  }

  private static double seconds(SafetensorsFile file, String name) throws IOException {
    try {
      return Double.parseDouble(file.metadata().getOrDefault(name, ""));
    } catch (NumberFormatException e) {
      throw new FormatException(
          file.path().toString(), name + ": expected its time in the metadata; delete the file");
    }
  }

  @Override
  public void save(DecoderBlock block, List<PrunedLayer> layers) throws IOException {
    Map<String, Tensor> weights = new LinkedHashMap<>();
    Map<String, String> times = new LinkedHashMap<>();
    layers.forEach(layer -> times.put(layer.name(), Double.toString(layer.seconds())));
    try (Arena own = Arena.ofShared()) {
      for (String linear : layers(block)) {
        String name = tensor(LanguageModel.linear(block.index(), linear));
        DType type = DType.valueOf(checkpoint.shardOf(name).entry(name).type().name());
        Tensor exact = block.weights(linear);
        Tensor rounded = type == DType.F32 ? exact : exact.to(type, own);
        if (type != DType.F32) {
          exact.memory().copyFrom(rounded.to(DType.F32, own).memory());
        }
        weights.put(name, rounded);
      }
      state.savePruned(block.index(), weights, times);
    }
  }
}
