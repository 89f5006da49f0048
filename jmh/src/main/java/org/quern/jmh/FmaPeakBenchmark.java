package org.quern.jmh;

import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/**
 * The ceiling of arithmetic: independent chains of fused multiply-adds in registers, more of them
 * than any core has multiply-adds in flight.
 */
public class FmaPeakBenchmark extends VectorBenchmark {
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final int CHAINS = 12;
  private static final int STEPS = 4096;

  /** Multiply-adds of one step of {@link #chains}. */
  static final long ADDS_PER_STEP = (long) CHAINS * F.length();

  /** Flops of one call. */
  static final long FLOPS = 2L * CHAINS * STEPS * F.length();

  /** Operands that the compiler does not know; the chains converge to 1. */
  @State(Scope.Thread)
  public static class Operands {
    private float factor = 0.75f;
    private float addend = 0.25f;
  }

  /** All chains, step by step. */
  @Benchmark
  public float fma(Operands operands) {
    return chains(operands.factor, operands.addend, STEPS);
  }

  /** So many steps of all chains. */
  static float chains(float factor, float addend, int steps) {
    FloatVector x = FloatVector.broadcast(F, factor);
    FloatVector y = FloatVector.broadcast(F, addend);
    FloatVector a0 = x.mul(0f);
    FloatVector a1 = x.mul(0.1f);
    FloatVector a2 = x.mul(0.2f);
    FloatVector a3 = x.mul(0.3f);
    FloatVector a4 = x.mul(0.4f);
    FloatVector a5 = x.mul(0.5f);
    FloatVector a6 = x.mul(0.6f);
    FloatVector a7 = x.mul(0.7f);
    FloatVector a8 = x.mul(0.8f);
    FloatVector a9 = x.mul(0.9f);
    FloatVector a10 = x.mul(1.0f);
    FloatVector a11 = x.mul(1.1f);
    for (int i = 0; i < steps; i++) {
      a0 = a0.fma(x, y);
      a1 = a1.fma(x, y);
      a2 = a2.fma(x, y);
      a3 = a3.fma(x, y);
      a4 = a4.fma(x, y);
      a5 = a5.fma(x, y);
      a6 = a6.fma(x, y);
      a7 = a7.fma(x, y);
      a8 = a8.fma(x, y);
      a9 = a9.fma(x, y);
      a10 = a10.fma(x, y);
      a11 = a11.fma(x, y);
    }
    FloatVector low = a0.add(a1).add(a2).add(a3.add(a4).add(a5));
    FloatVector high = a6.add(a7).add(a8).add(a9.add(a10).add(a11));
    return low.add(high).reduceLanes(VectorOperators.ADD);
  }
}
