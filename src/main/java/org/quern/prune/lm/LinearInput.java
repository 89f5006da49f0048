package org.quern.prune.lm;

import java.util.List;

/** The four distinct inputs of the seven linear layers of a decoder block. */
public enum LinearInput {
  /** The normed residual stream that queries, keys and values are made of. */
  ATTENTION("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
  /** The joined heads. */
  ATTENTION_OUTPUT("self_attn.o_proj"),
  /** The normed residual stream that the gate and the values of the MLP are made of. */
  MLP("mlp.gate_proj", "mlp.up_proj"),
  /** The gated values. */
  MLP_OUTPUT("mlp.down_proj");

  private final List<String> linears;

  LinearInput(String... linears) {
    this.linears = List.of(linears);
  }

  /** Names within the block of the linear layers that take this input. */
  public List<String> linears() {
    return linears;
  }
}
