package org.quern.gaunt;

import org.quern.tensor.Tensor;

/** One exact way to compute a convolution; arguments are checked before. */
interface ConvolutionScheme {
  /** Adds the messages of all edges into {@code out}, whatever that held. */
  void forward(Edges edges, ConvolutionInputs in, Tensor out, LayerWorkspace workspace);

  /** The gradients of the sum of {@code g * out}. */
  void backward(
      Edges edges,
      ConvolutionInputs in,
      Tensor g,
      ConvolutionGradients gradients,
      LayerWorkspace workspace);
}
