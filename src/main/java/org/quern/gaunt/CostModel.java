package org.quern.gaunt;

import org.quern.runtime.Tier;

/**
 * Estimated nanoseconds per product and channel, F32: multiply-adds of the algorithm over the rate
 * that its kernels reach, and the time of calls. Measured on one core with 512-bit vectors of one
 * multiply-add per cycle; the ratio of two costs decides, not their size.
 */
final class CostModel {
  private CostModel() {}

  /**
   * The sum over non-zero coefficients: one multiply-add for each, and one for each row of them.
   */
  static double direct(TrilinearForm form, Tier tier) {
    double multiplyAdds = coefficients(form) + (double) form.components(0) * form.components(1);
    if (tier != Tier.VECTOR) {
      return multiplyAdds / SCALAR_RATE;
    }
    // What is too long to be written out runs as on the scalar tier.
    boolean written = coefficients(form) <= VectorDirect.MAX_COEFFICIENTS;
    return written ? 0.5 + multiplyAdds / 45 : multiplyAdds / SCALAR_RATE;
  }

  /** Nodes in the polar angle, series in the azimuth. */
  static double hybrid(TrilinearForm form, Tier tier) {
    double multiplyAdds = HybridPlan.of(form).multiplyAdds();
    return tier == Tier.VECTOR ? 2.5 + multiplyAdds / 40 : multiplyAdds / SCALAR_RATE;
  }

  /** Multiply-adds per nanosecond of the scalar tier. */
  private static final double SCALAR_RATE = 0.3;

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
