package org.quern.prune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Activation statistic of a linear layer (K1): for each of its n input columns the mean over the
 * calibration samples of the sum over the tokens of x^2, accumulated in binary64. Samples are added
 * one after the other, so that the result does not depend on how they are cut into batches.
 *
 * <p>Source: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", arXiv
 * 2306.11695, whose program calls the mean {@code scaler_row}; the norm that its score takes is the
 * root. To be used by one thread at a time.
 */
public final class ActivationStatistics {
  private final double[] sums;
  private long samples;

  /**
   * Statistic of a layer without samples.
   *
   * @param columns inputs of the layer, n
   */
  public ActivationStatistics(int columns) {
    if (columns < 1) {
      throw new IllegalArgumentException("columns: expected at least 1, got " + columns);
    }
    sums = new double[columns];
  }

  /** Adds samples of which every token counts; see {@link #add(Tensor, Tensor)}. */
  public void add(Tensor inputs) {
    add(inputs, null);
  }

  /**
   * Adds samples.
   *
   * @param inputs inputs of the layer, F32, F16 or BF16: [tokens, n] for one sample, [samples,
   *     tokens, n] for several
   * @param tokens U8 of the shape of {@code inputs} without its last dimension, 0 for a token that
   *     is padding and does not count; null where all count
   * @throws IllegalArgumentException where a type or shape is not as described, or an input is not
   *     finite; in that case the statistic is spoilt
   */
  public void add(Tensor inputs, @Nullable Tensor tokens) {
    check(inputs, tokens);
    MemorySegment memory = inputs.hostMemory();
    long stride = inputs.rowStride() * inputs.type().bytes();
    for (long row = 0; row < inputs.rows(); row++) {
      if (tokens == null
          || tokens.row(row / tokens.rowLength()).getLong(row % tokens.rowLength()) != 0) {
        for (int j = 0; j < sums.length; j++) {
          double x = ScalarPruneKernels.load(memory, row * stride, inputs.type(), j);
          sums[j] += x * x;
        }
      }
    }
    samples += inputs.rank() == 2 ? 1 : inputs.dim(0);
    for (int j = 0; j < sums.length; j++) {
      if (!Double.isFinite(sums[j])) {
        throw new IllegalArgumentException(
            "inputs: expected finite values, got "
                + sums[j]
                + " as a sum of squares in column "
                + j);
      }
    }
  }

  private void check(Tensor inputs, @Nullable Tensor tokens) {
    int rank = inputs.rank();
    if ((rank != 2 && rank != 3) || inputs.dim(rank - 1) != sums.length) {
      throw new IllegalArgumentException(
          "inputs: expected [tokens, "
              + sums.length
              + "] or [samples, tokens, "
              + sums.length
              + "], got "
              + inputs);
    }
    switch (inputs.type()) {
      case F32, F16, BF16 -> {}
      default ->
          throw new IllegalArgumentException("inputs: expected F32, F16 or BF16, got " + inputs);
    }
    long[] expected = Arrays.copyOf(inputs.shape(), rank - 1);
    if (tokens != null && (tokens.type() != DType.U8 || !Arrays.equals(tokens.shape(), expected))) {
      throw new IllegalArgumentException(
          "tokens: expected U8" + Arrays.toString(expected) + ", got " + tokens);
    }
  }

  /** Samples added so far. */
  public long samples() {
    return samples;
  }

  /**
   * The mean over the samples of the sum over the tokens of x^2, per column.
   *
   * @return F32 [n] in {@code arena}
   * @throws IllegalStateException where no sample was added
   */
  public Tensor meanSquares(Arena arena) {
    requireSamples();
    float[] means = new float[sums.length];
    for (int j = 0; j < means.length; j++) {
      means[j] = (float) (sums[j] / samples);
    }
    return Tensor.copyOf(arena, means, means.length);
  }

  /**
   * The column norms c that {@link Statistics} takes: the roots of {@link #meanSquares}.
   *
   * @return F32 [n] in {@code arena}
   * @throws IllegalStateException where no sample was added
   */
  public Tensor columnNorms(Arena arena) {
    return columnNorms(arena, meanSquares(arena));
  }

  /** The column norms of given means of squares, F32 [n]. */
  static Tensor columnNorms(Arena arena, Tensor meanSquares) {
    float[] norms = meanSquares.toFloatArray();
    for (int j = 0; j < norms.length; j++) {
      norms[j] = (float) Math.sqrt(norms[j]);
    }
    return Tensor.copyOf(arena, norms, norms.length);
  }

  private void requireSamples() {
    if (samples == 0) {
      throw new IllegalStateException("activation statistic: expected samples, got none");
    }
  }
}
