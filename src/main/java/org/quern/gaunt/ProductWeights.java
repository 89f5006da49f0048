package org.quern.gaunt;

import org.jspecify.annotations.Nullable;
import org.quern.tensor.Tensor;

/**
 * Weights of a product: {@code out[l3] = w3[l3] * sum of w[l1, l2, l3] G (w1[l1] x1) (w2[l2] x2)}.
 * The separable weights are tensors [L+1, C], for all rows of the batch, or [B, L+1, C], for each
 * row its own; those by path are [P, C] or [B, P, C], a row for each of {@link GauntProduct#paths}.
 * All are of the element type of the product; null stands for ones.
 *
 * @param w1 weights of the first input by its degree
 * @param w2 weights of the second input by its degree
 * @param w3 weights of the output by its degree
 * @param paths weights by path, for a product that was built {@link
 *     GauntProduct.Builder#pathWeights with path weights}
 */
public record ProductWeights(
    @Nullable Tensor w1, @Nullable Tensor w2, @Nullable Tensor w3, @Nullable Tensor paths) {
  /** All ones. */
  public static final ProductWeights NONE = new ProductWeights(null, null, null);

  /** Separable weights. */
  public ProductWeights(@Nullable Tensor w1, @Nullable Tensor w2, @Nullable Tensor w3) {
    this(w1, w2, w3, null);
  }

  /** Weights by path. */
  public static ProductWeights ofPaths(Tensor paths) {
    return new ProductWeights(null, null, null, paths);
  }

  /** The weights of an operand by degree, 0 to 2, or by path, 3. */
  @Nullable Tensor of(int operand) {
    return switch (operand) {
      case 0 -> w1;
      case 1 -> w2;
      case 2 -> w3;
      default -> paths;
    };
  }
}
