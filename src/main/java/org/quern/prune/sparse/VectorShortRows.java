package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import org.quern.runtime.NativeViews;

/**
 * The whole vectors of two rows of a matrix of 16 bits at a time times a vector, where the compiler
 * expands ints only: every column gets a lane of 32 bits before it is expanded. The order of the
 * sums is that of {@link VectorFloatRows}.
 */
final class VectorShortRows {
  private VectorShortRows() {}

  /** Rows of BF16 with any values. */
  static void sparseBfloat(
      MemorySegment valueMemory,
      long values0,
      long values1,
      MemorySegment maskMemory,
      long mask0,
      long mask1,
      MemorySegment vector,
      long xAt,
      int vectors,
      float[] sums) {
    MemorySegment values = NativeViews.base(valueMemory);
    MemorySegment mask = NativeViews.base(maskMemory);
    MemorySegment x = NativeViews.base(vector);
    long at = VectorSteps.known(xAt);
    long v0 = VectorSteps.known(values0);
    long m0 = VectorSteps.known(mask0);
    long v1 = VectorSteps.known(values1);
    long m1 = VectorSteps.known(mask1);
    int p0 = 0;
    int p1 = 0;
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    for (int i = 0; i < Math.min(vectors, VectorSteps.MOST); i++) {
      FloatVector u = VectorSteps.load(x, at + (long) VectorSteps.VECTOR * i);
      int b0 = VectorSteps.bits(mask, m0, i);
      IntVector w0 = VectorSteps.expandShorts(values, v0, p0, b0);
      a0 = VectorSteps.lowerBfloat(w0).fma(u, a0);
      p0 += 2 * Integer.bitCount(b0);
      int b1 = VectorSteps.bits(mask, m1, i);
      IntVector w1 = VectorSteps.expandShorts(values, v1, p1, b1);
      a1 = VectorSteps.lowerBfloat(w1).fma(u, a1);
      p1 += 2 * Integer.bitCount(b1);
    }
    a0.intoArray(sums, 0);
    a1.intoArray(sums, VectorSteps.LANES);
  }

  /** Rows of finite F16 with any values. */
  static void sparseHalf(
      MemorySegment valueMemory,
      long values0,
      long values1,
      MemorySegment maskMemory,
      long mask0,
      long mask1,
      MemorySegment vector,
      long xAt,
      int vectors,
      float[] sums) {
    MemorySegment values = NativeViews.base(valueMemory);
    MemorySegment mask = NativeViews.base(maskMemory);
    MemorySegment x = NativeViews.base(vector);
    long at = VectorSteps.known(xAt);
    long v0 = VectorSteps.known(values0);
    long m0 = VectorSteps.known(mask0);
    long v1 = VectorSteps.known(values1);
    long m1 = VectorSteps.known(mask1);
    int p0 = 0;
    int p1 = 0;
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    for (int i = 0; i < Math.min(vectors, VectorSteps.MOST); i++) {
      FloatVector u = VectorSteps.load(x, at + (long) VectorSteps.VECTOR * i);
      int b0 = VectorSteps.bits(mask, m0, i);
      IntVector w0 = VectorSteps.expandShorts(values, v0, p0, b0);
      a0 = VectorSteps.lowerHalf(w0).fma(u, a0);
      p0 += 2 * Integer.bitCount(b0);
      int b1 = VectorSteps.bits(mask, m1, i);
      IntVector w1 = VectorSteps.expandShorts(values, v1, p1, b1);
      a1 = VectorSteps.lowerHalf(w1).fma(u, a1);
      p1 += 2 * Integer.bitCount(b1);
    }
    a0.intoArray(sums, 0);
    a1.intoArray(sums, VectorSteps.LANES);
  }

  /** Dense rows of BF16, in turns of four vectors. */
  static void denseBfloat(
      MemorySegment matrix,
      long upper,
      long lower,
      MemorySegment vector,
      long xAt,
      int turns,
      float[] sums) {
    MemorySegment w = NativeViews.base(matrix);
    MemorySegment x = NativeViews.base(vector);
    FloatVector a = FloatVector.zero(VectorSteps.F);
    FloatVector b = a;
    for (int i = 0; i < Math.min(turns, VectorSteps.MOST_TURNS); i++) {
      long p = upper + 2L * VectorSteps.TURN * i;
      long q = lower + 2L * VectorSteps.TURN * i;
      long at = xAt + 4L * VectorSteps.TURN * i;
      FloatVector x0 = VectorSteps.load(x, at);
      a = VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, p)).fma(x0, a);
      b = VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, q)).fma(x0, b);
      FloatVector x1 = VectorSteps.load(x, at + VectorSteps.VECTOR);
      a = VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, p + VectorSteps.VECTOR / 2)).fma(x1, a);
      b = VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, q + VectorSteps.VECTOR / 2)).fma(x1, b);
      FloatVector x2 = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR);
      a =
          VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, p + 2L * VectorSteps.VECTOR / 2))
              .fma(x2, a);
      b =
          VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, q + 2L * VectorSteps.VECTOR / 2))
              .fma(x2, b);
      FloatVector x3 = VectorSteps.load(x, at + 3L * VectorSteps.VECTOR);
      a =
          VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, p + 3L * VectorSteps.VECTOR / 2))
              .fma(x3, a);
      b =
          VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, q + 3L * VectorSteps.VECTOR / 2))
              .fma(x3, b);
    }
    a.intoArray(sums, 0);
    b.intoArray(sums, VectorSteps.LANES);
  }

  /** Dense rows of finite F16, a vector at a time: turns of four are beyond what C2 inlines. */
  static void denseHalf(
      MemorySegment matrix,
      long upper,
      long lower,
      MemorySegment vector,
      long xAt,
      int turns,
      float[] sums) {
    MemorySegment w = NativeViews.base(matrix);
    MemorySegment x = NativeViews.base(vector);
    FloatVector a = FloatVector.zero(VectorSteps.F);
    FloatVector b = a;
    for (int i = 0; i < Math.min(4 * turns, VectorSteps.MOST_TURNS); i++) {
      long p = upper + 2L * VectorSteps.TURN / 4 * i;
      long q = lower + 2L * VectorSteps.TURN / 4 * i;
      long at = xAt + 4L * VectorSteps.TURN / 4 * i;
      FloatVector x0 = VectorSteps.load(x, at);
      a = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, p)).fma(x0, a);
      b = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, q)).fma(x0, b);
    }
    a.intoArray(sums, 0);
    b.intoArray(sums, VectorSteps.LANES);
  }
}
