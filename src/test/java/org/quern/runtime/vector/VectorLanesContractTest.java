package org.quern.runtime.vector;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.util.Arrays;
import java.util.SplittableRandom;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import org.junit.jupiter.api.Test;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

/** Sums of lanes before the compilers have seen them, and after. */
class VectorLanesContractTest {
  private static final int VECTORS = 500;

  @Test
  void theOrderIsThatOfHalvesWhetherCompiledOrNot() {
    assumeTrue(Capabilities.get().available().contains(Tier.VECTOR));
    int seed = 17;
    System.out.println("seed " + seed);
    for (int round = 0; round < 40; round++) {
      SplittableRandom random = new SplittableRandom(seed);
      for (int k = 0; k < VECTORS; k++) {
        double[] values = random.doubles(64, -1, 1).toArray();
        float[] floats = new float[values.length];
        for (int i = 0; i < floats.length; i++) {
          floats[i] = (float) values[i];
        }
        int n = VectorSums.floatLanes();
        float[] f = Arrays.copyOf(floats, n);
        double[] d = Arrays.copyOf(values, n / 2);
        String where = "vector " + k + ", round " + round;
        assertEquals(VectorSums.sum(f), halves(f), where);
        assertEquals(VectorSums.sum(d), halves(d), where);
      }
    }
  }

  private static float halves(float[] x) {
    for (int half = x.length / 2; half >= 1; half /= 2) {
      for (int i = 0; i < half; i++) {
        x[i] += x[i + half];
      }
    }
    return x[0];
  }

  private static double halves(double[] x) {
    for (int half = x.length / 2; half >= 1; half /= 2) {
      for (int i = 0; i < half; i++) {
        x[i] += x[i + half];
      }
    }
    return x[0];
  }

  /** Apart, so that it is loaded only where the module of the Vector API is there. */
  static final class VectorSums {
    static int floatLanes() {
      return FloatVector.SPECIES_PREFERRED.length();
    }

    static float sum(float[] x) {
      return VectorLanes.sum(FloatVector.fromArray(FloatVector.SPECIES_PREFERRED, x, 0));
    }

    static double sum(double[] x) {
      return VectorLanes.sum(DoubleVector.fromArray(DoubleVector.SPECIES_PREFERRED, x, 0));
    }
  }
}
