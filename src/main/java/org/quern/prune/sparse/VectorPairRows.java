package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import org.quern.runtime.NativeViews;

/**
 * The whole pairs of vectors of four rows of a sparse matrix of 16 bits at a time, or of two of a
 * dense one, times a vector, where the compiler expands shorts. Two columns share a lane of 32 bits,
 * of which shifts and masks make two F32; the vector has the even columns of every 2 L before the odd
 * ones, with L lanes. Columns j and j + 1 of these add to lane j / 2 % L of the row's sums, in
 * ascending order in every one of the loops.
 */
final class VectorPairRows {
  private VectorPairRows() {}

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
      FloatVector e = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR * i);
      FloatVector o = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR * i + VectorSteps.VECTOR);
      int b0 = VectorSteps.pairBits(mask, m0, i);
      IntVector w0 = VectorSteps.expandPairs(values, v0, p0, b0);
      a0 = VectorSteps.upperBfloat(w0).fma(o, VectorSteps.lowerBfloat(w0).fma(e, a0));
      p0 += 2 * Integer.bitCount(b0);
      int b1 = VectorSteps.pairBits(mask, m1, i);
      IntVector w1 = VectorSteps.expandPairs(values, v1, p1, b1);
      a1 = VectorSteps.upperBfloat(w1).fma(o, VectorSteps.lowerBfloat(w1).fma(e, a1));
      p1 += 2 * Integer.bitCount(b1);
      int b2 = VectorSteps.pairBits(mask, m2, i);
      IntVector w2 = VectorSteps.expandPairs(values, v2, p2, b2);
      a2 = VectorSteps.upperBfloat(w2).fma(o, VectorSteps.lowerBfloat(w2).fma(e, a2));
      p2 += 2 * Integer.bitCount(b2);
      int b3 = VectorSteps.pairBits(mask, m3, i);
      IntVector w3 = VectorSteps.expandPairs(values, v3, p3, b3);
      a3 = VectorSteps.upperBfloat(w3).fma(o, VectorSteps.lowerBfloat(w3).fma(e, a3));
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
      FloatVector e = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR * i);
      FloatVector o = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR * i + VectorSteps.VECTOR);
      int b0 = VectorSteps.pairBits(mask, m0, i);
      IntVector w0 = VectorSteps.expandPairs(values, v0, p0, b0);
      a0 = VectorSteps.upperHalf(w0).fma(o, VectorSteps.lowerHalf(w0).fma(e, a0));
      p0 += 2 * Integer.bitCount(b0);
      int b1 = VectorSteps.pairBits(mask, m1, i);
      IntVector w1 = VectorSteps.expandPairs(values, v1, p1, b1);
      a1 = VectorSteps.upperHalf(w1).fma(o, VectorSteps.lowerHalf(w1).fma(e, a1));
      p1 += 2 * Integer.bitCount(b1);
      int b2 = VectorSteps.pairBits(mask, m2, i);
      IntVector w2 = VectorSteps.expandPairs(values, v2, p2, b2);
      a2 = VectorSteps.upperHalf(w2).fma(o, VectorSteps.lowerHalf(w2).fma(e, a2));
      p2 += 2 * Integer.bitCount(b2);
      int b3 = VectorSteps.pairBits(mask, m3, i);
      IntVector w3 = VectorSteps.expandPairs(values, v3, p3, b3);
      a3 = VectorSteps.upperHalf(w3).fma(o, VectorSteps.lowerHalf(w3).fma(e, a3));
      p3 += 2 * Integer.bitCount(b3);
    }
    a0.intoArray(sums, 0);
    a1.intoArray(sums, VectorSteps.LANES);
    a2.intoArray(sums, 2 * VectorSteps.LANES);
    a3.intoArray(sums, 3 * VectorSteps.LANES);
  }

  /** Dense rows of BF16, in turns of two pairs. */
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
      FloatVector e0 = VectorSteps.load(x, at);
      FloatVector o0 = VectorSteps.load(x, at + VectorSteps.VECTOR);
      FloatVector e1 = VectorSteps.load(x, at + 2 * VectorSteps.VECTOR);
      FloatVector o1 = VectorSteps.load(x, at + 3 * VectorSteps.VECTOR);
      IntVector u0 = VectorSteps.loadPairs(w, p);
      IntVector v0 = VectorSteps.loadPairs(w, q);
      IntVector u1 = VectorSteps.loadPairs(w, p + VectorSteps.VECTOR);
      IntVector v1 = VectorSteps.loadPairs(w, q + VectorSteps.VECTOR);
      a = VectorSteps.upperBfloat(u0).fma(o0, VectorSteps.lowerBfloat(u0).fma(e0, a));
      b = VectorSteps.upperBfloat(v0).fma(o0, VectorSteps.lowerBfloat(v0).fma(e0, b));
      a = VectorSteps.upperBfloat(u1).fma(o1, VectorSteps.lowerBfloat(u1).fma(e1, a));
      b = VectorSteps.upperBfloat(v1).fma(o1, VectorSteps.lowerBfloat(v1).fma(e1, b));
    }
    a.intoArray(sums, 0);
    b.intoArray(sums, VectorSteps.LANES);
  }

  /** Dense rows of finite F16, in turns of two pairs. */
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
      FloatVector e0 = VectorSteps.load(x, at);
      FloatVector o0 = VectorSteps.load(x, at + VectorSteps.VECTOR);
      FloatVector e1 = VectorSteps.load(x, at + 2 * VectorSteps.VECTOR);
      FloatVector o1 = VectorSteps.load(x, at + 3 * VectorSteps.VECTOR);
      IntVector u0 = VectorSteps.loadPairs(w, p);
      IntVector v0 = VectorSteps.loadPairs(w, q);
      IntVector u1 = VectorSteps.loadPairs(w, p + VectorSteps.VECTOR);
      IntVector v1 = VectorSteps.loadPairs(w, q + VectorSteps.VECTOR);
      a = VectorSteps.upperHalf(u0).fma(o0, VectorSteps.lowerHalf(u0).fma(e0, a));
      b = VectorSteps.upperHalf(v0).fma(o0, VectorSteps.lowerHalf(v0).fma(e0, b));
      a = VectorSteps.upperHalf(u1).fma(o1, VectorSteps.lowerHalf(u1).fma(e1, a));
      b = VectorSteps.upperHalf(v1).fma(o1, VectorSteps.lowerHalf(v1).fma(e1, b));
    }
    a.intoArray(sums, 0);
    b.intoArray(sums, VectorSteps.LANES);
  }
}
