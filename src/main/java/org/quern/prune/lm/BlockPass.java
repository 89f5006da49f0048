package org.quern.prune.lm;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.tensor.Tensor;

/**
 * One block over one sequence of a chunk, forward and backward, on one thread. A sequence is the
 * slot that it has in the chunk.
 */
final class BlockPass {
  private final DecoderShape shape;
  private final DecoderKernels kernels;
  private final Gemm product;
  private final Activations a;
  private final Attention attention;

  BlockPass(DecoderShape shape, DecoderKernels kernels, Gemm product, Activations activations) {
    this.shape = shape;
    this.kernels = kernels;
    this.product = product;
    this.a = activations;
    this.attention = new Attention(a.arena(), shape, kernels, product, a.length);
  }

  private MemorySegment hidden(MemorySegment all, int slot) {
    return a.of(all, slot, shape.hidden());
  }

  private MemorySegment queries(MemorySegment all, int slot) {
    return a.of(all, slot, shape.queryWidth());
  }

  private MemorySegment keys(MemorySegment all, int slot) {
    return a.of(all, slot, shape.keyWidth());
  }

  private MemorySegment mlp(MemorySegment all, int slot) {
    return a.of(all, slot, shape.mlp());
  }

  /** Everything up to the inputs of the last layer; the stream stays as it is. */
  void forward(DecoderBlock block, MemorySegment stream, int slot) {
    MemorySegment input = hidden(a.attentionInput, slot);
    MemorySegment queries = queries(a.queries, slot);
    MemorySegment keys = keys(a.keys, slot);
    MemorySegment values = keys(a.values, slot);
    norm(stream, block.attentionNorm(), input);
    linear(block, LinearInput.QUERY, input, queries, 0);
    linear(block, LinearInput.KEY, input, keys, 0);
    linear(block, LinearInput.VALUE, input, values, 0);
    rotate(queries, shape.heads(), false);
    rotate(keys, shape.kvHeads(), false);
    MemorySegment heads = queries(a.heads, slot);
    attention.forward(queries, keys, values, heads);
    MemorySegment middle = hidden(a.middle, slot);
    MemorySegment.copy(stream, 0, middle, 0, middle.byteSize());
    linear(block, LinearInput.OUTPUT, heads, middle, 1);

    MemorySegment mlpInput = hidden(a.mlpInput, slot);
    MemorySegment gate = mlp(a.gate, slot);
    MemorySegment up = mlp(a.up, slot);
    norm(middle, block.mlpNorm(), mlpInput);
    linear(block, LinearInput.GATE, mlpInput, gate, 0);
    linear(block, LinearInput.UP, mlpInput, up, 0);
    kernels.gate(gate, up, mlp(a.gated, slot), Math.multiplyExact(a.length, shape.mlp()));
  }

  /** What follows {@link #forward}: writes the stream behind the block. */
  void advance(DecoderBlock block, MemorySegment stream, int slot) {
    MemorySegment.copy(hidden(a.middle, slot), 0, stream, 0, stream.byteSize());
    linear(block, LinearInput.DOWN, mlp(a.gated, slot), stream, 1);
  }

  /**
   * Takes the gradient of the stream from behind the MLP to in front of it, and leaves those of the
   * outputs of gate and values.
   */
  void backwardMlp(DecoderBlock block, MemorySegment gradient, int slot) {
    MemorySegment gate = mlp(a.gate, slot);
    MemorySegment up = mlp(a.up, slot);
    MemorySegment gated = mlp(a.gated, slot);
    MemorySegment normed = hidden(a.gradients().normed, slot);
    linearBackward(block, LinearInput.DOWN, gradient, gated, 0);
    kernels.gateBackward(gate, up, gated, Math.multiplyExact(a.length, shape.mlp()));
    linearBackward(block, LinearInput.GATE, gate, normed, 0);
    linearBackward(block, LinearInput.UP, up, normed, 1);
    normBackward(hidden(a.middle, slot), block.mlpNorm(), normed, gradient);
  }

  /**
   * Takes the gradient of the stream from behind the attention to in front of it, and leaves those
   * of the outputs of queries, keys and values.
   */
  void backwardAttention(
      DecoderBlock block, MemorySegment stream, MemorySegment gradient, int slot) {
    Activations.Gradients g = a.gradients();
    MemorySegment queries = queries(g.queries, slot);
    MemorySegment keys = keys(g.keys, slot);
    MemorySegment values = keys(g.values, slot);
    MemorySegment heads = queries(a.heads, slot);
    MemorySegment normed = hidden(g.normed, slot);
    linearBackward(block, LinearInput.OUTPUT, gradient, heads, 0);
    attention.backward(
        queries(a.queries, slot),
        keys(a.keys, slot),
        keys(a.values, slot),
        heads,
        queries,
        keys,
        values);
    rotate(queries, shape.heads(), true);
    rotate(keys, shape.kvHeads(), true);
    linearBackward(block, LinearInput.QUERY, queries, normed, 0);
    linearBackward(block, LinearInput.KEY, keys, normed, 1);
    linearBackward(block, LinearInput.VALUE, values, normed, 1);
    normBackward(stream, block.attentionNorm(), normed, gradient);
  }

  private void norm(MemorySegment x, Tensor gain, MemorySegment y) {
    kernels.norm(x, gain.memory(), y, a.length, shape.hidden(), shape.rmsEpsilon());
  }

  private void normBackward(
      MemorySegment x, Tensor gain, MemorySegment delta, MemorySegment gradient) {
    int width = shape.hidden();
    kernels.normBackward(x, gain.memory(), delta, gradient, a.length, width, shape.rmsEpsilon());
  }

  private void rotate(MemorySegment x, int heads, boolean back) {
    RotaryTable angles = a.angles;
    int size = shape.headSize();
    kernels.rotate(x, angles.cosines(), angles.sines(), a.length, heads, size, back);
  }

  /** out = x W^T + bias + beta out. */
  private void linear(
      DecoderBlock block, String linear, MemorySegment x, MemorySegment out, float beta) {
    Tensor w = block.weights(linear);
    int outputs = (int) w.dim(0);
    int inputs = (int) w.dim(1);
    product.multiply(
        false,
        true,
        a.length,
        outputs,
        inputs,
        1,
        x,
        inputs,
        w.memory(),
        w.rowStride(),
        beta,
        out,
        outputs);
    addToRows(block.bias(linear), out, outputs);
  }

  private void addToRows(@Nullable Tensor bias, MemorySegment out, int outputs) {
    if (bias != null) {
      for (long row = 0; row < a.length; row++) {
        for (long i = 0; i < outputs; i++) {
          float sum =
              out.getAtIndex(JAVA_FLOAT, row * outputs + i)
                  + bias.memory().getAtIndex(JAVA_FLOAT, i);
          out.setAtIndex(JAVA_FLOAT, row * outputs + i, sum);
        }
      }
    }
  }

  /** The gradient of {@link #linear} with respect to x: x = delta W + beta x. */
  private void linearBackward(
      DecoderBlock block, String linear, MemorySegment delta, MemorySegment x, float beta) {
    Tensor w = block.weights(linear);
    int outputs = (int) w.dim(0);
    int inputs = (int) w.dim(1);
    product.multiply(
        false,
        false,
        a.length,
        inputs,
        outputs,
        1,
        delta,
        outputs,
        w.memory(),
        w.rowStride(),
        beta,
        x,
        inputs);
  }
}
