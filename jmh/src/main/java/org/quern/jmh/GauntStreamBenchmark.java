package org.quern.jmh;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * Gaunt products of a batch that comes from memory and goes there, and a copy of as many bytes
 * between the same operands.
 */
@Warmup(iterations = 5, time = 400, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 100, timeUnit = TimeUnit.MILLISECONDS)
public class GauntStreamBenchmark extends VectorBenchmark {
  /** At least twice a last-level cache of 32 MiB. */
  private static final long BYTES = 96L << 20;

  /** A large batch. */
  @State(Scope.Benchmark)
  public static class LargeState extends GauntState {
    @Override
    public void prepare() {
      // Compiled on few rows.
      rows = 2;
      super.prepare();
      super.free();
      rows = GauntStreamBenchmark.rows(degrees);
      super.prepare();
    }
  }

  /** Rows of the batch. */
  static int rows(String degrees) {
    return (int) (BYTES / CHANNEL_BYTES / numbers(degrees));
  }

  private static final long CHANNEL_BYTES = (long) GauntState.CHANNELS * Float.BYTES;

  private static int numbers(String degrees) {
    int numbers = 0;
    for (int degree : GauntState.degrees(degrees)) {
      numbers += GauntState.components(degree);
    }
    return numbers;
  }

  /** The product. */
  @Benchmark
  public void multiply(LargeState state) {
    state.multiply();
  }

  /** Copies half as many bytes as the operands have: reads one half, writes as much. */
  @Benchmark
  public void copy(LargeState state) {
    MemorySegment[] parts = {state.x1.memory(), state.x2.memory(), state.out.memory()};
    long left = (parts[0].byteSize() + parts[1].byteSize() + parts[2].byteSize()) / 2;
    // The result is larger than both inputs: from its beginning to the inputs, then within it.
    long at = 0;
    for (int i = 0; i < 2; i++) {
      long bytes = Math.min(left, parts[i].byteSize());
      MemorySegment.copy(parts[2], at, parts[i], 0, bytes);
      at += bytes;
      left -= bytes;
    }
    MemorySegment.copy(parts[2], 0, parts[2], parts[2].byteSize() - left, left);
  }
}
