package org.quern.linalg;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import org.quern.runtime.NativeViews;

/**
 * Products by OpenBLAS, where its interface says what {@link GemmKernels} says; by other kernels
 * where it does not: triangles, {@code alpha = 0}, for which it reads neither A nor B, and strides
 * beyond its integers.
 */
final class OpenBlasGemmKernels implements GemmKernels {
  private static final int ROW_MAJOR = 101;
  private static final int AS_STORED = 111;
  private static final int TRANSPOSED = 112;

  private final MethodHandle product;
  private final GemmKernels others;

  OpenBlasGemmKernels(MethodHandle product, GemmKernels others) {
    this.product = product;
    this.others = others;
  }

  @Override
  public long workspaceBytes() {
    return others.workspaceBytes();
  }

  @Override
  public void multiply(
      boolean transposeA,
      boolean transposeB,
      int m,
      int n,
      int k,
      float alpha,
      MemorySegment a,
      long aOffset,
      long lda,
      MemorySegment b,
      long bOffset,
      long ldb,
      float beta,
      MemorySegment c,
      long cOffset,
      long ldc,
      long diagonal,
      MemorySegment workspace,
      long workspaceOffset) {
    boolean served =
        diagonal == FULL
            && alpha != 0
            && m > 0
            && n > 0
            && k > 0
            && Math.max(lda, Math.max(ldb, ldc)) <= Integer.MAX_VALUE;
    if (!served) {
      others.multiply(
          transposeA,
          transposeB,
          m,
          n,
          k,
          alpha,
          a,
          aOffset,
          lda,
          b,
          bOffset,
          ldb,
          beta,
          c,
          cOffset,
          ldc,
          diagonal,
          workspace,
          workspaceOffset);
      return;
    }
    try {
      product.invokeExact(
          ROW_MAJOR,
          transposeA ? TRANSPOSED : AS_STORED,
          transposeB ? TRANSPOSED : AS_STORED,
          m,
          n,
          k,
          alpha,
          NativeViews.at(a, aOffset, 0),
          (int) lda,
          NativeViews.at(b, bOffset, 0),
          (int) ldb,
          beta,
          NativeViews.at(c, cOffset, 0),
          (int) ldc);
    } catch (Throwable impossible) { // a C function throws nothing
      throw new AssertionError(impossible);
    }
  }
}
