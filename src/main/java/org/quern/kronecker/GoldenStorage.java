package org.quern.kronecker;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.quern.linalg.SymmetricEigen;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A storage with which recorded cases are replayed.
 *
 * <p>What a storage of 16 bits rounds is not a deviation from the case. To first order an update
 * rounds every element by one unit of the largest of K = I - J, and later updates multiply that by
 * the rule's factor p: {@code unit (1 + p + ... + p^n) max |K|} after a start and n updates. The
 * factors are compared with this bound, and results that depend on them with what two factors that
 * are as wrong, in the spectral norm, do to them.
 *
 * @param label in the names of results
 * @param storage the storage
 * @param unit relative rounding error of an element of K; 0 for F32
 */
record GoldenStorage(String label, Storage storage, double unit) {
  /** Of the largest entry of the parameters after a run with factors of F16. */
  private static final double PARAMETERS_F16 = 5e-3;

  /** How far an eigenvalue may be above 1 by rounding. */
  private static final double IDENTITY = 1e-6;

  private static final double F16 = 0x1p-11;
  private static final double BF16 = 0x1p-8;

  /** The storages that can keep a rule, for factors up to this dimension. */
  static List<GoldenStorage> of(UpdateRule rule, int dimension) {
    List<GoldenStorage> storages = new ArrayList<>();
    storages.add(new GoldenStorage("dense", Storage.dense(), 0));
    storages.add(new GoldenStorage("dense lazy 4", new Storage.Dense(4), 0));
    storages.add(new GoldenStorage("tiles", Storage.symmetricTiles(), 0));
    storages.add(new GoldenStorage("tiles lazy 4", new Storage.SymmetricTiles(4), 0));
    storages.add(new GoldenStorage("deviation f16", Storage.deviation(DType.F16), F16));
    storages.add(new GoldenStorage("deviation bf16", Storage.deviation(DType.BF16), BF16));
    if (rule == UpdateRule.CODE) {
      storages.add(new GoldenStorage("low rank", Storage.lowRank(dimension, 0), 0));
    }
    return storages;
  }

  /** The storages that can keep a rule and these factors, which low rank does where J &le; I. */
  static List<GoldenStorage> of(UpdateRule rule, Tensor... factors) {
    int dimension = 1;
    boolean belowIdentity = true;
    for (Tensor factor : factors) {
      int d = (int) factor.dim(0);
      dimension = Math.max(dimension, d);
      double[] values = new double[d];
      new SymmetricEigen(d).decompose(d, factor.toDoubleArray(), values);
      belowIdentity &= values[0] <= 1 + IDENTITY;
    }
    List<GoldenStorage> storages = of(rule, dimension);
    boolean fits = belowIdentity;
    storages.removeIf(storage -> storage.storage instanceof Storage.LowRank && !fits);
    return storages;
  }

  boolean isRounded() {
    return unit > 0;
  }

  /**
   * How far an element of a factor may be from the recorded one.
   *
   * @param want the recorded factor
   * @param p factor of J in an update
   * @param updates how many updates it has taken
   * @param tolerance of the case, relative to the largest element
   */
  double bound(Tensor want, double p, int updates, double tolerance) {
    int d = (int) want.dim(0);
    double[] elements = want.toDoubleArray();
    double largest = 0;
    double deviation = 0;
    for (int i = 0; i < elements.length; i++) {
      largest = Math.max(largest, Math.abs(elements[i]));
      deviation = Math.max(deviation, Math.abs((i % (d + 1) == 0 ? 1 : 0) - elements[i]));
    }
    double units = 1;
    double power = 1;
    for (int t = 0; t < updates; t++) {
      power *= p;
      units += power;
    }
    return tolerance * largest + unit * units * deviation;
  }

  /** Compares a factor; see {@link #bound}. */
  void compareFactor(
      Tally tally, String name, Tensor got, Tensor want, double p, int updates, double tolerance) {
    if (isRounded()) {
      double bound = bound(want, p, updates, tolerance);
      tally.share(name + ", " + label, got.toDoubleArray(), want.toDoubleArray(), bound);
    } else {
      tally.relative(name + ", " + label, got, want, tolerance);
    }
  }

  /**
   * Compares part of {@code scale L G R}: within the tolerance of the largest entry, and where the
   * factors are rounded within {@code 2 scale (leftBound ||G R|| + rightBound ||L G||)} besides,
   * where the 2 stands for the rescaling.
   */
  void comparePreconditioned(
      Tally tally,
      String name,
      double[] got,
      double[] want,
      Tensor l,
      double leftBound,
      Tensor gradient,
      Tensor r,
      double rightBound,
      double scale,
      double tolerance) {
    if (isRounded()) {
      double rounding = leftBound * norm(gradient, r) + rightBound * norm(l, gradient);
      double bound = tolerance * Tally.largest(want) + 2 * scale * rounding;
      tally.share(name + ", " + label, got, want, bound);
    } else {
      double deviation = Tally.deviation(got, want);
      tally.add(name + ", " + label, deviation, tolerance, Tally.RELATIVE);
    }
  }

  /** What parameters may deviate at the end of a run, relative to the largest. */
  double parameterTolerance(double tolerance) {
    return isRounded() ? Math.max(tolerance, PARAMETERS_F16 / F16 * unit) : tolerance;
  }

  /** Frobenius norm of a product. */
  private static double norm(Tensor a, Tensor b) {
    double squares = 0;
    double[] left = a.toDoubleArray();
    double[] right = b.toDoubleArray();
    int inner = (int) a.dim(1);
    int columns = (int) b.dim(1);
    double[] row = new double[columns];
    for (int i = 0; i < a.dim(0); i++) {
      Arrays.fill(row, 0);
      for (int k = 0; k < inner; k++) {
        for (int j = 0; j < columns; j++) {
          row[j] += left[i * inner + k] * right[k * columns + j];
        }
      }
      for (double x : row) {
        squares += x * x;
      }
    }
    return Math.sqrt(squares);
  }
}
