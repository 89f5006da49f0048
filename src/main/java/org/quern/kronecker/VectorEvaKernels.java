package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.vector.VectorLanes;

/**
 * The Vector API tier. The first pass multiplies in binary64, because its two sums are subtracted
 * from one another and nearly cancel where G is close to g a'.
 */
final class VectorEvaKernels implements EvaKernels {
  static final VectorEvaKernels INSTANCE = new VectorEvaKernels();

  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;

  /** As many floats as {@link #D} has doubles. */
  private static final VectorSpecies<Float> HALF =
      VectorSpecies.of(float.class, VectorShape.forBitSize(D.vectorBitSize() / 2));

  private static final int LANES = D.length();

  private VectorEvaKernels() {}

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
      MemorySegment base = NativeViews.base(matrix);
      long row = NativeViews.at(matrix, r * stride, (long) columns * Float.BYTES);
      measureRow(base, row, Math.min(columns, 1 << 24), g[r], a, out, at);
    }
  }

  private static void measureRow(
      MemorySegment x, long row, int columns, double g, double[] a, double[] out, int at) {
    DoubleVector p0 = DoubleVector.zero(D);
    DoubleVector p1 = DoubleVector.zero(D);
    DoubleVector s0 = DoubleVector.zero(D);
    DoubleVector s1 = DoubleVector.zero(D);
    int j = 0;
    for (; j <= columns - 2 * LANES; j += 2 * LANES) {
      long place = row + (long) j * Float.BYTES;
      DoubleVector x0 = load(x, place);
      DoubleVector x1 = load(x, place + (long) LANES * Float.BYTES);
      p0 = x0.fma(DoubleVector.fromArray(D, a, j), p0);
      p1 = x1.fma(DoubleVector.fromArray(D, a, j + LANES), p1);
      s0 = x0.fma(x0, s0);
      s1 = x1.fma(x1, s1);
    }
    double product = VectorLanes.sum(p0.add(p1));
    double squares = VectorLanes.sum(s0.add(s1));
    for (; j < columns; j++) {
      double value = x.get(JAVA_FLOAT_UNALIGNED, row + (long) j * Float.BYTES);
      product += value * a[j];
      squares += value * value;
    }
    out[at] += g * product;
    out[at + 1] += squares;
  }

  private static DoubleVector load(MemorySegment x, long at) {
    return (DoubleVector) FloatVector.fromMemorySegment(HALF, x, at, LITTLE_ENDIAN).castShape(D, 0);
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
      MemorySegment base = NativeViews.base(matrix);
      long row = NativeViews.at(matrix, r * stride, (long) columns * Float.BYTES);
      applyRow(base, row, Math.min(columns, 1 << 24), (float) (-weight * g[r]), a, scale);
    }
  }

  private static void applyRow(
      MemorySegment x, long row, int columns, float step, float[] a, float scale) {
    FloatVector steps = FloatVector.broadcast(F, step);
    int bound = F.loopBound(columns);
    for (int j = 0; j < bound; j += F.length()) {
      long place = row + (long) j * Float.BYTES;
      FloatVector.fromArray(F, a, j)
          .fma(steps, FloatVector.fromMemorySegment(F, x, place, LITTLE_ENDIAN))
          .mul(scale)
          .intoMemorySegment(x, place, LITTLE_ENDIAN);
    }
    for (int j = bound; j < columns; j++) {
      long place = row + (long) j * Float.BYTES;
      float value = x.get(JAVA_FLOAT_UNALIGNED, place);
      x.set(JAVA_FLOAT_UNALIGNED, place, scale * Math.fma(a[j], step, value));
    }
  }
}
