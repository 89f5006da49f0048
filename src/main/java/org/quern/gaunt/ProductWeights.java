package org.quern.gaunt;

import org.jspecify.annotations.Nullable;
import org.quern.tensor.Tensor;

/**
 * Separable weights of a product: {@code out[l3] = w3[l3] * sum of G (w1[l1] x1) (w2[l2] x2)}. Each
 * is a tensor [L+1, C], for all rows of the batch, or [B, L+1, C], for each row its own, of the
 * element type of the product; null stands for ones.
 *
 * @param w1 weights of the first input by its degree
 * @param w2 weights of the second input by its degree
 * @param w3 weights of the output by its degree
 */
public record ProductWeights(@Nullable Tensor w1, @Nullable Tensor w2, @Nullable Tensor w3) {
  /** All ones. */
  public static final ProductWeights NONE = new ProductWeights(null, null, null);

  @Nullable Tensor of(int operand) {
    return operand == 0 ? w1 : operand == 1 ? w2 : w3;
  }
}
