package org.quern.jmh;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Warmup;

/** Gaunt products of a batch that stays in a cache. */
@Warmup(iterations = 6, time = 400, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 100, timeUnit = TimeUnit.MILLISECONDS)
public class GauntBenchmark extends VectorBenchmark {
  /** The product. */
  @Benchmark
  public void multiply(GauntState state) {
    state.multiply();
  }

  /** The gradients by both inputs. */
  @Benchmark
  public void gradients(GauntState state) {
    state.differentiate();
  }
}
