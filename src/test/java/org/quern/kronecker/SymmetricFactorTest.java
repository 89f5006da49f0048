package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.ChildJvm;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Endurance and memory, which {@link SymmetricContractTest} leaves out. */
class SymmetricFactorTest {
  private static final int D = 8;
  private static final double GAMMA = 0.95;

  /** Updates of the endurance test; the full number is {@code -Dquern.soak=1000000}. */
  private static final int UPDATES = Integer.getInteger("quern.soak", 50_000);

  static List<Storage> kept() {
    return List.of(
        Storage.symmetricTiles(),
        Storage.deviation(DType.BF16),
        Storage.deviation(DType.F16),
        new Storage.SymmetricTiles(4),
        new Storage.Deviation(DType.BF16, 4));
  }

  /**
   * In exact arithmetic 0 &lt; J &le; I, and no eigenvalue is below 1 / (1/(1-gamma) + |v|^2). One
   * pass rounds every element of the stored matrix S, |S| &le; I, which moves an eigenvalue by at
   * most e = unit |abs(S)| &le; unit sqrt(d), and the rest is in F32. Above 1 the errors add up to
   * e / (1-gamma), for the next update shrinks them by gamma. From below they do not add up: if J
   * &ge; -e before an update, M = gamma J + (1-gamma) I &ge; m = 1-gamma - gamma e, and after it J
   * &ge; 1 / (1/m + |v|^2) - e. So J stays positive as long as this is.
   */
  private static double[] bounds(DType type, double square) {
    double e = SymmetricContractTest.unit(type) * Math.sqrt(D) + 0x1p-20;
    double m = 1 - GAMMA - GAMMA * e;
    return new double[] {1 / (1 / m + square) - e, 1 + e / (1 - GAMMA)};
  }

  @ParameterizedTest
  @MethodSource("kept")
  void manyUpdatesKeepTheFactorSymmetricAndItsSpectrumInBounds(Storage storage) {
    DType type = SymmetricContractTest.type(storage);
    // As long as the smallest type permits, and any length.
    for (double longest : new double[] {type == DType.F32 ? 30 : type == DType.F16 ? 20 : 5, 1e6}) {
      long seed = System.nanoTime();
      System.out.println("seed " + seed);
      SplittableRandom random = new SplittableRandom(seed);
      try (Arena arena = Arena.ofConfined()) {
        Tensor[] vectors = new Tensor[509];
        double square = 0;
        for (int i = 0; i < vectors.length; i++) {
          double length = longest * Math.pow(random.nextDouble(), i % 3 == 0 ? 20 : 1);
          double[] v = SymmetricContractTest.vector(random, D, 1);
          double norm = Math.sqrt(SymmetricContractTest.dot(v, v));
          for (int k = 0; k < D; k++) {
            v[k] = i % 100 == 7 ? 0 : i % 5 == 0 ? length / 3 : v[k] / norm * length;
          }
          square = Math.max(square, SymmetricContractTest.dot(v, v));
          vectors[i] = SymmetricContractTest.tensor(arena, v);
        }
        double[] bounds = bounds(type, square);
        assertTrue(bounds[0] > 0 || longest > 100, "J is positive by the bound");
        InverseFactor factor = InverseFactor.create(arena, D, storage, UpdateRule.CODE, GAMMA);
        for (int t = 1; t <= UPDATES; t++) {
          assertEquals(InverseFactor.Outcome.APPLIED, factor.update(vectors[random.nextInt(509)]));
          if (t % 1009 == 0 || t == UPDATES) {
            double[][] j = SymmetricContractTest.dense(arena, factor);
            String what = storage + " after " + t + ", seed " + seed;
            SymmetricContractTest.assertSymmetric(j, what);
            double[] spectrum = spectrum(j);
            assertTrue(spectrum[0] >= bounds[0], what + ": least eigenvalue " + spectrum[0]);
            assertTrue(spectrum[1] <= bounds[1], what + ": greatest eigenvalue " + spectrum[1]);
          }
        }
      }
    }
  }

  /** Smallest and greatest eigenvalue, by the method of Jacobi. */
  private static double[] spectrum(double[][] symmetric) {
    int d = symmetric.length;
    double[][] a = Arrays.stream(symmetric).map(double[]::clone).toArray(double[][]::new);
    for (int sweep = 0; sweep < 30; sweep++) {
      double off = 0;
      for (int p = 0; p < d; p++) {
        for (int q = p + 1; q < d; q++) {
          off += a[p][q] * a[p][q];
          if (Math.abs(a[p][q]) < 1e-300) {
            continue;
          }
          double theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
          double t = Math.copySign(1, theta) / (Math.abs(theta) + Math.hypot(theta, 1));
          double cos = 1 / Math.hypot(t, 1);
          double sin = t * cos;
          for (int k = 0; k < d; k++) {
            double x = a[k][p];
            double y = a[k][q];
            a[k][p] = cos * x - sin * y;
            a[k][q] = sin * x + cos * y;
          }
          for (int k = 0; k < d; k++) {
            double x = a[p][k];
            double y = a[q][k];
            a[p][k] = cos * x - sin * y;
            a[q][k] = sin * x + cos * y;
          }
        }
      }
      if (off < 1e-30) {
        break;
      }
    }
    double min = Double.POSITIVE_INFINITY;
    double max = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < d; i++) {
      min = Math.min(min, a[i][i]);
      max = Math.max(max, a[i][i]);
    }
    return new double[] {min, max};
  }

  @Test
  void bytesAreWhatAFactorAllocates() {
    for (Storage storage : SymmetricContractTest.storages()) {
      for (int d : new int[] {1, 65, 520}) {
        try (Arena arena = Arena.ofConfined()) {
          long[] allocated = {0};
          Arena counting =
              new Arena() {
                @Override
                public MemorySegment allocate(long bytes, long alignment) {
                  allocated[0] += bytes;
                  return arena.allocate(bytes, alignment);
                }

                @Override
                public MemorySegment.Scope scope() {
                  return arena.scope();
                }

                @Override
                public void close() {}
              };
          InverseFactor.create(counting, d, storage, UpdateRule.CODE, 0.9);
          assertEquals(allocated[0], InverseFactor.bytes(d, storage), storage + " d " + d);
        }
      }
    }
  }

  @Test
  void nothingIsAllocatedPerUpdate() throws Exception {
    assumeTrue(
        Capabilities.get().available().contains(Tier.VECTOR), "the vector tier cannot run here");
    // Compiled as soon as it is due, however busy the machine.
    List<String> flags = new ArrayList<>(ChildJvm.VECTOR);
    flags.add("-XX:-BackgroundCompilation");
    Map<String, String> report = ChildJvm.run(SymmetricAllocations.class, flags);
    for (Storage storage : SymmetricAllocations.STORAGES) {
      String name = storage.toString().replaceAll("\\W", "");
      assertEquals("0", report.get(name), storage + ": bytes per update; " + report);
    }
  }
}
