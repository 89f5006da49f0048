package org.quern.gaunt;

/** The length of a basis of spherical harmonics, named as in e3nn. */
public enum Normalization {
  /** Orthonormal on the sphere: the integral of Y<sup>2</sup> is 1. */
  INTEGRAL,
  /** The squares of the 2l+1 components sum to 2l+1 in every direction. */
  COMPONENT,
  /** The squares of the 2l+1 components sum to 1 in every direction. */
  NORM;

  /**
   * The factor a(l) between this basis and the orthonormal one: Y = a(l) Y<sub>integral</sub>. 1,
   * sqrt(4 pi), or sqrt(4 pi / (2l+1)).
   *
   * @param degree l
   * @throws IllegalArgumentException where the degree is negative
   */
  public double factor(int degree) {
    if (degree < 0) {
      throw new IllegalArgumentException("degree: expected >= 0, got " + degree);
    }
    return switch (this) {
      case INTEGRAL -> 1;
      case COMPONENT -> Math.sqrt(4 * Math.PI);
      case NORM -> Math.sqrt(4 * Math.PI / (2 * degree + 1));
    };
  }
}
