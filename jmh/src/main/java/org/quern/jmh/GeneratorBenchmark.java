package org.quern.jmh;

import java.io.IOException;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.quern.prune.lm.Generator;
import org.quern.runtime.Tier;

/**
 * One token of a model half of whose weights are zero, dense and without them. Take {@code -p
 * layers=4} or more, so that the weights exceed the last-level cache.
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 4, time = 1)
@Measurement(iterations = 5, time = 1)
public class GeneratorBenchmark extends VectorBenchmark {
  /** Tokens of a text, after which the next one starts. */
  private static final int POSITIONS = 192;

  /** A generator in the midst of a text. */
  @State(Scope.Benchmark)
  public static class Text {
    @Param({"false", "true"})
    boolean sparse;

    @Param("VECTOR")
    Tier tier;

    /** What is measured. */
    Generator generator;

    /** Loads the weights. */
    @Setup
    public void prepare(DecoderState state) throws IOException {
      generator = Generator.create(state.model, sparse, POSITIONS, state.threads, tier);
    }

    /** Frees the weights. */
    @TearDown
    public void free() {
      generator.close();
    }
  }

  /** One token. */
  @Benchmark
  public Object token(Text text) {
    if (text.generator.position() == POSITIONS) {
      text.generator.reset();
    }
    return text.generator.accept(text.generator.position() % DecoderState.VOCABULARY);
  }
}
