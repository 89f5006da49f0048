package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.runtime.NativeViews;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Second moments of the inputs of a linear layer, {@code H = (2/N) sum over the N samples of X_s^T
 * X_s}, where X_s is [tokens, n]: half the Hessian's trace form of the layer's squared output
 * error, as SparseGPT takes it (Frantar and Alistarh, arXiv 2301.00774).
 *
 * <p>Work: n (n + 1) flops per token, half of the full product, at the rate of {@link Gemm}.
 * Memory: n^2 floats, and {@value #PANEL_ROWS} n floats in which tokens wait until they fill a
 * panel. Because the panels are cut by the tokens alone, the result is the same bits for every cut
 * into batches and any number of threads. Products and sums are in binary32, in panels of their
 * own: the error of an element is about that of {@code sqrt(tokens / 384)} roundings of the sum of
 * its moduli, which the damping of the factorization exceeds by orders of magnitude.
 *
 * <p>To be used by one thread at a time.
 */
public final class InputGram {
  /** Tokens per panel: whole blocks of the product. */
  private static final int PANEL_ROWS = 1536;

  /** Rows of H that a thread computes at a time; fixed, so that results are. */
  private static final int STRIPE = 384;

  private final int columns;
  private final int threads;
  private final Gemm[] products;
  private final MemorySegment sums;
  private final MemorySegment panel;
  private int waiting;
  private long samples;
  private boolean spoilt;

  /** Moments without samples, on the best tier; see {@link #InputGram(Arena, int, int, Tier)}. */
  public InputGram(Arena arena, int columns, int threads) {
    this(arena, columns, threads, null);
  }

  /**
   * Moments without samples.
   *
   * @param arena gives the memory; a shared one where there are several threads
   * @param columns inputs of the layer, n
   * @param threads most threads that may work at a time, at least 1
   * @param tier tier of the products, or null for the best
   * @throws IllegalArgumentException where {@code columns} or {@code threads} is below 1
   * @throws IllegalStateException where the tier cannot run here
   */
  public InputGram(Arena arena, int columns, int threads, @Nullable Tier tier) {
    if (columns < 1) {
      throw new IllegalArgumentException("columns: expected at least 1, got " + columns);
    }
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    this.columns = columns;
    this.threads = threads;
    products = new Gemm[threads];
    for (int worker = 0; worker < threads; worker++) {
      products[worker] = Gemm.create(arena, 1, tier);
    }
    long row = (long) Float.BYTES * columns;
    sums = arena.allocate(row * columns, Tensor.ALIGNMENT);
    panel = arena.allocate(row * PANEL_ROWS, Tensor.ALIGNMENT);
  }

  /** Inputs of the layer, n. */
  public int columns() {
    return columns;
  }

  /** Samples added so far. */
  public long samples() {
    return samples;
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
   *     finite; after the latter the moments are spoilt
   * @throws IllegalStateException where they are spoilt
   */
  public void add(Tensor inputs, @Nullable Tensor tokens) {
    requireWhole();
    check(inputs, tokens);
    MemorySegment memory = inputs.hostMemory();
    long stride = inputs.rowStride() * inputs.type().bytes();
    long row = (long) Float.BYTES * columns;
    for (long token = 0; token < inputs.rows(); token++) {
      if (tokens != null && isPadding(tokens, token)) {
        continue;
      }
      Conversions.toFloat(memory, token * stride, inputs.type(), panel, waiting * row, columns);
      requireFinite(token);
      if (++waiting == PANEL_ROWS) {
        addPanel();
      }
    }
    samples += inputs.rank() == 2 ? 1 : inputs.dim(0);
  }

  private void check(Tensor inputs, @Nullable Tensor tokens) {
    int rank = inputs.rank();
    if ((rank != 2 && rank != 3) || inputs.dim(rank - 1) != columns) {
      throw new IllegalArgumentException(
          "inputs: expected [tokens, "
              + columns
              + "] or [samples, tokens, "
              + columns
              + "], got "
              + inputs);
    }
    Weights.requireFloating("inputs", inputs);
    long[] expected = Arrays.copyOf(inputs.shape(), rank - 1);
    if (tokens != null && (tokens.type() != DType.U8 || !Arrays.equals(tokens.shape(), expected))) {
      throw new IllegalArgumentException(
          "tokens: expected U8" + Arrays.toString(expected) + ", got " + tokens);
    }
  }

  private static boolean isPadding(Tensor tokens, long token) {
    long length = tokens.rowLength();
    return Weights.byteAt(tokens, token / length, token % length) == 0;
  }

  /** Checks the row that was just copied. */
  private void requireFinite(long token) {
    long offset = (long) Float.BYTES * columns * waiting;
    int column = Weights.firstNotFinite(panel, offset, columns);
    if (column >= 0) {
      spoilt = true;
      float value = panel.get(JAVA_FLOAT, offset + (long) Float.BYTES * column);
      throw new IllegalArgumentException(
          "inputs: expected finite values, got "
              + value
              + " in token "
              + token
              + " of the batch, column "
              + column);
    }
  }

  /** {@code sums += panel^T panel}, lower triangle, stripe by stripe from the longest. */
  private void addPanel() {
    int rows = waiting;
    waiting = 0;
    if (rows == 0) {
      return;
    }
    long stride = columns;
    Parallel.forRanges(
        columns,
        STRIPE,
        threads,
        (low, high, worker) -> {
          int from = (int) (columns - high);
          int height = (int) (high - low);
          Gemm gemm = products[worker];
          MemorySegment own = panel.asSlice((long) Float.BYTES * from);
          MemorySegment left = sums.asSlice(Float.BYTES * (from * stride));
          MemorySegment diagonal = left.asSlice((long) Float.BYTES * from);
          gemm.multiply(
              true, false, height, from, rows, 1, own, stride, panel, stride, 1, left, stride);
          gemm.gram(rows, height, 1, own, stride, 1, diagonal, stride);
        });
  }

  /**
   * The moments H of all samples so far, both triangles. More samples may be added afterwards; the
   * panels are then cut anew from here.
   *
   * @return F32 [n, n] in {@code arena}
   * @throws IllegalStateException where no sample was added, or an input was not finite
   */
  public Tensor hessian(Arena arena) {
    requireWhole();
    if (samples == 0) {
      throw new IllegalStateException(
          "moments of inputs: expected samples of " + columns + " inputs, got none");
    }
    addPanel();
    Tensor hessian = Tensor.allocate(arena, DType.F32, columns, columns);
    float scale = 2f / samples;
    MemorySegment from = NativeViews.exact(sums);
    MemorySegment to = NativeViews.exact(hessian.memory());
    // Blocks, so that the mirrored columns stay in the cache.
    int block = 64;
    for (int i0 = 0; i0 < columns; i0 += block) {
      for (int j0 = 0; j0 <= i0; j0 += block) {
        for (int i = i0; i < Math.min(columns, i0 + block); i++) {
          for (int j = j0; j <= Math.min(i, j0 + block - 1); j++) {
            float value = scale * from.getAtIndex(JAVA_FLOAT, (long) i * columns + j);
            to.setAtIndex(JAVA_FLOAT, (long) i * columns + j, value);
            to.setAtIndex(JAVA_FLOAT, (long) j * columns + i, value);
          }
        }
      }
    }
    return hessian;
  }

  private void requireWhole() {
    if (spoilt) {
      throw new IllegalStateException(
          "moments of inputs: spoilt by a value that is not finite; start anew");
    }
  }
}
