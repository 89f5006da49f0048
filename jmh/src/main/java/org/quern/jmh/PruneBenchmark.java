package org.quern.jmh;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.Warmup;
import org.quern.runtime.Parallel;

/**
 * Pruning of one layer, and the floor of its memory traffic on the same copies in the same turns.
 */
@BenchmarkMode(Mode.SampleTime)
@Warmup(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 300, timeUnit = TimeUnit.MILLISECONDS)
public class PruneBenchmark extends VectorBenchmark {
  private static final long FLOOR_GRAIN = 1 << 22;

  /** The whole call. */
  @Benchmark
  public long prune(PruneState state) {
    return state.pruner.prune("layer", state.weights, state.statistics, state.workspace);
  }

  /** Reads W, and G where the method uses it; writes W. */
  @Benchmark
  public void floor(PruneState state) {
    MemorySegment w = state.weights.memory();
    MemorySegment g = state.method.usesGradients() ? state.statistics.gradients().memory() : null;
    Parallel.forRanges(
        w.byteSize(),
        FLOOR_GRAIN,
        state.threads,
        (from, to, worker) -> {
          if (g != null) {
            Streams.update(w.asSlice(from, to - from), g.asSlice(from, to - from));
          } else {
            Streams.invert(w.asSlice(from, to - from));
          }
        });
  }
}
