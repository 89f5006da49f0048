package org.quern.gaunt;

import org.jspecify.annotations.Nullable;
import org.quern.tensor.Tensor;

/**
 * Where the gradients of a product go; null for one that is not wanted. Shapes are those of the
 * operand that each belongs to. The gradient of a weight that all rows share is the sum over the
 * rows, taken in double precision.
 *
 * @param x1 gradient by the first input
 * @param x2 gradient by the second input
 * @param w1 gradient by the weights of the first input
 * @param w2 gradient by the weights of the second input
 * @param w3 gradient by the weights of the output
 */
public record ProductGradients(
    @Nullable Tensor x1,
    @Nullable Tensor x2,
    @Nullable Tensor w1,
    @Nullable Tensor w2,
    @Nullable Tensor w3) {
  /** The gradients by the inputs alone. */
  public static ProductGradients ofInputs(Tensor x1, Tensor x2) {
    return new ProductGradients(x1, x2, null, null, null);
  }

  @Nullable Tensor input(int operand) {
    return operand == 0 ? x1 : operand == 1 ? x2 : null;
  }

  @Nullable Tensor weight(int operand) {
    return operand == 0 ? w1 : operand == 1 ? w2 : w3;
  }
}
