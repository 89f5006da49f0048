package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;

/** The formulas as they read. */
final class ScalarEvaKernels implements EvaKernels {
  static final ScalarEvaKernels INSTANCE = new ScalarEvaKernels();

  private ScalarEvaKernels() {}

  @Override
  public void measure(
      MemorySegment matrix,
      long stride,
      int from,
      int to,
      int columns,
      double[] g,
      double[] a,
      double[] out,
      int at) {
    for (int r = from; r < to; r++) {
      double product = 0;
      double squares = 0;
      for (int j = 0; j < columns; j++) {
        double x = matrix.get(JAVA_FLOAT_UNALIGNED, r * stride + (long) j * Float.BYTES);
        product += x * a[j];
        squares += x * x;
      }
      out[at] += g[r] * product;
      out[at + 1] += squares;
    }
  }

  @Override
  public void apply(
      MemorySegment matrix,
      long stride,
      int from,
      int to,
      int columns,
      double[] g,
      float[] a,
      double weight,
      float scale) {
    for (int r = from; r < to; r++) {
      double step = weight * g[r];
      for (int j = 0; j < columns; j++) {
        long place = r * stride + (long) j * Float.BYTES;
        double x = matrix.get(JAVA_FLOAT_UNALIGNED, place);
        matrix.set(JAVA_FLOAT_UNALIGNED, place, (float) (scale * (x - step * a[j])));
      }
    }
  }
}
