package org.quern.gaunt;

import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * What a product costs by each algorithm: its multiply-adds per channel over the rate that the
 * kernels reach, and the time of their calls. The multiply-adds are those of the tables of the
 * algorithm; rates and calls were fitted by {@code GauntCostTool} among the tests, which measures
 * products (L, L, 2L) on one core with 512-bit vectors that makes one multiply-add of a vector per
 * cycle. On another machine all shift alike; the ratio of two costs decides, not their size.
 */
final class CostModel {
  /**
   * The cost of an algorithm per product and channel.
   *
   * @param multiplyAdds operations
   * @param nanoseconds estimated time
   */
  record Cost(Algorithm algorithm, double multiplyAdds, double nanoseconds) {}

  /**
   * How fast kernels are.
   *
   * @param call nanoseconds of a call, per channel
   * @param perNanosecond multiply-adds per nanosecond
   */
  private record Rate(double call, double perNanosecond) {}

  /** Everything on the scalar tier. */
  private static final Rate SCALAR = new Rate(1, 0.3);

  private static final Rate FOURIER = new Rate(100, 0.25);

  private CostModel() {}

  /** The cost of an algorithm, which must apply to the form. */
  static Cost of(
      Algorithm algorithm, TrilinearForm form, DType type, Tier tier, Resolution resolution) {
    double multiplyAdds = multiplyAdds(algorithm, form, resolution);
    Rate rate = rate(algorithm, form, type, tier);
    double nanoseconds =
        calls(algorithm, form, resolution) * rate.call + multiplyAdds / rate.perNanosecond;
    return new Cost(algorithm, multiplyAdds, nanoseconds);
  }

  private static Rate rate(Algorithm algorithm, TrilinearForm form, DType type, Tier tier) {
    if (algorithm == Algorithm.FOURIER) {
      return FOURIER;
    }
    boolean written =
        algorithm != Algorithm.DIRECT || coefficients(form) <= VectorDirect.MAX_COEFFICIENTS;
    if (tier != Tier.VECTOR || !written) {
      // What is too long to be written out runs as on the scalar tier.
      return SCALAR;
    }
    Rate single =
        switch (algorithm) {
          case DIRECT -> new Rate(0.5, 45);
          case HYBRID -> new Rate(2.5, 40);
          case GRID -> new Rate(1.7, 34);
          case POINTS -> new Rate(2, 39);
          case FOURIER -> FOURIER;
        };
    // Vectors of doubles have half the lanes.
    return type == DType.F32 ? single : new Rate(2 * single.call, single.perNanosecond / 2);
  }

  /** Calls of kernels per product. */
  private static double calls(Algorithm algorithm, TrilinearForm form, Resolution resolution) {
    if (algorithm == Algorithm.POINTS) {
      return 4;
    }
    if (algorithm != Algorithm.GRID) {
      return 1;
    }
    double calls = 0;
    for (int operand = 0; operand < 3; operand++) {
      calls += 2 * form.degree(operand) + 1 + resolution.rings(form);
    }
    return calls;
  }

  /** Multiply-adds per product and channel. */
  private static double multiplyAdds(
      Algorithm algorithm, TrilinearForm form, Resolution resolution) {
    return switch (algorithm) {
      case DIRECT -> coefficients(form) + (double) form.components(0) * form.components(1);
      case HYBRID -> HybridPlan.of(form, resolution.rings(form)).multiplyAdds();
      case GRID -> grid(form, resolution.rings(form), resolution.ringPoints(form));
      case POINTS -> {
        int highest = Math.max(form.degree(0), Math.max(form.degree(1), form.degree(2)));
        double degree = form.integrandDegree() - highest;
        double points = (degree + 1) * (degree + 1);
        yield points * (1 + form.components(0) + form.components(1) + (double) form.components(2));
      }
      case FOURIER -> fourier(form, resolution);
    };
  }

  private static double grid(TrilinearForm form, int rings, int azimuths) {
    double sum = (double) rings * azimuths;
    for (int operand = 0; operand < 3; operand++) {
      double orders = 2 * form.degree(operand) + 1;
      sum += rings * (form.components(operand) + azimuths * orders);
    }
    return sum;
  }

  /** Complex numbers count double; a transform of N numbers has 2.5 N log2 N multiply-adds. */
  private static double fourier(TrilinearForm form, Resolution resolution) {
    int bound = form.degree(0) + form.degree(1);
    double length = Fft.size(Math.max(2 * bound + 1, resolution.azimuths()));
    double sum = 2 * 2 * length * (2.5 * length * Math.log(length) / Math.log(2));
    for (int operand = 0; operand < 3; operand++) {
      for (int l = 0; l <= form.degree(operand); l++) {
        sum += (2.0 * l + 1) * (operand < 2 ? 2 * l + 1 : 2 * bound + 1) * 2 * 2;
      }
    }
    return sum;
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
