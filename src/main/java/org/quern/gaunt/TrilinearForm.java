package org.quern.gaunt;

import java.util.Arrays;

/**
 * The form that a product and its gradients share: {@code T(x1, x2, x3) = sum over all components
 * of G(i, j, k) s1[l_i] x1_i s2[l_j] x2_j s3[l_k] x3_k}, where G is the integral of three harmonics
 * over the sphere and s are factors by degree. G is symmetric in its pairs, so the product is the
 * derivative of T by its operand 2, and its gradients are the derivatives by the operands 0 and 1.
 */
final class TrilinearForm {
  private final int[] degrees;
  private final double[][] scales;

  /**
   * A form.
   *
   * @param degrees highest degrees of the three operands
   * @param scales for each operand one factor per degree
   */
  TrilinearForm(int[] degrees, double[][] scales) {
    this.degrees = degrees.clone();
    this.scales = Arrays.stream(scales).map(double[]::clone).toArray(double[][]::new);
  }

  /** Highest degree of an operand, 0, 1 or 2. */
  int degree(int operand) {
    return degrees[operand];
  }

  /** Number of components of an operand. */
  int components(int operand) {
    return (degrees[operand] + 1) * (degrees[operand] + 1);
  }

  /** The factor of degree {@code l} of an operand. */
  double scale(int operand, int l) {
    return scales[operand][l];
  }

  /** Degree of the integrand, for which a rule of integration must be exact. */
  int integrandDegree() {
    return degrees[0] + degrees[1] + degrees[2];
  }

  /** The form whose operands are those named, in this order. */
  TrilinearForm permuted(int first, int second, int third) {
    return new TrilinearForm(
        new int[] {degrees[first], degrees[second], degrees[third]},
        new double[][] {scales[first], scales[second], scales[third]});
  }
}
