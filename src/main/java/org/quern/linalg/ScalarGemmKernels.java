package org.quern.linalg;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

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
      long a,
      long lda,
      long b,
      long ldb,
      float beta,
      long c,
      long ldc,
      long diagonal,
      long workspace) {
    MemorySegment left = Matrices.view(a, transposeA ? k : m, transposeA ? m : k, lda);
    MemorySegment right = Matrices.view(b, transposeB ? n : k, transposeB ? k : n, ldb);
    MemorySegment result = Matrices.view(c, m, n, ldc);
    for (int i = 0; i < m; i++) {
      long columns = Math.min(n, i + diagonal + 1);
      for (int j = 0; j < columns; j++) {
        double sum = 0;
        for (int p = 0; p < k; p++) {
          long x = transposeA ? p * lda + i : i * lda + p;
          long y = transposeB ? j * ldb + p : p * ldb + j;
          sum += (double) left.getAtIndex(FLOAT, x) * right.getAtIndex(FLOAT, y);
        }
        long at = i * ldc + j;
        double kept = beta == 0 ? 0 : (double) beta * result.getAtIndex(FLOAT, at);
        result.setAtIndex(FLOAT, at, (float) (alpha * sum + kept));
      }
    }
  }
}
