package org.quern.jmh;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
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
import org.quern.linalg.Gemm;
import org.quern.prune.lm.Decoder;
import org.quern.prune.lm.DecoderBlock;
import org.quern.prune.lm.LinearInput;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * One block over one sequence, forward and backward, and the products of its seven linear layers
 * alone: what is above them is attention, norms and gates.
 */
@BenchmarkMode(Mode.SampleTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Warmup(iterations = 4, time = 1)
@Measurement(iterations = 5, time = 1)
public class DecoderBenchmark extends VectorBenchmark {
  /** A block and its input. */
  @State(Scope.Benchmark)
  public static class Pass {
    @Param({"128", "512"})
    int length;

    @Param("VECTOR")
    Tier tier;

    /** What is measured. */
    Decoder decoder;

    /** Products by themselves. */
    Gemm products;

    /** The weights. */
    DecoderBlock block;

    /** In front of the block. */
    Tensor hidden;

    /** Changed by every call: its gradient, or a copy of the stream. */
    Tensor changing;

    /** Outputs of a linear layer. */
    Tensor outputs;

    private Arena arena;

    /** Loads the block. */
    @Setup
    public void prepare(DecoderState state) throws IOException {
      arena = Arena.ofShared();
      decoder = new Decoder(state.model.shape(), state.threads, tier);
      products = Gemm.create(arena, 1, tier);
      block = state.model.loadBlock(arena, 0);
      hidden = Tensor.allocate(arena, DType.F32, 1, length, DecoderState.HIDDEN);
      SplittableRandom random = new SplittableRandom(2);
      for (long i = 0; i < hidden.size(); i++) {
        hidden.memory().setAtIndex(ValueLayout.JAVA_FLOAT, i, random.nextFloat() - 0.5f);
      }
      changing = hidden.to(DType.F32, arena);
      outputs = Tensor.allocate(arena, DType.F32, length, DecoderState.MLP);
    }

    /** Frees everything. */
    @TearDown
    public void free() {
      decoder.close();
      arena.close();
    }
  }

  /** Forward. */
  @Benchmark
  public void forward(Pass pass) {
    restore(pass);
    pass.decoder.forwardBlock(pass.block, pass.changing);
  }

  /** Forward again, and backward. */
  @Benchmark
  public void backward(Pass pass) {
    restore(pass);
    pass.decoder.backwardBlock(
        pass.block, pass.hidden, pass.changing, (linear, inputs, gradients) -> {});
  }

  /** Small against a pass. */
  private static void restore(Pass pass) {
    pass.changing.memory().copyFrom(pass.hidden.memory());
  }

  /** The products of a forward pass; a backward pass takes as many again for the gradients. */
  @Benchmark
  public void products(Pass pass) {
    for (LinearInput input : LinearInput.values()) {
      for (String linear : input.linears()) {
        Tensor w = pass.block.weights(linear);
        int inputs = (int) w.dim(1);
        int outputs = (int) w.dim(0);
        pass.products.multiply(
            false,
            true,
            pass.length,
            outputs,
            inputs,
            1,
            w.memory(), // Any numbers of the right extent.
            inputs,
            w.memory(),
            inputs,
            0,
            pass.outputs.memory(),
            outputs);
      }
    }
  }
}
