package org.quern.prune.lm;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.linalg.Gemm;
import org.quern.tensor.Tensor;

/**
 * Causal attention of one sequence at a time, and its gradient: {@code softmax(q k^T / sqrt(size))
 * v} for every head, where each position sees itself and those before it; several query heads may
 * share one head of keys and values. Queries are [length, heads, size], keys and values [length,
 * kvHeads, size], queries and keys already rotated. About {@code 2 length^2 heads size} flops, 5/2
 * of that for the gradient.
 *
 * <p>Positions go through in tiles, so that scores of later positions are not computed, and scratch
 * memory grows with the length and not with its square. The gradient computes the softmax of a tile
 * again. For use by one thread.
 */
final class Attention {
  /** Query positions whose scores are held at a time. */
  private static final int TILE = 128;

  private final DecoderShape shape;
  private final DecoderKernels kernels;
  private final Gemm product;
  private final int length;
  private final float scale;
  private final MemorySegment weights;
  private final MemorySegment deltas;

  /**
   * Attention over sequences of one length.
   *
   * @param arena gives the scratch memory
   */
  Attention(Arena arena, DecoderShape shape, DecoderKernels kernels, Gemm product, int length) {
    this.shape = shape;
    this.kernels = kernels;
    this.product = product;
    this.length = length;
    this.scale = (float) (1 / Math.sqrt(shape.headSize()));
    long bytes = (long) Math.min(TILE, length) * length * Float.BYTES;
    this.weights = arena.allocate(bytes, Tensor.ALIGNMENT);
    this.deltas = arena.allocate(bytes, Tensor.ALIGNMENT);
  }

  /** Writes the joined heads, [length, heads, size]. */
  void forward(MemorySegment queries, MemorySegment keys, MemorySegment values, MemorySegment out) {
    for (int head = 0; head < shape.heads(); head++) {
      long key = keyOffset(head);
      for (int start = 0; start < length; start += TILE) {
        int end = Math.min(length, start + TILE);
        long query = queryOffset(head, start);
        attend(queries.asSlice(query), keys.asSlice(key), start, end);
        // out = p v
        product.multiply(
            false,
            false,
            end - start,
            shape.headSize(),
            end,
            1,
            weights,
            end,
            values.asSlice(key),
            shape.keyWidth(),
            0,
            out.asSlice(query),
            shape.queryWidth());
      }
    }
  }

  /** The softmax p of the positions {@code [start, end)} over all before {@code end}. */
  private void attend(MemorySegment queries, MemorySegment keys, int start, int end) {
    product.multiply(
        false,
        true,
        end - start,
        end,
        shape.headSize(),
        scale,
        queries,
        shape.queryWidth(),
        keys,
        shape.keyWidth(),
        0,
        weights,
        end);
    kernels.causalSoftmax(weights, end - start, end, start);
  }

  /**
   * Writes the gradients of queries, keys and values.
   *
   * @param delta gradient of the joined heads
   */
  void backward(
      MemorySegment queries,
      MemorySegment keys,
      MemorySegment values,
      MemorySegment delta,
      MemorySegment queryGradient,
      MemorySegment keyGradient,
      MemorySegment valueGradient) {
    keyGradient.fill((byte) 0);
    valueGradient.fill((byte) 0);
    for (int head = 0; head < shape.heads(); head++) {
      long key = keyOffset(head);
      for (int start = 0; start < length; start += TILE) {
        int end = Math.min(length, start + TILE);
        long query = queryOffset(head, start);
        attend(queries.asSlice(query), keys.asSlice(key), start, end);
        backward(
            queries.asSlice(query),
            keys.asSlice(key),
            values.asSlice(key),
            delta.asSlice(query),
            queryGradient.asSlice(query),
            keyGradient.asSlice(key),
            valueGradient.asSlice(key),
            end - start,
            end);
      }
    }
  }

  /** One tile of one head, whose softmax is in {@link #weights}. */
  private void backward(
      MemorySegment queries,
      MemorySegment keys,
      MemorySegment values,
      MemorySegment delta,
      MemorySegment queryGradient,
      MemorySegment keyGradient,
      MemorySegment valueGradient,
      int rows,
      int seen) {
    int size = shape.headSize();
    int width = shape.queryWidth();
    int keyWidth = shape.keyWidth();
    // dv += p^T delta
    product.multiply(
        true, false, seen, size, rows, 1, weights, seen, delta, width, 1, valueGradient, keyWidth);
    // dp = delta v^T
    product.multiply(
        false, true, rows, seen, size, 1, delta, width, values, keyWidth, 0, deltas, seen);
    kernels.softmaxBackward(weights, deltas, rows, seen);
    // dq = ds k / sqrt(size)
    product.multiply(
        false,
        false,
        rows,
        size,
        seen,
        scale,
        deltas,
        seen,
        keys,
        keyWidth,
        0,
        queryGradient,
        width);
    // dk += ds^T q / sqrt(size)
    product.multiply(
        true,
        false,
        seen,
        size,
        rows,
        scale,
        deltas,
        seen,
        queries,
        width,
        1,
        keyGradient,
        keyWidth);
  }

  private long queryOffset(int head, int position) {
    return ((long) position * shape.queryWidth() + (long) head * shape.headSize()) * Float.BYTES;
  }

  private long keyOffset(int head) {
    int sharing = shape.heads() / shape.kvHeads();
    return (long) (head / sharing) * shape.headSize() * Float.BYTES;
  }
}
