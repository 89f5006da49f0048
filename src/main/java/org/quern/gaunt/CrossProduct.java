package org.quern.gaunt;

import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The cross product of functions on the sphere, their Poisson bracket: {@code n . (grad f x grad
 * g)}, from the coefficients of f, degrees 0 to L1, and g, degrees 0 to L2, to those of degrees 0
 * to L3 of the result. For degree 1 it is the cross product of vectors, times sqrt(3 / (4 pi)).
 *
 * <p>It has exactly the paths that {@link GauntProduct} lacks, those with odd l1 + l2 + l3 and
 * every degree at least 1; the highest degree of the result is L1 + L2 - 1. Of operands of natural
 * parity (-1)<sup>l</sup> the result has the opposite one. Together with the Gaunt product, and
 * weights w1 w2 w3 by degree in both, every path of the Clebsch-Gordan product can be reached.
 *
 * <p>Operands, weights, layouts and errors are those of {@link GauntProduct}. The cross product
 * changes its sign when its operands are exchanged; its gradients are cross products, {@code gx1 =
 * {x2, g}} and {@code gx2 = {g, x1}}. Immutable, and safe to share between threads.
 *
 * <p>Source: the bracket and its coefficients, {@link GauntCoefficients#crossValue}.
 */
public final class CrossProduct {
  private final GauntProduct plan;

  private CrossProduct(GauntProduct plan) {
    this.plan = plan;
  }

  /**
   * A builder of products of degrees 0 to {@code degree1} and 0 to {@code degree2}, of whose result
   * degrees 0 to {@code degree3} are wanted; F32, {@link Layout#IR_MUL}, the orthonormal basis, the
   * best tier, one thread.
   *
   * @throws IllegalArgumentException where a degree is not 0 to {@link GauntProduct#MAX_DEGREE}
   */
  public static Builder builder(int degree1, int degree2, int degree3) {
    return new Builder(GauntProduct.builder(degree1, degree2, degree3).cross());
  }

  /**
   * A builder of products of irreps, as {@link GauntProduct#builder(Irreps, Irreps, Irreps)}, for
   * the other parity of the output.
   *
   * @throws IllegalArgumentException as of that builder
   */
  public static Builder builder(Irreps x1, Irreps x2, Irreps out) {
    return new Builder(GauntProduct.builder(x1, x2, out, true));
  }

  /** Highest degree of an operand: 0 and 1 are the inputs, 2 is the output. */
  public int degree(int operand) {
    return plan.degree(operand);
  }

  /** The tier that runs. */
  public Tier tier() {
    return plan.tier();
  }

  /**
   * The product.
   *
   * @param x1 coefficients of f
   * @param x2 coefficients of g
   * @param weights weights by degree
   * @param out coefficients of degrees 0 to L3; those of degree 0, and those above L1 + L2 - 1, are
   *     zero
   * @throws IllegalArgumentException where a type, a device or a shape does not fit, or {@code out}
   *     overlaps an input
   */
  public void multiply(
      Tensor x1, Tensor x2, ProductWeights weights, Tensor out, GauntWorkspace workspace) {
    plan.multiply(x1, x2, weights, out, workspace);
  }

  /**
   * The gradients of {@code sum of g out} by the inputs and the weights of {@link #multiply}.
   *
   * @param g the gradient of the output, of its shape
   * @param gradients where the gradients go; they overlap nothing else
   * @throws IllegalArgumentException where a type, a device or a shape does not fit, or a gradient
   *     overlaps an operand
   */
  public void gradients(
      Tensor x1,
      Tensor x2,
      ProductWeights weights,
      Tensor g,
      ProductGradients gradients,
      GauntWorkspace workspace) {
    plan.gradients(x1, x2, weights, g, gradients, workspace);
  }

  /**
   * The gradients of {@code sum of h1 gx1 + sum of h2 gx2}, where gx1 and gx2 are what {@link
   * #gradients} gives for the same operands.
   *
   * @param h1 factors of gx1, of the shape of x1
   * @param h2 factors of gx2, of the shape of x2
   * @param second where the gradients by inputs and weights go
   * @param gg where the gradient by g goes, or null
   * @throws IllegalArgumentException as of {@link #gradients}
   */
  public void secondGradients(
      Tensor x1,
      Tensor x2,
      ProductWeights weights,
      Tensor g,
      Tensor h1,
      Tensor h2,
      ProductGradients second,
      @Nullable Tensor gg,
      GauntWorkspace workspace) {
    plan.secondGradients(x1, x2, weights, g, h1, h2, second, gg, workspace);
  }

  /** Collects the settings of a cross product. */
  public static final class Builder {
    private final GauntProduct.Builder plan;

    private Builder(GauntProduct.Builder plan) {
      this.plan = plan;
    }

    /** The order of coefficients in memory. */
    public Builder layout(Layout layout) {
      plan.layout(layout);
      return this;
    }

    /**
     * The element type of all tensors.
     *
     * @throws IllegalArgumentException where it is not F32 or F64
     */
    public Builder type(DType type) {
      plan.type(type);
      return this;
    }

    /** One basis for all three operands. */
    public Builder normalization(Normalization all) {
      plan.normalization(all);
      return this;
    }

    /** Demands a tier; null, the default, takes the best. */
    public Builder tier(@Nullable Tier tier) {
      plan.tier(tier);
      return this;
    }

    /**
     * The greatest number of threads of a call.
     *
     * @throws IllegalArgumentException where it is below 1
     */
    public Builder threads(int threads) {
      plan.threads(threads);
      return this;
    }

    /**
     * The product.
     *
     * @throws IllegalStateException where the demanded tier cannot run here
     */
    public CrossProduct build() {
      return new CrossProduct(plan.build());
    }
  }
}
