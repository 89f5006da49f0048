package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import org.quern.runtime.vector.VectorLanes;

/**
 * Rows of 16 bits times a vector, where the compiler expands shorts. Pairs of columns share a lane
 * of 32 bits, of which shifts and masks make two F32; the vector has the even columns of every 2 L
 * before the odd ones, with L lanes.
 */
final class VectorPairRows {
  private VectorPairRows() {}

  /** A row of BF16 with any values. */
  static float sparseBfloat(
      MemorySegment values,
      long valuesAt,
      MemorySegment mask,
      long maskAt,
      MemorySegment x,
      long xAt,
      int n) {
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    int last = n / LinearKernels.STEP;
    long lastBits = (1L << n) - 1;
    long p = valuesAt;
    for (int i = 0; i < Math.min(Math.ceilDiv(n, LinearKernels.STEP), VectorSteps.MOST); i++) {
      long bits = mask.get(VectorSteps.WORD, maskAt + (long) Long.BYTES * i);
      bits &= i == last ? lastBits : -1L;
      for (int k = 0; k < LinearKernels.STEP; k += VectorSteps.TURN) {
        long b = bits >>> k;
        long at = xAt + (long) Float.BYTES * (LinearKernels.STEP * i + k);
        IntVector v = VectorSteps.expandPairs(values, p, b);
        long q = p + 2L * Long.bitCount(b & VectorSteps.COUNT_2);
        IntVector u = VectorSteps.expandPairs(values, q, b >>> 2 * VectorSteps.LANES);
        a0 = VectorSteps.lowerBfloat(v).fma(VectorSteps.load(x, at), a0);
        a1 = VectorSteps.upperBfloat(v).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
        a2 = VectorSteps.lowerBfloat(u).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
        a3 = VectorSteps.upperBfloat(u).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
        p += 2L * Long.bitCount(b & VectorSteps.COUNT_4);
      }
    }
    return VectorLanes.sum(a0.add(a1).add(a2.add(a3)));
  }

  /** A row of finite F16 with any values. */
  static float sparseHalf(
      MemorySegment values,
      long valuesAt,
      MemorySegment mask,
      long maskAt,
      MemorySegment x,
      long xAt,
      int n) {
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    int last = n / LinearKernels.STEP;
    long lastBits = (1L << n) - 1;
    long p = valuesAt;
    for (int i = 0; i < Math.min(Math.ceilDiv(n, LinearKernels.STEP), VectorSteps.MOST); i++) {
      long bits = mask.get(VectorSteps.WORD, maskAt + (long) Long.BYTES * i);
      bits &= i == last ? lastBits : -1L;
      for (int k = 0; k < LinearKernels.STEP; k += VectorSteps.TURN) {
        long b = bits >>> k;
        long at = xAt + (long) Float.BYTES * (LinearKernels.STEP * i + k);
        IntVector v = VectorSteps.expandPairs(values, p, b);
        long q = p + 2L * Long.bitCount(b & VectorSteps.COUNT_2);
        IntVector u = VectorSteps.expandPairs(values, q, b >>> 2 * VectorSteps.LANES);
        a0 = VectorSteps.lowerHalf(v).fma(VectorSteps.load(x, at), a0);
        a1 = VectorSteps.upperHalf(v).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
        a2 = VectorSteps.lowerHalf(u).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
        a3 = VectorSteps.upperHalf(u).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
        p += 2L * Long.bitCount(b & VectorSteps.COUNT_4);
      }
    }
    return VectorLanes.sum(a0.add(a1).add(a2.add(a3)));
  }

  /** A dense row of BF16. */
  static float denseBfloat(MemorySegment w, long wAt, MemorySegment x, long xAt, int n) {
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    int turns = n / VectorSteps.TURN;
    for (int i = 0; i < Math.min(turns, VectorSteps.MOST); i++) {
      long p = wAt + (long) 2 * VectorSteps.TURN * i;
      long at = xAt + (long) VectorSteps.FOUR * i;
      IntVector v = VectorSteps.loadPairs(w, p);
      IntVector u = VectorSteps.loadPairs(w, p + VectorSteps.VECTOR);
      a0 = VectorSteps.lowerBfloat(v).fma(VectorSteps.load(x, at), a0);
      a1 = VectorSteps.upperBfloat(v).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      a2 = VectorSteps.lowerBfloat(u).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      a3 = VectorSteps.upperBfloat(u).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
    }
    int j = turns * VectorSteps.TURN;
    if (j < n) {
      long p = wAt + 2L * j;
      long at = xAt + 4L * j;
      IntVector v = VectorSteps.loadPairs(w, p, j, n);
      IntVector u = VectorSteps.loadPairs(w, p + VectorSteps.VECTOR, j + 2 * VectorSteps.LANES, n);
      a0 = VectorSteps.lowerBfloat(v).fma(VectorSteps.load(x, at), a0);
      a1 = VectorSteps.upperBfloat(v).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      a2 = VectorSteps.lowerBfloat(u).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      a3 = VectorSteps.upperBfloat(u).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
    }
    return VectorLanes.sum(a0.add(a1).add(a2.add(a3)));
  }

  /** A dense row of finite F16. */
  static float denseHalf(MemorySegment w, long wAt, MemorySegment x, long xAt, int n) {
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    int turns = n / VectorSteps.TURN;
    for (int i = 0; i < Math.min(turns, VectorSteps.MOST); i++) {
      long p = wAt + (long) 2 * VectorSteps.TURN * i;
      long at = xAt + (long) VectorSteps.FOUR * i;
      IntVector v = VectorSteps.loadPairs(w, p);
      IntVector u = VectorSteps.loadPairs(w, p + VectorSteps.VECTOR);
      a0 = VectorSteps.lowerHalf(v).fma(VectorSteps.load(x, at), a0);
      a1 = VectorSteps.upperHalf(v).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      a2 = VectorSteps.lowerHalf(u).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      a3 = VectorSteps.upperHalf(u).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
    }
    int j = turns * VectorSteps.TURN;
    if (j < n) {
      long p = wAt + 2L * j;
      long at = xAt + 4L * j;
      IntVector v = VectorSteps.loadPairs(w, p, j, n);
      IntVector u = VectorSteps.loadPairs(w, p + VectorSteps.VECTOR, j + 2 * VectorSteps.LANES, n);
      a0 = VectorSteps.lowerHalf(v).fma(VectorSteps.load(x, at), a0);
      a1 = VectorSteps.upperHalf(v).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      a2 = VectorSteps.lowerHalf(u).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      a3 = VectorSteps.upperHalf(u).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
    }
    return VectorLanes.sum(a0.add(a1).add(a2.add(a3)));
  }
}
