package org.quern.prune.lm;

import java.util.List;

/** The four distinct inputs of the seven linear layers of a decoder block. */
public enum LinearInput {
  /** The normed residual stream that queries, keys and values are made of. */
  ATTENTION,
  /** The joined heads. */
  ATTENTION_OUTPUT,
  /** The normed residual stream that the gate and the values of the MLP are made of. */
  MLP,
  /** The gated values. */
  MLP_OUTPUT;

  /** Names within the block of the linear layers that take this input. */
  public List<String> linears() {
    return switch (this) {
      case ATTENTION -> List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj");
      case ATTENTION_OUTPUT -> List.of("self_attn.o_proj");
      case MLP -> List.of("mlp.gate_proj", "mlp.up_proj");
      case MLP_OUTPUT -> List.of("mlp.down_proj");
    };
  }
}
