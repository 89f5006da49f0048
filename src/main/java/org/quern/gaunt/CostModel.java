package org.quern.gaunt;

import org.quern.runtime.Tier;

/**
 * Estimated nanoseconds per product and channel, F32: multiply-adds of the algorithm over the rate
 * that its kernels reach. Rates are measured on one core; their ratio decides, not their size.
 */
final class CostModel {
  private CostModel() {}

  /** The sum over non-zero coefficients. */
  static double direct(TrilinearForm form, Tier tier) {
    return (coefficients(form) + (long) form.components(0) * form.components(1))
        / (tier == Tier.VECTOR ? 40 : 0.3);
  }

  /** Nodes in the polar angle, series in the azimuth. */
  static double hybrid(TrilinearForm form, Tier tier) {
    return HybridPlan.of(form).multiplyAdds() / (tier == Tier.VECTOR ? 40 : 0.3);
  }

  /** Number of coefficients that selection allows; less than one in a hundred of them is zero. */
  static long coefficients(TrilinearForm form) {
    long count = 0;
    for (int l1 = 0; l1 <= form.degree(0); l1++) {
      for (int l2 = 0; l2 <= form.degree(1); l2++) {
        for (int l3 = Math.abs(l1 - l2); l3 <= Math.min(l1 + l2, form.degree(2)); l3 += 2) {
          for (int m1 = -l1; m1 <= l1; m1++) {
            for (int m2 = -l2; m2 <= l2; m2++) {
              int far = Math.abs(m1) + Math.abs(m2);
              int near = Math.abs(Math.abs(m1) - Math.abs(m2));
              boolean sine = m1 < 0 != m2 < 0;
              count += far <= l3 && !(sine && far == 0) ? 1 : 0;
              count += near != far && near <= l3 && !(sine && near == 0) ? 1 : 0;
            }
          }
        }
      }
    }
    return count;
  }
}
