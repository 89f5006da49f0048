package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The table of docs/kronecker.md: how far J is from the rule in double precision, by the spectral
 * norm, after updates with vectors of a common direction and noise, as layers see them.
 */
class StorageAccuracyTest {
  private static final int D = 256;
  private static final int UPDATES = 80;
  private static final double GAMMA = 0.95;

  /** Squared lengths of the vectors. */
  private static final List<Double> LENGTHS = List.of(1.0, 100.0, 1e4);

  static Stream<Arguments> storages() {
    return Stream.of(
        Arguments.of(Storage.dense(), 1e-6),
        Arguments.of(Storage.symmetricTiles(), 1e-6),
        Arguments.of(new Storage.SymmetricTiles(8), 1e-6),
        Arguments.of(Storage.deviation(DType.BF16), 4e-3),
        Arguments.of(new Storage.Deviation(DType.BF16, 8), 2e-3),
        Arguments.of(Storage.deviation(DType.F16), 5e-4),
        Arguments.of(Storage.lowRank(128, 0), 2e-6),
        Arguments.of(Storage.lowRank(32, 0.1), 0.1),
        Arguments.of(Storage.lowRank(32, Double.POSITIVE_INFINITY), 0.3));
  }

  @ParameterizedTest
  @MethodSource("storages")
  void deviationFromTheRuleStaysBelow(Storage storage, double bound) {
    StringBuilder line = new StringBuilder(storage + ":");
    for (double length : LENGTHS) {
      double deviation = deviation(storage, length, 23);
      line.append(String.format(Locale.ROOT, " %.1e", deviation));
      assertTrue(deviation <= bound, () -> deviation + " at squared length " + length);
    }
    System.out.println(line);
  }

  private static double deviation(Storage storage, double length, int seed) {
    SplittableRandom random = new SplittableRandom(seed);
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor factor = InverseFactor.create(arena, D, storage, UpdateRule.CODE, GAMMA);
      double[][] exact = new double[D][D];
      double[] common = new double[D];
      for (int i = 0; i < D; i++) {
        exact[i][i] = 1;
        common[i] = random.nextGaussian();
      }
      Tensor v = Tensor.allocate(arena, DType.F32, D);
      double size = Math.sqrt(length / (1.25 * D));
      for (int t = 0; t < UPDATES; t++) {
        for (int i = 0; i < D; i++) {
          v.setDouble(size * (common[i] + 0.5 * random.nextGaussian()), i);
        }
        factor.update(v);
        update(exact, v.toDoubleArray());
      }
      Tensor dense = Tensor.allocate(arena, DType.F64, D, D);
      factor.toDense(dense);
      double[][] difference = new double[D][D];
      for (int i = 0; i < D; i++) {
        for (int j = 0; j < D; j++) {
          difference[i][j] = dense.getDouble(i, j) - exact[i][j];
        }
      }
      return spectralNorm(difference);
    }
  }

  private static void update(double[][] j, double[] v) {
    double[] y = new double[D];
    double s = 0;
    for (int r = 0; r < D; r++) {
      double w = 0;
      for (int c = 0; c < D; c++) {
        w += j[r][c] * v[c];
      }
      y[r] = GAMMA * w + (1 - GAMMA) * v[r];
      s += y[r] * v[r];
    }
    for (int r = 0; r < D; r++) {
      for (int c = 0; c < D; c++) {
        j[r][c] = GAMMA * j[r][c] + (r == c ? 1 - GAMMA : 0) - y[r] * y[c] / (1 + s);
      }
    }
  }

  /** By the power method, from a fixed start; its error is on the low side and below a percent. */
  private static double spectralNorm(double[][] a) {
    double[] x = new double[D];
    SplittableRandom random = new SplittableRandom(1);
    for (int i = 0; i < D; i++) {
      x[i] = random.nextGaussian();
    }
    double norm = 0;
    for (int step = 0; step < 200; step++) {
      double[] y = new double[D];
      double squares = 0;
      for (int r = 0; r < D; r++) {
        for (int c = 0; c < D; c++) {
          y[r] += a[r][c] * x[c];
        }
        squares += y[r] * y[r];
      }
      norm = Math.sqrt(squares);
      if (norm == 0) {
        return 0;
      }
      for (int i = 0; i < D; i++) {
        x[i] = y[i] / norm;
      }
    }
    return norm;
  }
}
