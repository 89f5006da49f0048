package org.quern.linalg;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;

/**
 * The rate of independent chains of fused multiply-adds on registers: the ceiling of any product.
 */
final class FusedPeak {
  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int STEPS = 20_000;

  private FusedPeak() {}

  /** Flops of one {@link #run}: ten chains of full vectors. */
  static double flops() {
    return 2.0 * 10 * SPECIES.length() * STEPS;
  }

  /** Runs the chains; the result only keeps them alive. */
  static float run() {
    FloatVector x = FloatVector.broadcast(SPECIES, 0.999f);
    FloatVector y = FloatVector.broadcast(SPECIES, 1e-3f);
    FloatVector s0 = y;
    FloatVector s1 = y.add(1);
    FloatVector s2 = y.add(2);
    FloatVector s3 = y.add(3);
    FloatVector s4 = y.add(4);
    FloatVector s5 = y.add(5);
    FloatVector s6 = y.add(6);
    FloatVector s7 = y.add(7);
    FloatVector s8 = y.add(8);
    FloatVector s9 = y.add(9);
    for (int i = 0; i < STEPS; i++) {
      s0 = s0.fma(x, y);
      s1 = s1.fma(x, y);
      s2 = s2.fma(x, y);
      s3 = s3.fma(x, y);
      s4 = s4.fma(x, y);
      s5 = s5.fma(x, y);
      s6 = s6.fma(x, y);
      s7 = s7.fma(x, y);
      s8 = s8.fma(x, y);
      s9 = s9.fma(x, y);
    }
    FloatVector even = s0.add(s2).add(s4).add(s6).add(s8);
    FloatVector odd = s1.add(s3).add(s5).add(s7).add(s9);
    return even.add(odd).reduceLanes(VectorOperators.ADD);
  }
}
