package org.quern.prune.lm;

import org.quern.tensor.Tensor;

/** Receives what the gradient of the weights of a linear layer is made of. */
@FunctionalInterface
public interface GradientObserver {
  /**
   * Some sequences of one layer. The gradient of the loss of sequence s with respect to the weights
   * is {@code outputGradients[s]^T inputs[s]}.
   *
   * @param linear name of the layer within its block, such as {@code mlp.up_proj}
   * @param inputs F32 [some sequences, length, inputs of the layer]
   * @param outputGradients gradient of the loss of each sequence with respect to the outputs of the
   *     layer, F32 [the same sequences, length, outputs of the layer]
   */
  void accept(String linear, Tensor inputs, Tensor outputGradients);
}
