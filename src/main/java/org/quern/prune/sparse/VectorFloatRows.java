package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import org.quern.runtime.vector.VectorLanes;

/**
 * Rows of F32 times a vector. Column j adds to lane j % L of sum j / L % 4, with L lanes, in every
 * one of the loops.
 */
final class VectorFloatRows {
  private VectorFloatRows() {}

  /** A row of F32 with any values. */
  static float sparse(
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
        a0 = VectorSteps.expand(values, p, b).fma(VectorSteps.load(x, at), a0);
        long q = p + 4L * Long.bitCount(b & VectorSteps.COUNT_1);
        a1 =
            VectorSteps.expand(values, q, b >>> VectorSteps.LANES)
                .fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
        q = p + 4L * Long.bitCount(b & VectorSteps.COUNT_2);
        a2 =
            VectorSteps.expand(values, q, b >>> 2 * VectorSteps.LANES)
                .fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
        q = p + 4L * Long.bitCount(b & VectorSteps.COUNT_3);
        a3 =
            VectorSteps.expand(values, q, b >>> 3 * VectorSteps.LANES)
                .fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
        p += 4L * Long.bitCount(b & VectorSteps.COUNT_4);
      }
    }
    return VectorLanes.sum(a0.add(a1).add(a2.add(a3)));
  }

  /**
   * A row of F32 with two values of every four: the values are where the columns tell, not the bits
   * before.
   */
  static float twoOfFour(
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

    for (int i = 0; i < Math.min(Math.ceilDiv(n, LinearKernels.STEP), VectorSteps.MOST); i++) {
      long bits = mask.get(VectorSteps.WORD, maskAt + (long) Long.BYTES * i);
      bits &= i == last ? lastBits : -1L;
      for (int k = 0; k < LinearKernels.STEP; k += VectorSteps.TURN) {
        long b = bits >>> k;
        long at = xAt + (long) Float.BYTES * (LinearKernels.STEP * i + k);
        long q = valuesAt + 2L * (LinearKernels.STEP * i + k);
        a0 = VectorSteps.expand(values, q, b).fma(VectorSteps.load(x, at), a0);
        q += VectorSteps.VECTOR / 2;
        a1 =
            VectorSteps.expand(values, q, b >>> VectorSteps.LANES)
                .fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
        q += VectorSteps.VECTOR / 2;
        a2 =
            VectorSteps.expand(values, q, b >>> 2 * VectorSteps.LANES)
                .fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
        q += VectorSteps.VECTOR / 2;
        a3 =
            VectorSteps.expand(values, q, b >>> 3 * VectorSteps.LANES)
                .fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
      }
    }
    return VectorLanes.sum(a0.add(a1).add(a2.add(a3)));
  }

  /** A dense row of F32. */
  static float dense(MemorySegment w, long wAt, MemorySegment x, long xAt, int n) {
    FloatVector a0 = FloatVector.zero(VectorSteps.F);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    int turns = n / VectorSteps.TURN;
    for (int i = 0; i < Math.min(turns, VectorSteps.MOST); i++) {
      long p = wAt + (long) 4 * VectorSteps.TURN * i;
      long at = xAt + (long) VectorSteps.FOUR * i;
      a0 = VectorSteps.load(w, p).fma(VectorSteps.load(x, at), a0);
      a1 =
          VectorSteps.load(w, p + VectorSteps.VECTOR)
              .fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      a2 =
          VectorSteps.load(w, p + 2 * VectorSteps.VECTOR)
              .fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      a3 =
          VectorSteps.load(w, p + 3 * VectorSteps.VECTOR)
              .fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
    }
    int j = turns * VectorSteps.TURN;
    if (j < n) {
      long p = wAt + 4L * j;
      long at = xAt + 4L * j;
      a0 = VectorSteps.load(w, p, j, n).fma(VectorSteps.load(x, at), a0);
      a1 =
          VectorSteps.load(w, p + VectorSteps.VECTOR, j + 1 * VectorSteps.LANES, n)
              .fma(VectorSteps.load(x, at + VectorSteps.VECTOR), a1);
      a2 =
          VectorSteps.load(w, p + 2 * VectorSteps.VECTOR, j + 2 * VectorSteps.LANES, n)
              .fma(VectorSteps.load(x, at + 2 * VectorSteps.VECTOR), a2);
      a3 =
          VectorSteps.load(w, p + 3 * VectorSteps.VECTOR, j + 3 * VectorSteps.LANES, n)
              .fma(VectorSteps.load(x, at + 3 * VectorSteps.VECTOR), a3);
    }
    return VectorLanes.sum(a0.add(a1).add(a2.add(a3)));
  }
}
