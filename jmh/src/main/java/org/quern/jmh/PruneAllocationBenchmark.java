package org.quern.jmh;

import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;

/**
 * A layer so small that many thousand calls fit one iteration: what the harness itself allocates
 * vanishes among them, and the profiler {@code gc} shows the bytes of one call. Calls wait for the
 * compiler, so that none that is still interpreted, and boxes its vectors, is counted on a busy
 * machine.
 */
@Fork(
    value = 1,
    jvmArgsAppend = {
      "--add-modules=jdk.incubator.vector",
      "--enable-native-access=ALL-UNNAMED",
      "--sun-misc-unsafe-memory-access=allow",
      "-XX:-BackgroundCompilation"
    })
public class PruneAllocationBenchmark extends VectorBenchmark {
  /** Two copies in turn: no time is read, so they may stay in the cache. */
  @State(Scope.Benchmark)
  public static class SmallLayer extends PruneState {
    @Override
    int height() {
      return 8;
    }

    @Override
    int width() {
      return 512;
    }

    @Override
    int copies(long bytes) {
      return 2;
    }
  }

  /** The whole call. */
  @Benchmark
  public long prune(SmallLayer state) {
    return state.pruner.prune("layer", state.weights, state.statistics, state.workspace);
  }
}
