package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import org.quern.runtime.vector.VectorLanes;

/**
 * Rows of 16 bits times a vector, where the compiler expands ints only: every column gets a lane of
 * 32 bits before it is expanded. The order of the sums is that of {@link VectorFloatRows}.
 */
final class VectorShortRows {
  private VectorShortRows() {}

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
        IntVector v0 = VectorSteps.expandShorts(values, p, b);
        a0 = VectorSteps.lowerBfloat(v0).fma(VectorSteps.load(x, at), a0);
        long q = p + 2L * Long.bitCount(b & VectorSteps.COUNT_1);
        IntVector v1 = VectorSteps.expandShorts(values, q, b >>> VectorSteps.LANES);
        a1 = VectorSteps.lowerBfloat(v1).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
        q = p + 2L * Long.bitCount(b & VectorSteps.COUNT_2);
        IntVector v2 = VectorSteps.expandShorts(values, q, b >>> 2 * VectorSteps.LANES);
        a2 = VectorSteps.lowerBfloat(v2).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
        q = p + 2L * Long.bitCount(b & VectorSteps.COUNT_3);
        IntVector v3 = VectorSteps.expandShorts(values, q, b >>> 3 * VectorSteps.LANES);
        a3 = VectorSteps.lowerBfloat(v3).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
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
        IntVector v0 = VectorSteps.expandShorts(values, p, b);
        a0 = VectorSteps.lowerHalf(v0).fma(VectorSteps.load(x, at), a0);
        long q = p + 2L * Long.bitCount(b & VectorSteps.COUNT_1);
        IntVector v1 = VectorSteps.expandShorts(values, q, b >>> VectorSteps.LANES);
        a1 = VectorSteps.lowerHalf(v1).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
        q = p + 2L * Long.bitCount(b & VectorSteps.COUNT_2);
        IntVector v2 = VectorSteps.expandShorts(values, q, b >>> 2 * VectorSteps.LANES);
        a2 = VectorSteps.lowerHalf(v2).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
        q = p + 2L * Long.bitCount(b & VectorSteps.COUNT_3);
        IntVector v3 = VectorSteps.expandShorts(values, q, b >>> 3 * VectorSteps.LANES);
        a3 = VectorSteps.lowerHalf(v3).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
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
      IntVector v0 = VectorSteps.loadShorts(w, p);
      a0 = VectorSteps.lowerBfloat(v0).fma(VectorSteps.load(x, at), a0);
      IntVector v1 = VectorSteps.loadShorts(w, p + VectorSteps.VECTOR / 2);
      a1 = VectorSteps.lowerBfloat(v1).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      IntVector v2 = VectorSteps.loadShorts(w, p + 2 * VectorSteps.VECTOR / 2);
      a2 = VectorSteps.lowerBfloat(v2).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      IntVector v3 = VectorSteps.loadShorts(w, p + 3 * VectorSteps.VECTOR / 2);
      a3 = VectorSteps.lowerBfloat(v3).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
    }
    int j = turns * VectorSteps.TURN;
    if (j < n) {
      long p = wAt + 2L * j;
      long at = xAt + 4L * j;
      IntVector v0 = VectorSteps.loadShorts(w, p, j, n);
      a0 = VectorSteps.lowerBfloat(v0).fma(VectorSteps.load(x, at), a0);
      IntVector v1 =
          VectorSteps.loadShorts(w, p + VectorSteps.VECTOR / 2, j + 1 * VectorSteps.LANES, n);
      a1 = VectorSteps.lowerBfloat(v1).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      IntVector v2 =
          VectorSteps.loadShorts(w, p + 2 * VectorSteps.VECTOR / 2, j + 2 * VectorSteps.LANES, n);
      a2 = VectorSteps.lowerBfloat(v2).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      IntVector v3 =
          VectorSteps.loadShorts(w, p + 3 * VectorSteps.VECTOR / 2, j + 3 * VectorSteps.LANES, n);
      a3 = VectorSteps.lowerBfloat(v3).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
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
      IntVector v0 = VectorSteps.loadShorts(w, p);
      a0 = VectorSteps.lowerHalf(v0).fma(VectorSteps.load(x, at), a0);
      IntVector v1 = VectorSteps.loadShorts(w, p + VectorSteps.VECTOR / 2);
      a1 = VectorSteps.lowerHalf(v1).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      IntVector v2 = VectorSteps.loadShorts(w, p + 2 * VectorSteps.VECTOR / 2);
      a2 = VectorSteps.lowerHalf(v2).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      IntVector v3 = VectorSteps.loadShorts(w, p + 3 * VectorSteps.VECTOR / 2);
      a3 = VectorSteps.lowerHalf(v3).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
    }
    int j = turns * VectorSteps.TURN;
    if (j < n) {
      long p = wAt + 2L * j;
      long at = xAt + 4L * j;
      IntVector v0 = VectorSteps.loadShorts(w, p, j, n);
      a0 = VectorSteps.lowerHalf(v0).fma(VectorSteps.load(x, at), a0);
      IntVector v1 =
          VectorSteps.loadShorts(w, p + VectorSteps.VECTOR / 2, j + 1 * VectorSteps.LANES, n);
      a1 = VectorSteps.lowerHalf(v1).fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      IntVector v2 =
          VectorSteps.loadShorts(w, p + 2 * VectorSteps.VECTOR / 2, j + 2 * VectorSteps.LANES, n);
      a2 = VectorSteps.lowerHalf(v2).fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      IntVector v3 =
          VectorSteps.loadShorts(w, p + 3 * VectorSteps.VECTOR / 2, j + 3 * VectorSteps.LANES, n);
      a3 = VectorSteps.lowerHalf(v3).fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
    }
    return VectorLanes.sum(a0.add(a1).add(a2.add(a3)));
  }
}
