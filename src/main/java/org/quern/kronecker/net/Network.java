package org.quern.kronecker.net;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.random.Philox;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Fully connected layers, one after another, for batches of one size. A training step is: fill
 * {@link #input} and {@link #target}, {@link #forward}, {@link #backward}, and let an optimizer
 * change the weights of the {@link #layers} by their gradients. On one thread a step allocates
 * nothing. Serves one call at a time; results do not depend on the number of threads.
 */
public final class Network {
  private final int batch;
  private final Loss loss;
  private final Gemm gemm;
  private final List<DenseLayer> layers;
  private final Tensor input;
  private final Tensor target;

  private Network(Arena arena, int[] widths, int batch, Activation hidden, Loss loss, Gemm gemm) {
    this.batch = batch;
    this.loss = loss;
    this.gemm = gemm;
    input = Tensor.allocate(arena, DType.F32, batch, widths[0]);
    target = Tensor.allocate(arena, DType.F32, batch, widths[widths.length - 1]);
    List<DenseLayer> all = new ArrayList<>();
    Tensor x = input;
    for (int k = 1; k < widths.length; k++) {
      Activation activation = k < widths.length - 1 ? hidden : Activation.IDENTITY;
      DenseLayer layer = new DenseLayer(arena, x, widths[k], activation);
      all.add(layer);
      x = layer.output();
    }
    layers = List.copyOf(all);
  }

  /**
   * A network whose weights are 0 until {@link #initialize}.
   *
   * @param arena gives all memory; a shared one where there are several threads
   * @param widths numbers of inputs, of the outputs of each hidden layer, and of outputs, at least
   *     two of at least 1
   * @param batch rows of a batch, at least 1
   * @param hidden activation of all layers but the last, which has none
   * @param loss what is made small
   * @param threads greatest number of threads, at least 1
   * @param tier tier of the products, or null for the best
   * @throws IllegalArgumentException where an argument is out of its range
   * @throws IllegalStateException where the tier cannot run here
   */
  public static Network create(
      Arena arena,
      int[] widths,
      int batch,
      Activation hidden,
      Loss loss,
      int threads,
      @Nullable Tier tier) {
    if (widths.length < 2 || Arrays.stream(widths).anyMatch(width -> width < 1)) {
      throw new IllegalArgumentException(
          "widths: expected at least two, each at least 1, got " + Arrays.toString(widths));
    }
    if (batch < 1) {
      throw new IllegalArgumentException("batch: expected at least 1, got " + batch);
    }
    return new Network(arena, widths, batch, hidden, loss, Gemm.create(arena, threads, tier));
  }

  /**
   * Draws all weights anew: uniform, of variance 2 / inputs before a rectifier (He et al., arXiv
   * 1502.01852) and 2 / (inputs + outputs) otherwise (Glorot and Bengio, AISTATS 2010). Biases
   * become 0.
   */
  public void initialize(long seed) {
    for (int k = 0; k < layers.size(); k++) {
      layers.get(k).initialize(new Philox(seed, k));
    }
  }

  /** The batch, [batch, inputs], for the caller to fill. */
  public Tensor input() {
    return input;
  }

  /** What the outputs should be, [batch, outputs], for the caller to fill. */
  public Tensor target() {
    return target;
  }

  /** What the last {@link #forward} computed, [batch, outputs]. */
  public Tensor output() {
    return layers.getLast().output();
  }

  /** The layers, in order. */
  public List<DenseLayer> layers() {
    return layers;
  }

  /** Computes the outputs and their loss, the mean over the batch. */
  public double forward() {
    for (int k = 0; k < layers.size(); k++) {
      layers.get(k).forward(gemm);
    }
    DenseLayer last = layers.getLast();
    MemorySegment y = last.output().memory();
    int n = (int) target.dim(1);
    double sum = 0;
    for (int r = 0; r < batch; r++) {
      sum +=
          loss.row(
              y,
              target.memory(),
              last.outputGradient().memory(),
              (long) r * n * Float.BYTES,
              n,
              1f / batch);
    }
    return sum / batch;
  }

  /** Computes all gradients of the loss of the last {@link #forward}, which must precede it. */
  public void backward() {
    for (int k = layers.size() - 1; k >= 0; k--) {
      Tensor below = k > 0 ? layers.get(k - 1).outputGradient() : null;
      layers.get(k).backward(gemm, below);
    }
  }
}
