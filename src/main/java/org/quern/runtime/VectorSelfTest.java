package org.quern.runtime;

import java.util.Arrays;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;

/**
 * A trial of the Vector API: does it give what scalar code gives, and is it compiled. Loading this
 * class needs the module {@code jdk.incubator.vector}.
 */
final class VectorSelfTest {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;

  private static final int TRIAL_LENGTH = 512;
  private static final int TRIAL_CALLS = 50;

  /** Least number of rounds of the trial. */
  private static final int TRIAL_ROUNDS = 8;

  private static final long TRIAL_NANOS = 2_000_000_000L;

  private VectorSelfTest() {}

  /** Width of the preferred vector in bits. */
  static int bits() {
    return SPECIES.vectorBitSize();
  }

  /** The first operation whose lanes differ from scalar code, or null where all agree. */
  static @Nullable String fault() {
    int lanes = SPECIES.length();
    float[] a = new float[lanes];
    float[] b = new float[lanes];
    float[] c = new float[lanes];
    float[] fused = new float[lanes];
    boolean[] less = new boolean[lanes];
    float[] packed = new float[lanes];
    float[] reversed = new float[lanes];
    int kept = 0;
    for (int i = 0; i < lanes; i++) {
      a[i] = 1 + Math.scalb(i + 1f, -13);
      b[i] = i % 3 == 0 ? -1 : 1 + Math.scalb(2f * i + 1, -14);
      c[i] = -1;
      fused[i] = Math.fma(a[i], b[i], c[i]);
      less[i] = a[i] < b[i];
      if (less[i]) {
        packed[kept++] = a[i];
      }
    }
    for (int i = 0; i < lanes; i++) {
      reversed[i] = a[lanes - 1 - i];
    }
    FloatVector va = FloatVector.fromArray(SPECIES, a, 0);
    FloatVector vb = FloatVector.fromArray(SPECIES, b, 0);
    FloatVector vc = FloatVector.fromArray(SPECIES, c, 0);
    VectorMask<Float> mask = va.compare(VectorOperators.LT, vb);
    VectorShuffle<Float> reverse = VectorShuffle.fromOp(SPECIES, i -> lanes - 1 - i);
    if (!Arrays.equals(va.fma(vb, vc).toArray(), fused)) {
      return "fma";
    }
    if (!Arrays.equals(mask.toArray(), less)) {
      return "compare";
    }
    if (!Arrays.equals(va.compress(mask).toArray(), packed)) {
      return "compress";
    }
    if (!Arrays.equals(va.rearrange(reverse).toArray(), reversed)) {
      return "rearrange";
    }
    return null;
  }

  /**
   * Whether vector code, once warm, beats a scalar loop: without the intrinsics it is a hundred
   * times slower. The best times are compared, which other work on the machine disturbs least.
   * Takes milliseconds where it does, two seconds where it does not.
   */
  static boolean isFast() {
    float[] a = new float[TRIAL_LENGTH];
    Arrays.fill(a, 0.5f);
    float sink = 0;
    long bestVector = Long.MAX_VALUE;
    long bestScalar = Long.MAX_VALUE;
    long begin = System.nanoTime();
    // Several rounds in any case: the scalar loop may have been interrupted in one.
    for (int round = 0;
        round < TRIAL_ROUNDS
            || (bestVector >= bestScalar && System.nanoTime() - begin < TRIAL_NANOS);
        round++) {
      long start = System.nanoTime();
      for (int i = 0; i < TRIAL_CALLS; i++) {
        sink += vectorSquares(a);
      }
      long middle = System.nanoTime();
      for (int i = 0; i < TRIAL_CALLS; i++) {
        sink -= scalarSquares(a);
      }
      long end = System.nanoTime();
      bestVector = Math.min(bestVector, middle - start);
      bestScalar = Math.min(bestScalar, end - middle);
    }
    // The sums are exact and cancel; reading them keeps the loops alive.
    return bestVector < bestScalar && sink == 0;
  }

  private static float vectorSquares(float[] a) {
    FloatVector sum = FloatVector.zero(SPECIES);
    for (int i = 0; i < SPECIES.loopBound(a.length); i += SPECIES.length()) {
      FloatVector v = FloatVector.fromArray(SPECIES, a, i);
      sum = v.fma(v, sum);
    }
    return sum.reduceLanes(VectorOperators.ADD);
  }

  private static float scalarSquares(float[] a) {
    float sum = 0;
    for (float x : a) {
      sum = Math.fma(x, x, sum);
    }
    return sum;
  }
}
