package org.quern.gaunt;

import org.jspecify.annotations.Nullable;
import org.quern.tensor.Tensor;

/**
 * What a {@link GauntConvolution} reads; all of one element type.
 *
 * @param x features [nodes, n(L1), channels]
 * @param r edge vectors [edges, 3], of any length but zero, unless L2 is 0
 * @param h radial values: the factors of the harmonics of each degree of the filter, [edges, L2 +
 *     1] for all channels, or [edges, L2 + 1, channels]
 * @param a scales [edges, channels], or null where they are all 1; null where each channel has
 *     radial values of its own, which scale it as well
 */
public record ConvolutionInputs(Tensor x, Tensor r, Tensor h, @Nullable Tensor a) {}
