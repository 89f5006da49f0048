package org.quern.jmh;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/** The twin of {@link GemmBenchmark} in a JVM whose segment profile other code has polluted. */
public class GemmPollutedBenchmark extends VectorBenchmark {
  /** The same matrices, made after the pollution. */
  @State(Scope.Benchmark)
  public static class PollutedMatrices extends GemmBenchmark.Matrices {
    /** Keeps the pollution from being optimised away. */
    float pollution;

    @Override
    public void prepare() {
      pollution = Pollution.run();
      super.prepare();
    }
  }

  /** One product. */
  @Benchmark
  public void multiply(PollutedMatrices matrices) {
    matrices.gemm.multiply(false, false, 1, matrices.a, matrices.b, 0, matrices.c);
  }
}
