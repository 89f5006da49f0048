package org.quern.prune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Gradient statistics of a linear layer out of its inputs x and the gradients delta of its outputs
 * (K2f): for every calibration sequence s, g_s = sum over the tokens t of delta[s,t,:]^T x[s,t,:],
 * whose magnitudes and squares are added to a {@link GradientStatistics}.
 *
 * <p>No gradient of the weights is ever written out. The weights are cut into blocks; the gradient
 * of one sequence for one block is a product that stays in the cache, where its magnitudes are
 * added to the sums before the next takes its place. For S sequences of T tokens and weights [m, n]
 * this takes 2 S T m n flops, as the plain product does, and moves 8 S m n bytes of memory for each
 * sum; gradients that are written out and read again move as much once more, and take m n floats.
 *
 * <p>Holds the memory of its threads, and serves one layer after another; one call at a time. The
 * results depend neither on the number of threads nor on how the sequences are cut into calls.
 *
 * <p>Source of the statistic: Das et al., arXiv 2311.04902.
 */
public final class GradientProduct {
  /**
   * Rows and columns of a block, 590 KB. The product packs its inputs anew for every block of rows:
   * half as many rows cost 6 % more at 1024 tokens, twice as many leave the second-level cache.
   */
  private static final int BLOCK_ROWS = 384;

  private static final int BLOCK_COLUMNS = 384;

  private final int threads;
  private final Gemm[] products;
  private final MemorySegment[] gradients;

  private GradientProduct(Arena arena, int threads, @Nullable Tier tier) {
    this.threads = threads;
    products = new Gemm[threads];
    gradients = new MemorySegment[threads];
    long bytes = (long) BLOCK_ROWS * BLOCK_COLUMNS * Float.BYTES;
    for (int i = 0; i < threads; i++) {
      products[i] = Gemm.create(arena, 1, tier);
      gradients[i] = arena.allocate(bytes, Tensor.ALIGNMENT);
    }
  }

  /** Products as fast as this machine can; see {@link #create(Arena, int, Tier)}. */
  public static GradientProduct create(Arena arena, int threads) {
    return create(arena, threads, null);
  }

  /**
   * Products on one tier.
   *
   * @param arena gives the memory of the threads, about 1.2 MB each; shared where there are several
   * @param threads most threads that may work at a time, at least 1
   * @param tier as in {@link Gemm#create(Arena, int, Tier)}
   * @throws IllegalArgumentException where {@code threads < 1}
   * @throws IllegalStateException where the tier cannot run here
   */
  public static GradientProduct create(Arena arena, int threads, @Nullable Tier tier) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    return new GradientProduct(arena, threads, tier);
  }

  /**
   * Adds sequences of which every token counts; see {@link #add(GradientStatistics, Tensor, Tensor,
   * Tensor)}.
   */
  public void add(GradientStatistics statistics, Tensor deltas, Tensor inputs) {
    add(statistics, deltas, inputs, null);
  }

  /**
   * Adds sequences, each as one sample.
   *
   * @param statistics of a layer with weights [m, n], {@link Compat#EXACT}
   * @param deltas gradient of each sequence's loss with respect to the outputs of the layer, F32
   *     [S, T, m], or [T, m] for one sequence
   * @param inputs of the layer, F32 [S, T, n] or [T, n]
   * @param tokens U8 [S, T] or [T], 0 for a token that is padding and does not count, whatever its
   *     values; null where all count
   * @throws IllegalArgumentException where a type or shape is not as described; or where a value of
   *     a token that counts is not finite or a gradient overflows binary32, in which case the
   *     statistic is spoilt, and no longer gives a result
   */
  public void add(
      GradientStatistics statistics, Tensor deltas, Tensor inputs, @Nullable Tensor tokens) {
    check("deltas", deltas, statistics.rows());
    check("inputs", inputs, statistics.columns());
    long[] sequenceShape = Arrays.copyOf(deltas.shape(), deltas.rank() - 1);
    if (!Arrays.equals(sequenceShape, Arrays.copyOf(inputs.shape(), inputs.rank() - 1))) {
      throw new IllegalArgumentException(
          "inputs: expected the sequences and tokens of deltas "
              + Arrays.toString(sequenceShape)
              + ", got "
              + inputs);
    }
    TokenRuns.check(tokens, deltas);
    if (statistics.compat() != Compat.EXACT) {
      throw new IllegalArgumentException(
          "statistics: expected exact sums, got " + statistics.compat() + "; give it gradients");
    }
    long sequences = deltas.rank() == 2 ? 1 : deltas.dim(0);
    long across = Math.ceilDiv(statistics.columns(), BLOCK_COLUMNS);
    long down = Math.ceilDiv(statistics.rows(), BLOCK_ROWS);
    statistics.beginSamples();
    try {
      Parallel.forRanges(
          across * down,
          1,
          threads,
          (block, end, worker) -> {
            long row = block / across * BLOCK_ROWS;
            int column = (int) (block % across) * BLOCK_COLUMNS;
            addBlock(statistics, deltas, inputs, tokens, row, column, worker);
          });
    } finally {
      Reference.reachabilityFence(deltas);
      Reference.reachabilityFence(inputs);
    }
    statistics.endSamples(sequences);
  }

  /** Adds the gradients of all sequences for one block of the weights. */
  private void addBlock(
      GradientStatistics statistics,
      Tensor deltas,
      Tensor inputs,
      @Nullable Tensor tokens,
      long row,
      int column,
      int worker) {
    int m = (int) Math.min(BLOCK_ROWS, statistics.rows() - row);
    int n = (int) Math.min(BLOCK_COLUMNS, statistics.columns() - column);
    long length = deltas.dim(deltas.rank() - 2);
    MemorySegment g = gradients[worker];
    for (long from = 0; from < deltas.rows(); from += length) {
      if (multiply(
          products[worker], deltas, inputs, tokens, from, from + length, row, column, m, n, g)) {
        long bad = statistics.addBlock(g, row, column, m, n);
        if (bad >= 0) {
          throw notFinite(
              deltas, inputs, tokens, from, from + length, row + bad / n, column + bad % n);
        }
      }
    }
  }

  /** The product of the tokens that count in rows {@code [from, to)}; false where none does. */
  private static boolean multiply(
      Gemm product,
      Tensor deltas,
      Tensor inputs,
      @Nullable Tensor tokens,
      long from,
      long to,
      long row,
      long column,
      int m,
      int n,
      MemorySegment g) {
    boolean[] begun = {false};
    TokenRuns.forEach(
        tokens,
        from,
        to,
        (start, end) -> {
          product.multiply(
              true,
              false,
              m,
              n,
              Math.toIntExact(end - start),
              1,
              at(deltas, start, row),
              deltas.rowStride(),
              at(inputs, start, column),
              inputs.rowStride(),
              begun[0] ? 1 : 0,
              g,
              n);
          begun[0] = true;
        });
    return begun[0];
  }

  private static MemorySegment at(Tensor tensor, long row, long column) {
    return tensor.memory().asSlice((row * tensor.rowStride() + column) * Float.BYTES);
  }

  /** Finds the value that made an element of a gradient not finite. */
  private static IllegalArgumentException notFinite(
      Tensor deltas,
      Tensor inputs,
      @Nullable Tensor tokens,
      long from,
      long to,
      long row,
      long column) {
    StringBuilder found = new StringBuilder();
    TokenRuns.forEach(
        tokens,
        from,
        to,
        (start, end) -> {
          for (long t = start; t < end && found.isEmpty(); t++) {
            describe(found, "deltas", deltas, t, t - from, row);
            describe(found, "inputs", inputs, t, t - from, column);
          }
        });
    if (found.isEmpty()) {
      found
          .append(
              "deltas, inputs: expected gradients of the weights within binary32, got one beyond")
          .append(" at row ")
          .append(row)
          .append(", column ")
          .append(column);
    }
    long length = to - from;
    found.append(" of sequence ").append(length == 0 ? 0 : from / length);
    return new IllegalArgumentException(found.toString());
  }

  private static void describe(
      StringBuilder found, String name, Tensor tensor, long row, long token, long column) {
    double value = tensor.row(row).getDouble(column);
    if (found.isEmpty() && !Double.isFinite(value)) {
      found
          .append(name)
          .append(": expected finite values, got ")
          .append(value)
          .append(" at column ")
          .append(column)
          .append(" of token ")
          .append(token);
    }
  }

  private static void check(String name, Tensor tensor, long width) {
    int rank = tensor.rank();
    if (tensor.type() != DType.F32 || (rank != 2 && rank != 3) || tensor.dim(rank - 1) != width) {
      throw new IllegalArgumentException(
          name
              + ": expected F32 [tokens, "
              + width
              + "] or [sequences, tokens, "
              + width
              + "], got "
              + tensor);
    }
    tensor.hostMemory();
  }
}
