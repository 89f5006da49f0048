package org.quern.kronecker;

import java.util.ArrayList;
import java.util.List;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A storage with which recorded cases are replayed.
 *
 * <p>What a storage of 16 bits rounds is not a deviation from the case: its factors are given the
 * rounding that follows, and a result that depends on them what such an error in both factors can
 * do to it.
 *
 * @param label in the names of results
 * @param storage the storage
 * @param rounding error of an element of J, relative to the largest; 0 for F32
 */
record GoldenStorage(String label, Storage storage, double rounding) {
  /**
   * Units of rounding: the error of an element after many updates stays below 20 units of |K|, and
   * the specification found a spectral error of less than one unit of |I| in long runs.
   */
  private static final double UNITS = 4;

  private static final double BF16 = UNITS * 0x1p-9;
  private static final double F16 = UNITS * 0x1p-12;

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

  /** What a result of a case's own tolerance may deviate in a factor. */
  double factorTolerance(double tolerance) {
    return Math.max(tolerance, rounding);
  }

  /**
   * Compares {@code scale L G R} with what is recorded: within the tolerance of the largest entry,
   * and with a storage of 16 bits within what errors of the factors do to it besides, {@code 2
   * scale rounding (||L G|| + ||G R||)}, where the 2 stands for the rescaling.
   */
  void comparePreconditioned(
      Tally tally,
      String name,
      double[] got,
      double[] want,
      Tensor l,
      Tensor gradient,
      Tensor r,
      double scale,
      double tolerance) {
    if (rounding == 0) {
      tally.add(name, Tally.deviation(got, want), tolerance, Tally.RELATIVE);
      return;
    }
    double largest = 0;
    for (double value : want) {
      largest = Math.max(largest, Math.abs(value));
    }
    double norms = norm(l, gradient) + norm(gradient, r);
    double bound = tolerance * largest + 2 * scale * rounding * norms;
    double deviation = Tally.deviation(got, want) * largest;
    tally.add(name, deviation == 0 ? 0 : deviation / bound, 1, Tally.SHARE);
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
      java.util.Arrays.fill(row, 0);
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
