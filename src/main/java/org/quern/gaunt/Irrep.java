package org.quern.gaunt;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * An irreducible representation of O(3): a degree l, of dimension 2l+1, and a parity. Written as in
 * e3nn: {@code 2e}, {@code 1o}; {@code 1y} is read as the natural parity of the degree.
 *
 * <p>The order is that of e3nn's sort: 0o, 0e, 1o, 1e, 2o, 2e, and so on.
 *
 * @param degree l
 * @param parity what inversion does
 */
public record Irrep(int degree, Parity parity) implements Comparable<Irrep> {
  private static final Pattern TEXT = Pattern.compile("\\s*(\\d{1,6})\\s*([eoy])\\s*");
  private static final Comparator<Irrep> ORDER =
      Comparator.comparingInt(Irrep::degree).thenComparingInt(irrep -> irrep.parity.sign());

  /**
   * Checks the degree.
   *
   * @throws IllegalArgumentException where it is negative
   */
  public Irrep {
    if (degree < 0) {
      throw new IllegalArgumentException("degree: expected >= 0, got " + degree);
    }
  }

  /**
   * Reads one, like {@code 1o}.
   *
   * @throws IllegalArgumentException where the text is no irrep
   */
  public static Irrep parse(String text) {
    Matcher matcher = TEXT.matcher(text);
    if (!matcher.matches()) {
      throw new IllegalArgumentException(
          "irrep: expected a degree and a parity e, o or y, like 1o, got '" + text + "'");
    }
    int degree = Integer.parseInt(matcher.group(1));
    return new Irrep(
        degree,
        switch (matcher.group(2)) {
          case "e" -> Parity.EVEN;
          case "o" -> Parity.ODD;
          default -> Parity.natural(degree);
        });
  }

  /** The irrep of the spherical harmonics of a degree: parity (-1)<sup>l</sup>. */
  public static Irrep natural(int degree) {
    return new Irrep(degree, Parity.natural(degree));
  }

  /** 2l + 1. */
  public int dimension() {
    return 2 * degree + 1;
  }

  /** True where the parity is (-1)<sup>l</sup>; otherwise it is a pseudo-tensor. */
  public boolean isNatural() {
    return parity == Parity.natural(degree);
  }

  /** All that the product of two contains, once each: degrees |l1-l2| to l1+l2, ascending. */
  public List<Irrep> times(Irrep other) {
    List<Irrep> products = new ArrayList<>();
    for (int l = Math.abs(degree - other.degree); l <= degree + other.degree; l++) {
      products.add(new Irrep(l, parity.times(other.parity)));
    }
    return products;
  }

  /**
   * What the Gaunt product of two gives: degrees with an even l1+l2+l3, for which natural times
   * natural and pseudo times pseudo are natural, and natural times pseudo is pseudo.
   */
  public List<Irrep> gauntTimes(Irrep other) {
    return times(other).stream().filter(out -> isEven(other, out)).toList();
  }

  /** What the cross product of two gives: degrees with an odd l1+l2+l3. */
  public List<Irrep> crossTimes(Irrep other) {
    return times(other).stream().filter(out -> !isEven(other, out)).toList();
  }

  private boolean isEven(Irrep other, Irrep out) {
    return (degree + other.degree + out.degree) % 2 == 0;
  }

  @Override
  public int compareTo(Irrep other) {
    return ORDER.compare(this, other);
  }

  @Override
  public String toString() {
    return String.format(Locale.ROOT, "%d%s", degree, parity);
  }
}
