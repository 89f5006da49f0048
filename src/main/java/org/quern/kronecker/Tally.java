package org.quern.kronecker;

import java.util.LinkedHashMap;
import java.util.Map;
import org.quern.family.Replay;
import org.quern.tensor.Tensor;

/** The worst deviation of every quantity of a file. */
final class Tally {
  static final String RELATIVE = "of the largest entry";

  /** Deviation over what the rounding of the storage may cost. */
  static final String SHARE = "of the bound";

  private record Figure(double worst, double tolerance, String unit) {}

  private final Map<String, Figure> figures = new LinkedHashMap<>();

  /** Takes a deviation; of equal names the worst counts, and one that is no number above all. */
  void add(String name, double deviation, double tolerance, String unit) {
    figures.merge(
        name,
        new Figure(deviation, tolerance, unit),
        (a, b) -> new Figure(Math.max(a.worst, b.worst), tolerance, unit));
  }

  void relative(String name, Tensor got, Tensor want, double tolerance) {
    add(name, deviation(got.toDoubleArray(), want.toDoubleArray()), tolerance, RELATIVE);
  }

  /** Takes the largest |got - want| over a bound for it. */
  void share(String name, double[] got, double[] want, double bound) {
    double worst = worst(got, want);
    add(name, worst == 0 ? 0 : worst / bound, 1, SHARE);
  }

  /** Largest |got - want| over the largest |want|; 0 where all are equal, NaN where one is NaN. */
  static double deviation(double[] got, double[] want) {
    double worst = worst(got, want);
    return worst == 0 ? 0 : worst / largest(want);
  }

  private static double worst(double[] got, double[] want) {
    double worst = got.length == want.length ? 0 : Double.NaN;
    for (int i = 0; i < want.length && i < got.length; i++) {
      worst = Math.max(worst, Math.abs(got[i] - want[i]));
    }
    return worst;
  }

  /** Largest absolute value. */
  static double largest(double[] values) {
    double largest = 0;
    for (double value : values) {
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }

  void record(Replay replay, String file) {
    figures.forEach(
        (name, figure) -> replay.record(file, name, figure.worst, figure.tolerance, figure.unit));
  }
}
