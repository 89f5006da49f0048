package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.quern.runtime.NativeViews;

/**
 * The whole vectors of four rows of a sparse matrix of F32 at a time, or of two of a dense one,
 * times a vector. Column j adds to lane j % L of the row's sums, with L lanes, in ascending order
 * in every one of the loops.
 */
final class VectorFloatRows {
  private VectorFloatRows() {}

  /** Rows with any values. */
  static void sparse(
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
      a0 = VectorSteps.expand(values, v0, p0, b0).fma(u, a0);
      p0 += 4 * Integer.bitCount(b0);
      int b1 = VectorSteps.bits(mask, m1, i);
      a1 = VectorSteps.expand(values, v1, p1, b1).fma(u, a1);
      p1 += 4 * Integer.bitCount(b1);
      int b2 = VectorSteps.bits(mask, m2, i);
      a2 = VectorSteps.expand(values, v2, p2, b2).fma(u, a2);
      p2 += 4 * Integer.bitCount(b2);
      int b3 = VectorSteps.bits(mask, m3, i);
      a3 = VectorSteps.expand(values, v3, p3, b3).fma(u, a3);
      p3 += 4 * Integer.bitCount(b3);
    }
    a0.intoArray(sums, 0);
    a1.intoArray(sums, VectorSteps.LANES);
    a2.intoArray(sums, 2 * VectorSteps.LANES);
    a3.intoArray(sums, 3 * VectorSteps.LANES);
  }

  /** Rows with two values of every four columns, which tell where they are. */
  static void twoOfFour(
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
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    for (int i = 0; i < Math.min(vectors, VectorSteps.MOST); i++) {
      FloatVector u = VectorSteps.load(x, at + (long) VectorSteps.VECTOR * i);
      int b0 = VectorSteps.bits(mask, m0, i);
      a0 = VectorSteps.expand(values, v0, VectorSteps.VECTOR / 2 * i, b0).fma(u, a0);
      int b1 = VectorSteps.bits(mask, m1, i);
      a1 = VectorSteps.expand(values, v1, VectorSteps.VECTOR / 2 * i, b1).fma(u, a1);
      int b2 = VectorSteps.bits(mask, m2, i);
      a2 = VectorSteps.expand(values, v2, VectorSteps.VECTOR / 2 * i, b2).fma(u, a2);
      int b3 = VectorSteps.bits(mask, m3, i);
      a3 = VectorSteps.expand(values, v3, VectorSteps.VECTOR / 2 * i, b3).fma(u, a3);
    }
    a0.intoArray(sums, 0);
    a1.intoArray(sums, VectorSteps.LANES);
    a2.intoArray(sums, 2 * VectorSteps.LANES);
    a3.intoArray(sums, 3 * VectorSteps.LANES);
  }

  /** Dense rows, in turns of four vectors. */
  static void dense(
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
      long p = upper + 4L * VectorSteps.TURN * i;
      long q = lower + 4L * VectorSteps.TURN * i;
      long at = xAt + 4L * VectorSteps.TURN * i;
      FloatVector x0 = VectorSteps.load(x, at);
      FloatVector x1 = VectorSteps.load(x, at + VectorSteps.VECTOR);
      FloatVector x2 = VectorSteps.load(x, at + 2L * VectorSteps.VECTOR);
      FloatVector x3 = VectorSteps.load(x, at + 3L * VectorSteps.VECTOR);
      a = VectorSteps.load(w, p).fma(x0, a);
      b = VectorSteps.load(w, q).fma(x0, b);
      a = VectorSteps.load(w, p + VectorSteps.VECTOR).fma(x1, a);
      b = VectorSteps.load(w, q + VectorSteps.VECTOR).fma(x1, b);
      a = VectorSteps.load(w, p + 2L * VectorSteps.VECTOR).fma(x2, a);
      b = VectorSteps.load(w, q + 2L * VectorSteps.VECTOR).fma(x2, b);
      a = VectorSteps.load(w, p + 3L * VectorSteps.VECTOR).fma(x3, a);
      b = VectorSteps.load(w, q + 3L * VectorSteps.VECTOR).fma(x3, b);
    }
    a.intoArray(sums, 0);
    b.intoArray(sums, VectorSteps.LANES);
  }
}
