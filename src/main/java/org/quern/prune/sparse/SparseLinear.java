package org.quern.prune.sparse;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * A linear layer over weights without their zeros: with half of them zero, it reads 2.125 bytes per
 * weight of F32 instead of 4, and 1.125 per weight of 16 bits instead of 2.
 *
 * <pre>{@code
 * SparseLinear layer = SparseLinear.create(arena, BitmaskMatrix.pack(weights, arena));
 * layer.multiply(x, y);
 * }</pre>
 */
public final class SparseLinear extends Linear {
  private final SparseMatrix weights;

  private SparseLinear(
      Arena arena, SparseMatrix weights, @Nullable Tensor bias, int threads, @Nullable Tier tier) {
    super(
        arena,
        weights.type(),
        weights.rows(),
        weights.columns(),
        MaskedRows.isFinite(weights.values, weights.type(), weights.valueCount()),
        bias,
        threads,
        tier);
    this.weights = weights;
  }

  /** A layer without bias, on one thread and the best tier. */
  public static SparseLinear create(Arena arena, SparseMatrix weights) {
    return create(arena, weights, null, 1, null);
  }

  /**
   * A layer.
   *
   * @param arena gives the scratch memory
   * @param weights the weights, which are not copied
   * @param bias F32 [outputs], not copied, or null for none
   * @param threads most threads that may work at a time, at least 1
   * @param tier the tier to use, or null for the best
   * @throws IllegalArgumentException where the bias does not fit or {@code threads < 1}
   * @throws IllegalStateException where the tier cannot run here
   */
  public static SparseLinear create(
      Arena arena, SparseMatrix weights, @Nullable Tensor bias, int threads, @Nullable Tier tier) {
    return new SparseLinear(arena, weights, bias, threads, tier);
  }

  /** The weights. */
  public SparseMatrix weights() {
    return weights;
  }

  @Override
  public long bytes() {
    return weights.bytes();
  }

  @Override
  void product(MemorySegment x, int from, int to, MemorySegment y) {
    kernels.multiply(weights, x, from, to, y);
  }

  @Override
  void expand(int from, int to, MemorySegment panel, int stride) {
    kernels.expand(weights, from, to, panel, stride);
  }
}
