package org.quern.jmh;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** The twin of {@link GauntBenchmark} in a JVM whose segment profile other code has polluted. */
@Warmup(iterations = 6, time = 400, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 100, timeUnit = TimeUnit.MILLISECONDS)
public class GauntPollutedBenchmark extends VectorBenchmark {
  /** The same batch, made after the pollution. */
  @State(Scope.Benchmark)
  public static class PollutedState extends GauntState {
    /** Keeps the pollution from being optimised away. */
    float pollution;

    @Override
    public void prepare() {
      pollution = Pollution.run();
      super.prepare();
    }
  }

  /** The product. */
  @Benchmark
  public void multiply(PollutedState state) {
    state.multiply();
  }
}
