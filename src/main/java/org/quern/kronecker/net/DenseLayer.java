package org.quern.kronecker.net;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.random.RandomGenerator;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * One fully connected layer of a {@link Network}: {@code Y = f(X W' + b)} for a batch of rows. All
 * of its tensors are F32 without gaps and live as long as the arena of the network.
 */
public final class DenseLayer {
  private final Activation activation;
  private final int batch;
  private final int inputs;
  private final int outputs;
  private final Tensor input;
  private final Tensor output;
  private final Tensor outputGradient;
  private final Tensor weights;
  private final Tensor bias;
  private final Tensor weightGradient;
  private final Tensor biasGradient;
  private final MemorySegment ones;

  DenseLayer(Arena arena, Tensor input, int outputs, Activation activation) {
    this.activation = activation;
    this.input = input;
    this.batch = (int) input.dim(0);
    this.inputs = (int) input.dim(1);
    this.outputs = outputs;
    output = Tensor.allocate(arena, DType.F32, batch, outputs);
    outputGradient = Tensor.allocate(arena, DType.F32, batch, outputs);
    weights = Tensor.allocate(arena, DType.F32, outputs, inputs);
    bias = Tensor.allocate(arena, DType.F32, outputs);
    weightGradient = Tensor.allocate(arena, DType.F32, outputs, inputs);
    biasGradient = Tensor.allocate(arena, DType.F32, outputs);
    Tensor weightOfRows = Tensor.allocate(arena, DType.F32, batch);
    weightOfRows.fill(1);
    ones = weightOfRows.memory();
  }

  /** Draws the weights, uniform with the variance that suits the activation; biases are 0. */
  void initialize(RandomGenerator random) {
    double width = activation == Activation.RELU ? 2.0 * inputs : inputs + outputs;
    double bound = Math.sqrt(3 * activation.gain / width);
    MemorySegment w = weights.memory();
    for (int k = 0; k < inputs * outputs; k++) {
      w.setAtIndex(ValueLayout.JAVA_FLOAT, k, (float) (bound * (2 * random.nextFloat() - 1)));
    }
    bias.fill(0);
  }

  void forward(Gemm gemm) {
    MemorySegment y = output.memory();
    long row = (long) Float.BYTES * outputs;
    for (int r = 0; r < batch; r++) {
      MemorySegment.copy(bias.memory(), 0, y, r * row, row);
    }
    gemm.multiply(
        false,
        true,
        batch,
        outputs,
        inputs,
        1,
        input.memory(),
        inputs,
        weights.memory(),
        inputs,
        1,
        y,
        outputs);
    activation.apply(y);
  }

  /**
   * From the gradient by Y to those by the sums before f, by W and by b, and by X where asked for.
   */
  void backward(Gemm gemm, @Nullable Tensor inputGradient) {
    MemorySegment dy = outputGradient.memory();
    activation.back(output.memory(), dy);
    gemm.multiply(
        true,
        false,
        outputs,
        inputs,
        batch,
        1,
        dy,
        outputs,
        input.memory(),
        inputs,
        0,
        weightGradient.memory(),
        inputs);
    gemm.multiply(
        false,
        false,
        1,
        outputs,
        batch,
        1,
        ones,
        batch,
        dy,
        outputs,
        0,
        biasGradient.memory(),
        outputs);
    if (inputGradient != null) {
      gemm.multiply(
          false,
          false,
          batch,
          inputs,
          outputs,
          1,
          dy,
          outputs,
          weights.memory(),
          inputs,
          0,
          inputGradient.memory(),
          inputs);
    }
  }

  /** X of the last pass, [batch, inputs]. */
  public Tensor input() {
    return input;
  }

  /** Y of the last pass, [batch, outputs]. */
  public Tensor output() {
    return output;
  }

  /**
   * After a backward pass the gradient of the loss by the sums {@code X W' + b}, [batch, outputs].
   */
  public Tensor outputGradient() {
    return outputGradient;
  }

  /** W, [outputs, inputs]. */
  public Tensor weights() {
    return weights;
  }

  /** b, [outputs]. */
  public Tensor bias() {
    return bias;
  }

  /** The gradient by W after a backward pass, [outputs, inputs]. */
  public Tensor weightGradient() {
    return weightGradient;
  }

  /** The gradient by b after a backward pass, [outputs]: the sum of the output gradient's rows. */
  public Tensor biasGradient() {
    return biasGradient;
  }
}
