package org.quern.linalg;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.quern.runtime.NativeViews;

/** The product as its formula, accumulated in double precision and rounded once: the oracle. */
final class ScalarGemmKernels implements GemmKernels {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

  @Override
  public long workspaceBytes() {
    return 0;
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
    MemorySegment left = NativeViews.base(a);
    MemorySegment right = NativeViews.base(b);
    MemorySegment result = NativeViews.base(c);
    long aBytes = Matrices.bytes(transposeA ? k : m, transposeA ? m : k, lda);
    long bBytes = Matrices.bytes(transposeB ? n : k, transposeB ? k : n, ldb);
    long aAt = NativeViews.at(a, aOffset, aBytes);
    long bAt = NativeViews.at(b, bOffset, bBytes);
    long cAt = NativeViews.at(c, cOffset, Matrices.bytes(m, n, ldc));
    for (int i = 0; i < m; i++) {
      long columns = Math.min(n, i + diagonal + 1);
      for (int j = 0; j < columns; j++) {
        double sum = 0;
        for (int p = 0; p < k; p++) {
          long x = aAt + Float.BYTES * (transposeA ? p * lda + i : i * lda + p);
          long y = bAt + Float.BYTES * (transposeB ? j * ldb + p : p * ldb + j);
          sum += (double) left.get(FLOAT, x) * right.get(FLOAT, y);
        }
        long at = cAt + Float.BYTES * (i * ldc + j);
        double kept = beta == 0 ? 0 : (double) beta * result.get(FLOAT, at);
        result.set(FLOAT, at, (float) (alpha * sum + kept));
      }
    }
  }
}
