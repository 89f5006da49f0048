package org.quern.prune.lm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.linalg.Gemm;
import org.quern.tensor.Tensor;

/**
 * The loss of one sequence at a time behind the residual stream, on one thread: the mean of {@code
 * -log p(token | tokens before it)}, natural logarithm, over all tokens but the first. Scores are
 * held for some positions at a time.
 */
final class TokenLoss {
  /** Bytes of scores that one thread holds at most, where one position needs no more. */
  private static final long SCORE_BYTES = 1 << 25;

  private final DecoderShape shape;
  private final DecoderKernels kernels;
  private final Gemm product;
  private final OutputLayer output;
  private final int rows;
  private final MemorySegment normed;
  private final MemorySegment gradient;
  private final MemorySegment scores;

  /**
   * The loss of sequences up to a length.
   *
   * @param arena gives the scratch memory
   */
  TokenLoss(
      Arena arena,
      DecoderShape shape,
      DecoderKernels kernels,
      Gemm product,
      OutputLayer output,
      int length) {
    this.shape = shape;
    this.kernels = kernels;
    this.product = product;
    this.output = output;
    long scoreBytes = (long) shape.vocabulary() * Float.BYTES;
    this.rows = Math.clamp(SCORE_BYTES / scoreBytes, 1, Math.max(1, length));
    this.normed = arena.allocate(rows * rowBytes(), Tensor.ALIGNMENT);
    this.gradient = arena.allocate(rows * rowBytes(), Tensor.ALIGNMENT);
    this.scores = arena.allocate(rows * scoreBytes, Tensor.ALIGNMENT);
  }

  private long rowBytes() {
    return (long) shape.hidden() * Float.BYTES;
  }

  /** The scores of the next token for the rows of {@code hidden}. */
  void scores(MemorySegment hidden, MemorySegment out, int length) {
    for (int start = 0; start < length; start += rows) {
      int count = Math.min(rows, length - start);
      long scoreBytes = (long) shape.vocabulary() * Float.BYTES;
      score(slice(hidden, start, count), out.asSlice(start * scoreBytes), count);
    }
  }

  /** The loss of a sequence. */
  double loss(MemorySegment hidden, int[] tokens) {
    double sum = 0;
    for (int start = 0; start < tokens.length - 1; start += rows) {
      int count = Math.min(rows, tokens.length - 1 - start);
      score(slice(hidden, start, count), scores, count);
      for (int row = 0; row < count; row++) {
        int next = tokens[start + row + 1];
        sum += kernels.surprise(scores, scoreOffset(row), shape.vocabulary(), next);
      }
    }
    return sum / (tokens.length - 1);
  }

  /** The loss of a sequence; its gradient takes the place of the stream. */
  double gradient(MemorySegment hidden, int[] tokens) {
    float share = 1f / (tokens.length - 1);
    double sum = 0;
    for (int start = 0; start < tokens.length - 1; start += rows) {
      int count = Math.min(rows, tokens.length - 1 - start);
      MemorySegment stream = slice(hidden, start, count);
      score(stream, scores, count);
      for (int row = 0; row < count; row++) {
        int next = tokens[start + row + 1];
        int n = shape.vocabulary();
        sum += kernels.surpriseGradient(scores, scoreOffset(row), n, next, share);
      }
      Tensor head = output.head();
      int width = shape.hidden();
      product.multiply(
          false,
          false,
          count,
          width,
          shape.vocabulary(),
          1,
          scores,
          shape.vocabulary(),
          head.memory(),
          head.rowStride(),
          0,
          normed,
          width);
      gradient.fill((byte) 0);
      MemorySegment gain = output.norm().memory();
      kernels.normBackward(stream, gain, normed, gradient, count, width, shape.rmsEpsilon());
      MemorySegment.copy(gradient, 0, stream, 0, stream.byteSize());
    }
    slice(hidden, tokens.length - 1, 1).fill((byte) 0); // The last position predicts nothing.
    return sum / (tokens.length - 1);
  }

  private MemorySegment slice(MemorySegment hidden, int start, int count) {
    return hidden.asSlice(start * rowBytes(), count * rowBytes());
  }

  private long scoreOffset(int row) {
    return (long) row * shape.vocabulary() * Float.BYTES;
  }

  private void score(MemorySegment hidden, MemorySegment out, int count) {
    Tensor head = output.head();
    int width = shape.hidden();
    kernels.norm(hidden, output.norm().memory(), normed, count, width, shape.rmsEpsilon());
    product.multiply(
        false,
        true,
        count,
        shape.vocabulary(),
        width,
        1,
        normed,
        width,
        head.memory(),
        head.rowStride(),
        0,
        out,
        shape.vocabulary());
  }
}
