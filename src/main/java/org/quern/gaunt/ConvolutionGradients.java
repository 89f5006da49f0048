package org.quern.gaunt;

import org.jspecify.annotations.Nullable;
import org.quern.tensor.Tensor;

/**
 * Where the gradients of a {@link GauntConvolution} go, of the shapes of {@link ConvolutionInputs};
 * what is null is not computed.
 *
 * @param x receives the gradient by the features
 * @param r receives the gradient by the edge vectors
 * @param h receives the gradient by the radial values
 * @param a receives the gradient by the scales; null where there are none
 */
public record ConvolutionGradients(
    @Nullable Tensor x, @Nullable Tensor r, @Nullable Tensor h, @Nullable Tensor a) {}
