package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import org.quern.runtime.NativeViews;

/**
 * The whole vectors of four rows of a sparse matrix of 16 bits at a time, or of two of a dense one,
 * times a vector, where the compiler expands ints only: every column gets a lane of 32 bits before it
 * is expanded. The order of the sums is that of {@link VectorFloatRows}.
 */
final class VectorShortRows {
  private VectorShortRows() {}

  /** Rows of BF16 with any values. */
  static void sparseBfloat(
      MemorySegment valueMemory,
      long values0,
      long values1,
      long values2,
      long values3,
      MemorySegment maskMemory,
      long mask0,
      long mask1,
      long mask2,
      long mask3,
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
    long v2 = VectorSteps.known(values2);
    long m2 = VectorSteps.known(mask2);
    long v3 = VectorSteps.known(values3);
    long m3 = VectorSteps.known(mask3);
    int p0 = 0;
    int p1 = 0;
    int p2 = 0;
    int p3 = 0;
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
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
      int b2 = VectorSteps.bits(mask, m2, i);
      IntVector w2 = VectorSteps.expandShorts(values, v2, p2, b2);
      a2 = VectorSteps.lowerBfloat(w2).fma(u, a2);
      p2 += 2 * Integer.bitCount(b2);
      int b3 = VectorSteps.bits(mask, m3, i);
      IntVector w3 = VectorSteps.expandShorts(values, v3, p3, b3);
      a3 = VectorSteps.lowerBfloat(w3).fma(u, a3);
      p3 += 2 * Integer.bitCount(b3);
    }
    a0.intoArray(sums, 0);
    a1.intoArray(sums, VectorSteps.LANES);
    a2.intoArray(sums, 2 * VectorSteps.LANES);
    a3.intoArray(sums, 3 * VectorSteps.LANES);
  }

  /** Rows of finite F16 with any values. */
  static void sparseHalf(
      MemorySegment valueMemory,
      long values0,
      long values1,
      long values2,
      long values3,
      MemorySegment maskMemory,
      long mask0,
      long mask1,
      long mask2,
      long mask3,
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
    long v2 = VectorSteps.known(values2);
    long m2 = VectorSteps.known(mask2);
    long v3 = VectorSteps.known(values3);
    long m3 = VectorSteps.known(mask3);
    int p0 = 0;
    int p1 = 0;
    int p2 = 0;
    int p3 = 0;
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
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
      int b2 = VectorSteps.bits(mask, m2, i);
      IntVector w2 = VectorSteps.expandShorts(values, v2, p2, b2);
      a2 = VectorSteps.lowerHalf(w2).fma(u, a2);
      p2 += 2 * Integer.bitCount(b2);
      int b3 = VectorSteps.bits(mask, m3, i);
      IntVector w3 = VectorSteps.expandShorts(values, v3, p3, b3);
      a3 = VectorSteps.lowerHalf(w3).fma(u, a3);
      p3 += 2 * Integer.bitCount(b3);
    }
    a0.intoArray(sums, 0);
    a1.intoArray(sums, VectorSteps.LANES);
    a2.intoArray(sums, 2 * VectorSteps.LANES);
    a3.intoArray(sums, 3 * VectorSteps.LANES);
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
      FloatVector x2 = VectorSteps.load(x, at + 2 * VectorSteps.VECTOR);
      a = VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, p + 2 * VectorSteps.VECTOR / 2)).fma(x2, a);
      b = VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, q + 2 * VectorSteps.VECTOR / 2)).fma(x2, b);
      FloatVector x3 = VectorSteps.load(x, at + 3 * VectorSteps.VECTOR);
      a = VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, p + 3 * VectorSteps.VECTOR / 2)).fma(x3, a);
      b = VectorSteps.lowerBfloat(VectorSteps.loadShorts(w, q + 3 * VectorSteps.VECTOR / 2)).fma(x3, b);
    }
    a.intoArray(sums, 0);
    b.intoArray(sums, VectorSteps.LANES);
  }

  /** Dense rows of finite F16, in turns of four vectors. */
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
    for (int i = 0; i < Math.min(turns, VectorSteps.MOST_TURNS); i++) {
      long p = upper + 2L * VectorSteps.TURN * i;
      long q = lower + 2L * VectorSteps.TURN * i;
      long at = xAt + 4L * VectorSteps.TURN * i;
      FloatVector x0 = VectorSteps.load(x, at);
      a = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, p)).fma(x0, a);
      b = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, q)).fma(x0, b);
      FloatVector x1 = VectorSteps.load(x, at + VectorSteps.VECTOR);
      a = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, p + VectorSteps.VECTOR / 2)).fma(x1, a);
      b = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, q + VectorSteps.VECTOR / 2)).fma(x1, b);
      FloatVector x2 = VectorSteps.load(x, at + 2 * VectorSteps.VECTOR);
      a = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, p + 2 * VectorSteps.VECTOR / 2)).fma(x2, a);
      b = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, q + 2 * VectorSteps.VECTOR / 2)).fma(x2, b);
      FloatVector x3 = VectorSteps.load(x, at + 3 * VectorSteps.VECTOR);
      a = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, p + 3 * VectorSteps.VECTOR / 2)).fma(x3, a);
      b = VectorSteps.lowerHalf(VectorSteps.loadShorts(w, q + 3 * VectorSteps.VECTOR / 2)).fma(x3, b);
    }
    a.intoArray(sums, 0);
    b.intoArray(sums, VectorSteps.LANES);
  }
}
