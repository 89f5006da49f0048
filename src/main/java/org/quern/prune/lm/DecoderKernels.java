package org.quern.prune.lm;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.Tier;

/**
 * What a decoder computes beside its matrix products, and its gradients. All arrays are F32 in
 * native memory, rows without gaps unless a stride is given. Every method is memory bound and
 * writes in place or over its last argument; arrays do not overlap.
 *
 * <p>Sources: Zhang and Sennrich, arXiv 1910.07467 (RMS norm); Su et al., arXiv 2104.09864 (rotary
 * positions); Shazeer, arXiv 2002.05202 (gated MLP); gradients by the chain rule.
 */
interface DecoderKernels {
  /** The kernels of a tier. */
  static DecoderKernels of(Tier tier) {
    return tier == Tier.VECTOR ? VectorDecoderKernels.INSTANCE : ScalarDecoderKernels.INSTANCE;
  }

  /**
   * {@code y = r x gain} for every row of {@code width} elements, {@code r = 1 / sqrt(mean(x^2) +
   * epsilon)}. Reads x twice and gain, writes y; 4 flops per element.
   */
  void norm(
      MemorySegment x, MemorySegment gain, MemorySegment y, int rows, int width, double epsilon);

  /**
   * The gradient of {@link #norm}, added to that of its input: with {@code e = gain delta}, {@code
   * gradient += r e - x r^3 mean(e x)}. Reads x, gain and delta twice, reads and writes the
   * gradient; 10 flops per element.
   *
   * @param delta gradient of y
   */
  void normBackward(
      MemorySegment x,
      MemorySegment gain,
      MemorySegment delta,
      MemorySegment gradient,
      int rows,
      int width,
      double epsilon);

  /**
   * Turns every pair {@code (i, i + size / 2)} of every head by the angle of its position, or back:
   * {@code (a, b) <- (a cos - b sin, b cos + a sin)}, for a way back with {@code -sin}. The way
   * back is the gradient of the way there. Reads and writes x; the tables are shared by the heads;
   * 3 flops per element.
   *
   * @param x [positions, heads, size]
   * @param cosines [positions, size / 2]
   * @param sines [positions, size / 2]
   */
  void rotate(
      MemorySegment x,
      MemorySegment cosines,
      MemorySegment sines,
      int positions,
      int heads,
      int size,
      boolean back);

  /**
   * Softmax of the first {@code first + row + 1} elements of every row; the rest of its {@code
   * columns} becomes 0. Reads the scores three times and writes them twice; an exponential and 3
   * flops per element.
   *
   * @param scores [rows, columns]
   * @param first position of row 0: how many elements beside its own it sees
   */
  void causalSoftmax(MemorySegment scores, int rows, int columns, int first);

  /**
   * The gradient of a softmax in place: {@code delta <- p (delta - sum(p delta))} for every row.
   * Reads both twice, writes delta; 4 flops per element.
   *
   * @param p the softmax, [rows, columns]
   * @param delta gradient of p, then of the scores, [rows, columns]
   */
  void softmaxBackward(MemorySegment p, MemorySegment delta, int rows, int columns);

  /**
   * {@code y = silu(gate) up} for n elements, {@code silu(x) = x / (1 + exp(-x))}. Reads 8 bytes
   * per element and writes 4; an exponential and 4 flops.
   */
  void gate(MemorySegment gate, MemorySegment up, MemorySegment y, int n);

  /**
   * The gradient of {@link #gate} in place: with {@code s = 1 / (1 + exp(-gate))}, {@code gate <-
   * delta up s (1 + gate (1 - s))} and {@code up <- delta gate s}. Reads 12 bytes per element and
   * writes 8; an exponential and some 10 flops.
   *
   * @param delta gradient of y
   */
  void gateBackward(MemorySegment gate, MemorySegment up, MemorySegment delta, int n);

  /**
   * How much a token surprises: {@code -log p} of it, p the softmax of n scores. Reads them twice;
   * an exponential and 3 flops for each.
   *
   * @param scores n floats at byte {@code at}
   */
  double surprise(MemorySegment scores, long at, int n, int token);

  /**
   * The surprise, and its gradient in place of the scores: {@code scores <- factor (p -
   * onehot(token))}. Reads the scores three times and writes them twice; an exponential and 4 flops
   * for each.
   */
  double surpriseGradient(MemorySegment scores, long at, int n, int token, float factor);

  /**
   * The scores of one query: {@code scores[j] = scale * sum(query key[j])} for every position. 2
   * size flops and 4 size bytes for each.
   *
   * @param query [size]
   * @param keys [positions, stride], the first size of each row
   * @param scores [positions]
   */
  void score(
      MemorySegment query,
      MemorySegment keys,
      int stride,
      int positions,
      int size,
      float scale,
      MemorySegment scores);

  /**
   * The mean that one softmax gives: {@code y = sum(weights[j] values[j])} over all positions. 2
   * size flops and 4 size bytes for each.
   *
   * @param weights [positions]
   * @param values [positions, stride], the first size of each row
   * @param y [size]
   */
  void mix(
      MemorySegment weights,
      MemorySegment values,
      int stride,
      int positions,
      int size,
      MemorySegment y);
}
