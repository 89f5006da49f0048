package org.quern.jmh;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** The twin of {@link PruneBenchmark} in a JVM whose segment profile other code has polluted. */
@BenchmarkMode(Mode.SampleTime)
@Warmup(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
public class PrunePollutedBenchmark extends VectorBenchmark {
  /** The same copies, made after the pollution. */
  @State(Scope.Benchmark)
  public static class PollutedState extends PruneState {
    /** Keeps the pollution from being optimised away. */
    float pollution;

    @Override
    public void prepare() {
      pollution = Pollution.run();
      super.prepare();
    }
  }

  /** The whole call. */
  @Benchmark
  public long prune(PollutedState state) {
    return state.pruner.prune("layer", state.weights, state.statistics, state.workspace);
  }
}
