package org.quern.prune;

import org.jspecify.annotations.Nullable;
import org.quern.tensor.Tensor;

/**
 * Calibration statistics of one linear layer with weights W of shape [m, n].
 *
 * @param gradients gradient statistic G, [m, n], F32, F16 or BF16: the sum over the samples of
 *     |scale g| (l1) or the root of the sum of (scale g)^2 (l2); its sign is ignored. Null where
 *     absent
 * @param columnNorms norm c of every input column, F32 [n], not negative: the root of the mean over
 *     the samples of the sum over the tokens of x^2. Null where absent
 */
public record Statistics(@Nullable Tensor gradients, @Nullable Tensor columnNorms) {
  /** No statistics, for {@link Method#MAGNITUDE}. */
  public static final Statistics NONE = new Statistics(null, null);
}
