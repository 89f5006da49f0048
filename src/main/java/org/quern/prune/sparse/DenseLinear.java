package org.quern.prune.sparse;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.Tensor;

/** A linear layer over dense weights: what a sparse one is measured against. */
public final class DenseLinear extends Linear {
  private final Tensor weights;

  private DenseLinear(
      Arena arena, Tensor weights, @Nullable Tensor bias, int threads, @Nullable Tier tier) {
    super(
        arena,
        weights.type(),
        (int) weights.dim(0),
        (int) weights.dim(1),
        MaskedRows.isFinite(weights.memory(), weights.type(), weights.size()),
        bias,
        threads,
        tier);
    this.weights = weights;
  }

  /** A layer without bias, on one thread and the best tier. */
  public static DenseLinear create(Arena arena, Tensor weights) {
    return create(arena, weights, null, 1, null);
  }

  /**
   * A layer.
   *
   * @param arena gives the scratch memory
   * @param weights F32, F16 or BF16 [outputs, inputs], contiguous, not copied; those of F16 are
   *     looked at once and must not become infinite or NaN later
   * @param bias F32 [outputs], not copied, or null for none
   * @param threads most threads that may work at a time, at least 1
   * @param tier the tier to use, or null for the best
   * @throws IllegalArgumentException where the weights or the bias do not fit or {@code threads <
   *     1}
   * @throws IllegalStateException where the tier cannot run here
   */
  public static DenseLinear create(
      Arena arena, Tensor weights, @Nullable Tensor bias, int threads, @Nullable Tier tier) {
    SparseMatrix.checkDense(weights);
    SparseMatrix.checkPart("weights", weights, null, -1, -1);
    return new DenseLinear(arena, weights, bias, threads, tier);
  }

  /** The weights. */
  public Tensor weights() {
    return weights;
  }

  @Override
  public long bytes() {
    return weights.size() * weights.type().bytes();
  }

  @Override
  void product(MemorySegment x, int from, int to, MemorySegment y) {
    kernels.multiply(weights, x, from, to, y);
  }

  @Override
  void expand(int from, int to, MemorySegment panel, int stride) {
    int n = inputs();
    long rowBytes = (long) n * type().bytes();
    for (int row = from; row < to; row++) {
      long at = (long) (row - from) * stride * Float.BYTES;
      Conversions.toFloat(weights.memory(), row * rowBytes, type(), panel, at, n);
      panel.asSlice(at + (long) n * Float.BYTES, (long) (stride - n) * Float.BYTES).fill((byte) 0);
    }
  }
}
