package org.quern.prune.lm;

import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.Tensor;

/**
 * The weights of one decoder block in F32. They may be changed in place, as pruning does; then no
 * {@link Decoder} may be running on them.
 */
public final class DecoderBlock {
  /** Added to the name of a linear layer in a file. */
  static final String WEIGHT = ".weight";

  /** Added to the name of a linear layer in a file. */
  static final String BIAS = ".bias";

  static final String ATTENTION_NORM = "input_layernorm";
  static final String MLP_NORM = "post_attention_layernorm";

  private final int index;
  private final Map<String, Tensor> tensors;
  private final Tensor attentionNorm;
  private final Tensor mlpNorm;

  /**
   * A block.
   *
   * @param tensors by their names within the block, such as {@code mlp.up_proj.weight}
   */
  DecoderBlock(int index, Map<String, Tensor> tensors) {
    this.index = index;
    this.tensors = Map.copyOf(tensors);
    this.attentionNorm = tensor(ATTENTION_NORM + WEIGHT);
    this.mlpNorm = tensor(MLP_NORM + WEIGHT);
  }

  /** Number of the block in its model, from 0. */
  public int index() {
    return index;
  }

  /**
   * The weights of a linear layer, F32 [outputs, inputs].
   *
   * @param linear a name within the block, such as {@code mlp.up_proj}; see {@link
   *     LinearInput#linears}
   */
  public Tensor weights(String linear) {
    return tensor(linear + WEIGHT);
  }

  /** What a linear layer adds to its outputs, F32 [outputs]; null where it adds nothing. */
  public @Nullable Tensor bias(String linear) {
    return tensors.get(linear + BIAS);
  }

  /** Gain of the norm in front of the attention, F32 [hidden]. */
  Tensor attentionNorm() {
    return attentionNorm;
  }

  /** Gain of the norm in front of the MLP, F32 [hidden]. */
  Tensor mlpNorm() {
    return mlpNorm;
  }

  private Tensor tensor(String name) {
    Tensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException("expected one of " + tensors.keySet() + ", got " + name);
    }
    return tensor;
  }
}
