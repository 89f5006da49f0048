package org.quern.prune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * Activation statistic of a linear layer (K1): for each of its n input columns the mean over the
 * calibration samples of the sum over the tokens of x^2, accumulated in binary64. The sum of a
 * column is one chain in the order of the tokens, so that its bits depend neither on how samples
 * are cut into batches, nor on the number of threads, nor on the tier.
 *
 * <p>Source: Sun et al., "A Simple and Effective Pruning Approach for Large Language Models", arXiv
 * 2306.11695, whose program calls the mean {@code scaler_row}; the norm that its score takes is the
 * root. To be used by one thread at a time.
 */
public final class ActivationStatistics {
  /** Columns that a thread claims are a multiple of this: whole cache lines of all types. */
  private static final int GRAIN = 64;

  private final int threads;
  private final StatisticKernels kernels;
  private double[] sums;
  private long samples;
  private long tokens;

  /**
   * Statistic of a layer without samples, on one thread of the best tier.
   *
   * @param columns inputs of the layer, n
   */
  public ActivationStatistics(int columns) {
    this(columns, 1, null);
  }

  /**
   * Statistic of a layer without samples.
   *
   * @param columns inputs of the layer, n
   * @param threads most threads that may work at a time, at least 1
   * @param tier the tier to use, or null for the best
   * @throws IllegalStateException where the tier cannot run here
   */
  public ActivationStatistics(int columns, int threads, @Nullable Tier tier) {
    if (columns < 1) {
      throw new IllegalArgumentException("columns: expected at least 1, got " + columns);
    }
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    this.threads = threads;
    kernels = GradientStatistics.kernels(Capabilities.get().choose(Pruner.TIERS, tier));
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
   * @throws IllegalArgumentException where a type or shape is not as described, or an input of a
   *     token that counts is not finite; the statistic is then as it was
   */
  public void add(Tensor inputs, @Nullable Tensor tokens) {
    check(inputs);
    TokenRuns.check(tokens, inputs);
    MemorySegment memory = inputs.hostMemory();
    long stride = inputs.rowStride() * inputs.type().bytes();
    double[] added = sums.clone();
    try {
      Parallel.forRanges(
          added.length,
          grain(),
          threads,
          (from, to, worker) ->
              TokenRuns.forEach(
                  tokens,
                  0,
                  inputs.rows(),
                  (start, end) ->
                      kernels.addSquares(
                          memory,
                          start * stride + from * inputs.type().bytes(),
                          stride,
                          inputs.type(),
                          end - start,
                          (int) (to - from),
                          added,
                          (int) from)));
    } finally {
      Reference.reachabilityFence(inputs);
    }
    for (int j = 0; j < added.length; j++) {
      if (!Double.isFinite(added[j])) {
        throw notFinite(inputs, tokens, j);
      }
    }
    sums = added;
    samples += inputs.rank() == 2 ? 1 : inputs.dim(0);
    TokenRuns.forEach(tokens, 0, inputs.rows(), (start, end) -> this.tokens += end - start);
  }

  /** Long runs of columns, as memory streams best; sums do not depend on how columns are cut. */
  private long grain() {
    return (long) Math.ceilDiv(Math.ceilDiv(sums.length, threads), GRAIN) * GRAIN;
  }

  private void check(Tensor inputs) {
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
    GradientStatistics.requireFloats("inputs", inputs);
  }

  /** Finds the token whose input made the sum of a column not finite. */
  private static IllegalArgumentException notFinite(
      Tensor inputs, @Nullable Tensor tokens, int column) {
    long length = inputs.dim(inputs.rank() - 2);
    StringBuilder message = new StringBuilder("inputs: expected finite values, got ");
    int start = message.length();
    TokenRuns.forEach(
        tokens,
        0,
        inputs.rows(),
        (from, to) -> {
          for (long row = from; row < to && message.length() == start; row++) {
            double value = inputs.row(row).getDouble(column);
            if (!Double.isFinite(value)) {
              message
                  .append(value)
                  .append(" at sample ")
                  .append(row / length)
                  .append(", token ")
                  .append(row % length)
                  .append(", column ")
                  .append(column);
            }
          }
        });
    return new IllegalArgumentException(message.toString());
  }

  /** Samples added so far. */
  public long samples() {
    return samples;
  }

  /** Tokens that counted so far, in all samples. */
  public long tokens() {
    return tokens;
  }

  /** Inputs of the layer. */
  public int columns() {
    return sums.length;
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
