package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.vector.VectorLanes;

/** Whole vectors, then single floats. */
final class VectorRefitKernels implements RefitKernels {
  static final VectorRefitKernels INSTANCE = new VectorRefitKernels();

  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;

  /** As many floats as D has doubles. */
  private static final VectorSpecies<Float> HALF =
      VectorSpecies.of(float.class, VectorShape.forBitSize(Math.max(64, F.vectorBitSize() / 2)));

  private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
  private static final int LANES = F.length();
  private static final int DOUBLES = D.length();

  private VectorRefitKernels() {}

  @Override
  public double dot(MemorySegment x, long xOffset, MemorySegment y, long yOffset, int n) {
    MemorySegment left = NativeViews.base(x);
    MemorySegment right = NativeViews.base(y);
    long bytes = (long) Float.BYTES * n;
    long xAt = NativeViews.at(x, xOffset, bytes);
    long yAt = NativeViews.at(y, yOffset, bytes);
    DoubleVector first = DoubleVector.zero(D);
    DoubleVector second = first;
    int j = 0;
    for (; j <= n - 2 * DOUBLES; j += 2 * DOUBLES) {
      long at = (long) Float.BYTES * j;
      long next = at + (long) Float.BYTES * DOUBLES;
      first = doubles(left, xAt + at).fma(doubles(right, yAt + at), first);
      second = doubles(left, xAt + next).fma(doubles(right, yAt + next), second);
    }
    double sum = VectorLanes.sum(first.add(second));
    for (; j < n; j++) {
      long at = (long) Float.BYTES * j;
      sum += (double) left.get(JAVA_FLOAT, xAt + at) * right.get(JAVA_FLOAT, yAt + at);
    }
    return sum;
  }

  private static DoubleVector doubles(MemorySegment memory, long at) {
    return (DoubleVector)
        FloatVector.fromMemorySegment(HALF, memory, at, LE).convertShape(VectorOperators.F2D, D, 0);
  }

  @Override
  public void add(float a, MemorySegment x, long xOffset, MemorySegment y, long yOffset, int n) {
    MemorySegment from = NativeViews.base(x);
    MemorySegment to = NativeViews.base(y);
    long bytes = (long) Float.BYTES * n;
    long xAt = NativeViews.at(x, xOffset, bytes);
    long yAt = NativeViews.at(y, yOffset, bytes);
    int j = 0;
    for (; j <= n - LANES; j += LANES) {
      long at = (long) Float.BYTES * j;
      FloatVector.fromMemorySegment(F, to, yAt + at, LE)
          .add(FloatVector.fromMemorySegment(F, from, xAt + at, LE).mul(a))
          .intoMemorySegment(to, yAt + at, LE);
    }
    for (; j < n; j++) {
      long at = (long) Float.BYTES * j;
      float value = to.get(JAVA_FLOAT, yAt + at) + a * from.get(JAVA_FLOAT, xAt + at);
      to.set(JAVA_FLOAT, yAt + at, value);
    }
  }

  @Override
  public void multiply(
      MemorySegment x,
      long xOffset,
      MemorySegment y,
      long yOffset,
      MemorySegment z,
      long zOffset,
      int n) {
    MemorySegment left = NativeViews.base(x);
    MemorySegment right = NativeViews.base(y);
    MemorySegment out = NativeViews.base(z);
    long bytes = (long) Float.BYTES * n;
    long xAt = NativeViews.at(x, xOffset, bytes);
    long yAt = NativeViews.at(y, yOffset, bytes);
    long zAt = NativeViews.at(z, zOffset, bytes);
    int j = 0;
    for (; j <= n - LANES; j += LANES) {
      long at = (long) Float.BYTES * j;
      FloatVector.fromMemorySegment(F, left, xAt + at, LE)
          .mul(FloatVector.fromMemorySegment(F, right, yAt + at, LE))
          .intoMemorySegment(out, zAt + at, LE);
    }
    for (; j < n; j++) {
      long at = (long) Float.BYTES * j;
      out.set(
          JAVA_FLOAT, zAt + at, left.get(JAVA_FLOAT, xAt + at) * right.get(JAVA_FLOAT, yAt + at));
    }
  }
}
