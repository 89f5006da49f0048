package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import org.quern.runtime.NativeViews;

/**
 * The whole pairs of vectors of two rows of a matrix of 16 bits at a time times a vector, where the
 * compiler expands shorts. Two columns share a lane of 32 bits, of which shifts and masks make two
 * F32; the vector has the even columns of every 2 L before the odd ones, with L lanes. A row has
 * sums of its even and of its odd columns; column j adds to lane j / 2 % L of its own, in ascending
 * order in every one of the loops.
 */
final class VectorPairRows {
  private VectorPairRows() {}

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
    FloatVector c0 = a0;
    FloatVector c1 = a0;
    for (int i = 0; i < Math.min(vectors, VectorSteps.MOST); i++) {
      FloatVector e = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR * i);
      FloatVector o = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR * i + VectorSteps.VECTOR);
      int b0 = VectorSteps.pairBits(mask, m0, i);
      IntVector w0 = VectorSteps.expandPairs(values, v0, p0, b0);
      a0 = VectorSteps.lowerBfloat(w0).fma(e, a0);
      c0 = VectorSteps.upperBfloat(w0).fma(o, c0);
      p0 += 2 * Integer.bitCount(b0);
      int b1 = VectorSteps.pairBits(mask, m1, i);
      IntVector w1 = VectorSteps.expandPairs(values, v1, p1, b1);
      a1 = VectorSteps.lowerBfloat(w1).fma(e, a1);
      c1 = VectorSteps.upperBfloat(w1).fma(o, c1);
      p1 += 2 * Integer.bitCount(b1);
    }
    a0.intoArray(sums, 0);
    c0.intoArray(sums, VectorSteps.LANES);
    a1.intoArray(sums, 2 * VectorSteps.LANES);
    c1.intoArray(sums, 3 * VectorSteps.LANES);
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
    FloatVector c0 = a0;
    FloatVector c1 = a0;
    for (int i = 0; i < Math.min(vectors, VectorSteps.MOST); i++) {
      FloatVector e = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR * i);
      FloatVector o = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR * i + VectorSteps.VECTOR);
      int b0 = VectorSteps.pairBits(mask, m0, i);
      IntVector w0 = VectorSteps.expandPairs(values, v0, p0, b0);
      a0 = VectorSteps.lowerHalf(w0).fma(e, a0);
      c0 = VectorSteps.upperHalf(w0).fma(o, c0);
      p0 += 2 * Integer.bitCount(b0);
      int b1 = VectorSteps.pairBits(mask, m1, i);
      IntVector w1 = VectorSteps.expandPairs(values, v1, p1, b1);
      a1 = VectorSteps.lowerHalf(w1).fma(e, a1);
      c1 = VectorSteps.upperHalf(w1).fma(o, c1);
      p1 += 2 * Integer.bitCount(b1);
    }
    a0.intoArray(sums, 0);
    c0.intoArray(sums, VectorSteps.LANES);
    a1.intoArray(sums, 2 * VectorSteps.LANES);
    c1.intoArray(sums, 3 * VectorSteps.LANES);
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
    FloatVector c = a;
    FloatVector d = a;
    for (int i = 0; i < Math.min(turns, VectorSteps.MOST_TURNS); i++) {
      long p = upper + 2L * VectorSteps.TURN * i;
      long q = lower + 2L * VectorSteps.TURN * i;
      long at = xAt + 4L * VectorSteps.TURN * i;
      FloatVector e0 = VectorSteps.load(x, at);
      FloatVector o0 = VectorSteps.load(x, at + VectorSteps.VECTOR);
      FloatVector e1 = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR);
      FloatVector o1 = VectorSteps.load(x, at + 3L * VectorSteps.VECTOR);
      IntVector u0 = VectorSteps.loadPairs(w, p);
      IntVector v0 = VectorSteps.loadPairs(w, q);
      IntVector u1 = VectorSteps.loadPairs(w, p + VectorSteps.VECTOR);
      IntVector v1 = VectorSteps.loadPairs(w, q + VectorSteps.VECTOR);
      a = VectorSteps.lowerBfloat(u0).fma(e0, a);
      c = VectorSteps.upperBfloat(u0).fma(o0, c);
      b = VectorSteps.lowerBfloat(v0).fma(e0, b);
      d = VectorSteps.upperBfloat(v0).fma(o0, d);
      a = VectorSteps.lowerBfloat(u1).fma(e1, a);
      c = VectorSteps.upperBfloat(u1).fma(o1, c);
      b = VectorSteps.lowerBfloat(v1).fma(e1, b);
      d = VectorSteps.upperBfloat(v1).fma(o1, d);
    }
    a.intoArray(sums, 0);
    c.intoArray(sums, VectorSteps.LANES);
    b.intoArray(sums, 2 * VectorSteps.LANES);
    d.intoArray(sums, 3 * VectorSteps.LANES);
  }

  /** Dense rows of finite F16, a pair at a time: turns of two are beyond what C2 inlines. */
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
    FloatVector c = a;
    FloatVector d = a;
    for (int i = 0; i < Math.min(2 * turns, VectorSteps.MOST_TURNS); i++) {
      long p = upper + 2L * VectorSteps.TURN / 2 * i;
      long q = lower + 2L * VectorSteps.TURN / 2 * i;
      long at = xAt + 4L * VectorSteps.TURN / 2 * i;
      FloatVector e0 = VectorSteps.load(x, at);
      FloatVector o0 = VectorSteps.load(x, at + VectorSteps.VECTOR);
      IntVector u0 = VectorSteps.loadPairs(w, p);
      IntVector v0 = VectorSteps.loadPairs(w, q);
      a = VectorSteps.lowerHalf(u0).fma(e0, a);
      c = VectorSteps.upperHalf(u0).fma(o0, c);
      b = VectorSteps.lowerHalf(v0).fma(e0, b);
      d = VectorSteps.upperHalf(v0).fma(o0, d);
    }
    a.intoArray(sums, 0);
    c.intoArray(sums, VectorSteps.LANES);
    b.intoArray(sums, 2 * VectorSteps.LANES);
    d.intoArray(sums, 3 * VectorSteps.LANES);
  }
}
