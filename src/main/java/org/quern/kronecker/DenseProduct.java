package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * {@code P = (L G) R} for factors of which one at least keeps a full matrix, by dense products; 2 o
 * i (o + i) flops, whichever comes first. P is kept here, so that writing its rows is a copy.
 */
final class DenseProduct {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

  private final Arena arena;
  private final int o;
  private final int i;
  private final int columns;
  private final Gemm gemm;
  private final LowRankKernels kernels;
  private final FactorProduct left;
  private final FactorProduct right;

  /** G, then P. */
  private final MemorySegment p;

  private final MemorySegment product;

  /** Rows of samples, and their products. */
  private MemorySegment samples = MemorySegment.NULL;

  private MemorySegment outputs = MemorySegment.NULL;
  private MemorySegment inputs = MemorySegment.NULL;
  private int sampleRoom;

  private double gSquareW;
  private double gSquareB;
  private double pSquareW;
  private double pSquareB;

  DenseProduct(
      Arena arena,
      InverseFactor left,
      InverseFactor right,
      boolean bias,
      int threads,
      @Nullable Tier tier) {
    this.arena = arena;
    this.o = left.dimension();
    this.i = right.dimension();
    this.columns = bias ? i - 1 : i;
    this.gemm = Gemm.create(arena, threads, tier);
    this.kernels =
        gemm.tier() == Tier.VECTOR
            ? VectorLowRankKernels.INSTANCE
            : ScalarLowRankKernels.INSTANCE;
    this.left = new FactorProduct(arena, left, i, gemm);
    this.right = new FactorProduct(arena, right, o, gemm);
    this.p = arena.allocate((long) Float.BYTES * o * i, Tensor.ALIGNMENT);
    this.product = arena.allocate((long) Float.BYTES * o * i, Tensor.ALIGNMENT);
  }
}
