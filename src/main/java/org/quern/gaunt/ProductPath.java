package org.quern.gaunt;

/**
 * Three degrees that a Gaunt product couples.
 *
 * @param l1 degree of the first input
 * @param l2 degree of the second input
 * @param l3 degree of the output
 */
public record ProductPath(int l1, int l2, int l3) {
  /**
   * A path.
   *
   * @throws IllegalArgumentException where a degree is negative, the three are no triangle, or
   *     their sum is odd, so that its Gaunt coefficients are zero
   */
  public ProductPath {
    if (l1 < 0 || l2 < 0 || l3 < 0 || !CouplingPath.isTriangle(l1, l2, l3)) {
      throw new IllegalArgumentException(
          "path: expected degrees >= 0 with |l1 - l2| <= l3 <= l1 + l2, got " + text(l1, l2, l3));
    }
    if ((l1 + l2 + l3) % 2 != 0) {
      throw new IllegalArgumentException(
          "path " + text(l1, l2, l3) + " has zero Gaunt coefficient; use the cross product");
    }
  }

  private static String text(int l1, int l2, int l3) {
    return l1 + "," + l2 + "," + l3;
  }
}
