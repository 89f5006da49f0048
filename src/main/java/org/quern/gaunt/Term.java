package org.quern.gaunt;

import java.util.ArrayList;
import java.util.List;

/**
 * One product in the form {@code sum over terms of factor F1(first) F2(second) G(third)} that the
 * amplitudes of three functions have at a node: the integral over the azimuth of two Fourier series
 * and a third, which is given by its action on the amplitudes of their product.
 *
 * @param factor 1, -1, 2 or -2
 * @param first amplitude of the first series: 0 is a(0), 2m-1 is a(m), 2m is b(m)
 * @param second amplitude of the second series
 * @param third amplitude of the product
 */
record Term(int factor, int first, int second, int third) {
  /** The amplitude of the series in a role. */
  int slot(int role) {
    return role == 0 ? first : role == 1 ? second : third;
  }

  private static int a(int m) {
    return m == 0 ? 0 : 2 * m - 1;
  }

  private static int b(int m) {
    return 2 * m;
  }

  /**
   * All terms of two series of orders up to {@code l1} and {@code l2} and a product of which orders
   * up to {@code l3} are wanted.
   */
  static List<Term> of(int l1, int l2, int l3) {
    List<Term> terms = new ArrayList<>();
    for (int m = 0; m <= l1; m++) {
      for (int n = 0; n <= l2; n++) {
        int k = m + n;
        if (k <= l3) {
          terms.add(new Term(1, a(m), a(n), a(k)));
          if (m > 0 && n > 0) {
            terms.add(new Term(-1, b(m), b(n), a(k)));
          }
          if (n > 0) {
            terms.add(new Term(1, a(m), b(n), b(k)));
          }
          if (m > 0) {
            terms.add(new Term(1, b(m), a(n), b(k)));
          }
        }
        k = Math.abs(m - n);
        if (m > 0 && n > 0 && k <= l3) {
          int factor = k == 0 ? 2 : 1;
          terms.add(new Term(factor, a(m), a(n), a(k)));
          terms.add(new Term(factor, b(m), b(n), a(k)));
          if (k > 0) {
            terms.add(new Term(m > n ? 1 : -1, b(m), a(n), b(k)));
            terms.add(new Term(m > n ? -1 : 1, a(m), b(n), b(k)));
          }
        }
      }
    }
    return terms;
  }

  /**
   * The terms where one of the series is differentiated by the azimuth. The amplitudes of that role
   * are to be m times those of the series: a(m) becomes m b(m), and b(m) becomes -m a(m).
   */
  static List<Term> differentiated(List<Term> terms, int role) {
    List<Term> differentiated = new ArrayList<>();
    for (Term term : terms) {
      int slot = term.slot(role);
      if (slot > 0) {
        boolean cosine = slot % 2 == 1;
        int factor = cosine ? term.factor : -term.factor;
        int other = cosine ? slot + 1 : slot - 1;
        differentiated.add(
            role == 0
                ? new Term(factor, other, term.second, term.third)
                : new Term(factor, term.first, other, term.third));
      }
    }
    return differentiated;
  }
}
