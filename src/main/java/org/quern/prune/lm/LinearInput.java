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

  static final String QUERY = "self_attn.q_proj";
  static final String KEY = "self_attn.k_proj";
  static final String VALUE = "self_attn.v_proj";
  static final String OUTPUT = "self_attn.o_proj";
  static final String GATE = "mlp.gate_proj";
  static final String UP = "mlp.up_proj";
  static final String DOWN = "mlp.down_proj";

  /** Names within the block of the linear layers that take this input. */
  public List<String> linears() {
    return switch (this) {
      case ATTENTION -> List.of(QUERY, KEY, VALUE);
      case ATTENTION_OUTPUT -> List.of(OUTPUT);
      case MLP -> List.of(GATE, UP);
      case MLP_OUTPUT -> List.of(DOWN);
    };
  }
}
