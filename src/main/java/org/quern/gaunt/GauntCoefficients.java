package org.quern.gaunt;

/**
 * The coupling coefficients of real spherical harmonics, exact and rounded once.
 *
 * <p>Gaunt coefficients are integrals over the sphere of three harmonics, G = integral Y1 Y2 Y3,
 * symmetric in their three pairs (l,m) and zero for odd l1+l2+l3. Cross coefficients are those of
 * the spherical Poisson bracket, X = integral {Y1,Y2} Y3 with {f,g} = n.(grad f x grad g), which
 * change sign when two pairs are exchanged and are zero for even l1+l2+l3: the paths that the Gaunt
 * product lacks. With p, q, r the magnitudes of the three orders, the largest negated, and [abc] =
 * (2l1+1)(2l2+1)(2l3+1):
 *
 * <pre>
 * G = k (-1)^max sqrt([abc] / (4 pi)) w3j(l1 l2 l3; 0 0 0) w3j(l1 l2 l3; p q r)
 * X = k (-1)^max sqrt([abc] l1(l1+1) l2(l2+1) / (4 pi)) w3j(l1 l2 l3; 1 -1 0) w3j(l1 l2 l3; p q r)
 * </pre>
 *
 * <p>They are non-zero only for a triangle l1, l2, l3, where the largest |m| is the sum of the
 * others and the number of negative orders (sines) is even for G, odd for X. |k| is 1 where an
 * order is zero, else 1/sqrt2; its sign is negative for G where the order of largest magnitude is
 * the only cosine, for X where it is the only sine.
 *
 * <p>4 pi times the square is rational. The 3j symbols are sums of products of three binomial
 * coefficients in integers (Johansson and Forssen, "Fast and accurate evaluation of Wigner 3j, 6j,
 * and 9j symbols using prime factorization and multiword integer arithmetic", arXiv 1504.08329).
 * All degrees are those of the orthonormal basis.
 */
public final class GauntCoefficients {
  /** Highest degree of any of the three. */
  public static final int MAX_DEGREE = Legendre.MAX_DEGREE;

  private GauntCoefficients() {}

  /**
   * The Gaunt coefficient G, rounded once; 0 where the selection rules say so.
   *
   * @throws IllegalArgumentException where a degree is not 0 to {@link #MAX_DEGREE} or an order
   *     exceeds its degree
   */
  public static double value(int l1, int m1, int l2, int m2, int l3, int m3) {
    check(l1, m1, l2, m2, l3, m3);
    return value(false, l1, m1, l2, m2, l3, m3);
  }

  /**
   * The Gaunt coefficient G, exact.
   *
   * @throws IllegalArgumentException as for {@link #value}
   */
  public static SignedRoot exact(int l1, int m1, int l2, int m2, int l3, int m3) {
    check(l1, m1, l2, m2, l3, m3);
    return exact(false, l1, m1, l2, m2, l3, m3);
  }

  /**
   * The cross coefficient X, rounded once; 0 where the selection rules say so.
   *
   * @throws IllegalArgumentException as for {@link #value}
   */
  public static double crossValue(int l1, int m1, int l2, int m2, int l3, int m3) {
    check(l1, m1, l2, m2, l3, m3);
    return value(true, l1, m1, l2, m2, l3, m3);
  }

  /**
   * The cross coefficient X, exact.
   *
   * @throws IllegalArgumentException as for {@link #value}
   */
  public static SignedRoot crossExact(int l1, int m1, int l2, int m2, int l3, int m3) {
    check(l1, m1, l2, m2, l3, m3);
    return exact(true, l1, m1, l2, m2, l3, m3);
  }

  /**
   * The positive constant c of a path: its block of coefficients is c times the block {@code
   * wigner_3j(l1, l2, l3)} of e3nn. For even l1+l2+l3 the block is that of G, for odd that of X.
   *
   * @return c; 0 where the degrees form no triangle
   * @throws IllegalArgumentException where a degree is not 0 to {@link #MAX_DEGREE}
   */
  public static double pathConstant(int l1, int l2, int l3) {
    check(l1, 0, l2, 0, l3, 0);
    return CouplingPath.isTriangle(l1, l2, l3) ? new CouplingPath(l1, l2, l3).constant() : 0;
  }

  /**
   * All non-zero Gaunt coefficients of degrees (0..L1, 0..L2 -> 0..L3).
   *
   * @param degree1 L1
   * @param degree2 L2
   * @param degree3 L3
   * @throws IllegalArgumentException where a degree is not 0 to {@link #MAX_DEGREE}
   */
  public static Couplings table(int degree1, int degree2, int degree3) {
    checkDegrees(degree1, degree2, degree3);
    return Couplings.of(false, degree1, degree2, degree3);
  }

  /**
   * All non-zero cross coefficients of degrees (0..L1, 0..L2 -> 0..L3).
   *
   * @param degree1 L1
   * @param degree2 L2
   * @param degree3 L3
   * @throws IllegalArgumentException where a degree is not 0 to {@link #MAX_DEGREE}
   */
  public static Couplings crossTable(int degree1, int degree2, int degree3) {
    checkDegrees(degree1, degree2, degree3);
    return Couplings.of(true, degree1, degree2, degree3);
  }

  private static void check(int l1, int m1, int l2, int m2, int l3, int m3) {
    check("l1", l1, m1);
    check("l2", l2, m2);
    check("l3", l3, m3);
  }

  private static void checkDegrees(int degree1, int degree2, int degree3) {
    check("degree1", degree1, 0);
    check("degree2", degree2, 0);
    check("degree3", degree3, 0);
  }

  private static void check(String name, int l, int m) {
    if (l < 0 || l > MAX_DEGREE) {
      throw new IllegalArgumentException(
          name + ": expected a degree from 0 to " + MAX_DEGREE + ", got " + l);
    }
    if (Math.abs(m) > l) {
      throw new IllegalArgumentException(
          "m" + name.charAt(1) + ": expected an order from " + -l + " to " + l + ", got " + m);
    }
  }

  private static double value(boolean cross, int l1, int m1, int l2, int m2, int l3, int m3) {
    if (!CouplingPath.isTriangle(l1, l2, l3)) {
      return 0;
    }
    CouplingPath path = new CouplingPath(l1, l2, l3);
    int sign = path.isCross() == cross ? path.sign(m1, m2, m3) : 0;
    double size = sign == 0 ? 0 : path.value(Math.abs(m1), Math.abs(m2), Math.abs(m3));
    return size == 0 ? 0 : sign * size;
  }

  private static SignedRoot exact(boolean cross, int l1, int m1, int l2, int m2, int l3, int m3) {
    if (!CouplingPath.isTriangle(l1, l2, l3)) {
      return SignedRoot.ZERO;
    }
    CouplingPath path = new CouplingPath(l1, l2, l3);
    return path.isCross() == cross ? path.exact(m1, m2, m3) : SignedRoot.ZERO;
  }
}
