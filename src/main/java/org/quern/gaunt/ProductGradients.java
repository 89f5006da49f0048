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
 * @param paths gradient by the weights by path
 */
public record ProductGradients(
    @Nullable Tensor x1,
    @Nullable Tensor x2,
    @Nullable Tensor w1,
    @Nullable Tensor w2,
    @Nullable Tensor w3,
    @Nullable Tensor paths) {
  /** The gradients of a product with separable weights. */
  public ProductGradients(
      @Nullable Tensor x1,
      @Nullable Tensor x2,
      @Nullable Tensor w1,
      @Nullable Tensor w2,
      @Nullable Tensor w3) {
    this(x1, x2, w1, w2, w3, null);
  }

  /** The gradients by the inputs alone. */
  public static ProductGradients ofInputs(Tensor x1, Tensor x2) {
    return new ProductGradients(x1, x2, null, null, null);
  }

  @Nullable Tensor input(int operand) {
    return operand == 0 ? x1 : operand == 1 ? x2 : null;
  }

  /** The gradient by the weights of an operand, 0 to 2, or by those by path, 3. */
  @Nullable Tensor weight(int operand) {
    return switch (operand) {
      case 0 -> w1;
      case 1 -> w2;
      case 2 -> w3;
      default -> paths;
    };
  }
}
