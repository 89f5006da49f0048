package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;

/**
 * Transposes tiles of 8 x 8 numbers between rows of lanes, which are of binary64, and operands, in
 * three steps of two-vector permutations: single numbers, pairs, halves. Only for machines with
 * vectors of 8 doubles; narrower ones have no such permutation of two vectors.
 *
 * <p>Every method takes {@code tiles} tiles. Line r of a tile is {@code stride} bytes from line
 * r-1, a tile {@code step} bytes from the tile before; offsets are those of {@link NativeViews#at}.
 */
final class VectorTiles {
  /** Lines of a tile, and numbers in a line. */
  static final int SIZE = 8;

  /** True where tiles are vectors of this machine. */
  static final boolean SUPPORTED = DoubleVector.SPECIES_PREFERRED.length() == SIZE;

  private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_512;
  private static final VectorSpecies<Long> L = LongVector.SPECIES_512;
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_256;
  private static final VectorSpecies<Integer> I = IntVector.SPECIES_256;

  /** More tiles than any line has; a loop up to this bound is one whose index cannot overflow. */
  private static final int MOST = 1 << 24;

  /** Lane 2i of the first and of the second vector side by side. */
  private static final LongVector LONG_EVEN = longs(0, 8, 2, 10, 4, 12, 6, 14);

  /** Lane 2i+1 of both. */
  private static final LongVector LONG_ODD = longs(1, 9, 3, 11, 5, 13, 7, 15);

  /** The pairs at lanes 0 and 4 of both. */
  private static final LongVector LONG_LOW_PAIRS = longs(0, 1, 8, 9, 4, 5, 12, 13);

  /** The pairs at lanes 2 and 6 of both. */
  private static final LongVector LONG_HIGH_PAIRS = longs(2, 3, 10, 11, 6, 7, 14, 15);

  /** The lower halves of both. */
  private static final LongVector LONG_LOW_HALVES = longs(0, 1, 2, 3, 8, 9, 10, 11);

  /** The upper halves of both. */
  private static final LongVector LONG_HIGH_HALVES = longs(4, 5, 6, 7, 12, 13, 14, 15);

  private static final IntVector INT_EVEN = ints(LONG_EVEN);

  private static final IntVector INT_ODD = ints(LONG_ODD);

  private static final IntVector INT_LOW_PAIRS = ints(LONG_LOW_PAIRS);

  private static final IntVector INT_HIGH_PAIRS = ints(LONG_HIGH_PAIRS);

  private static final IntVector INT_LOW_HALVES = ints(LONG_LOW_HALVES);

  private static final IntVector INT_HIGH_HALVES = ints(LONG_HIGH_HALVES);

  private VectorTiles() {}

  private static LongVector longs(long... lanes) {
    return LongVector.fromArray(L, lanes, 0);
  }

  private static IntVector ints(LongVector lanes) {
    return (IntVector) lanes.convertShape(VectorOperators.L2I, I, 0);
  }

  /** F64 to F64. */
  static void doubles(
      MemorySegment source,
      long sourceAt,
      long sourceStride,
      long sourceStep,
      MemorySegment target,
      long targetAt,
      long targetStride,
      long targetStep,
      int tiles) {
    MemorySegment from = NativeViews.base(source);
    MemorySegment to = NativeViews.base(target);
    for (int tile = 0, count = Math.min(tiles, MOST); tile < count; tile++) {
      long read = sourceAt + tile * sourceStep;
      long write = targetAt + tile * targetStep;
      LongVector r0 = LongVector.fromMemorySegment(L, from, read, ORDER);
      LongVector r1 = LongVector.fromMemorySegment(L, from, read + sourceStride, ORDER);
      LongVector r2 = LongVector.fromMemorySegment(L, from, read + 2 * sourceStride, ORDER);
      LongVector r3 = LongVector.fromMemorySegment(L, from, read + 3 * sourceStride, ORDER);
      LongVector r4 = LongVector.fromMemorySegment(L, from, read + 4 * sourceStride, ORDER);
      LongVector r5 = LongVector.fromMemorySegment(L, from, read + 5 * sourceStride, ORDER);
      LongVector r6 = LongVector.fromMemorySegment(L, from, read + 6 * sourceStride, ORDER);
      LongVector r7 = LongVector.fromMemorySegment(L, from, read + 7 * sourceStride, ORDER);
      LongVector t0 = LONG_EVEN.selectFrom(r0, r1);
      LongVector t1 = LONG_ODD.selectFrom(r0, r1);
      LongVector t2 = LONG_EVEN.selectFrom(r2, r3);
      LongVector t3 = LONG_ODD.selectFrom(r2, r3);
      LongVector t4 = LONG_EVEN.selectFrom(r4, r5);
      LongVector t5 = LONG_ODD.selectFrom(r4, r5);
      LongVector t6 = LONG_EVEN.selectFrom(r6, r7);
      LongVector t7 = LONG_ODD.selectFrom(r6, r7);
      LongVector u0 = LONG_LOW_PAIRS.selectFrom(t0, t2);
      LongVector u1 = LONG_LOW_PAIRS.selectFrom(t1, t3);
      LongVector u2 = LONG_HIGH_PAIRS.selectFrom(t0, t2);
      LongVector u3 = LONG_HIGH_PAIRS.selectFrom(t1, t3);
      LongVector u4 = LONG_LOW_PAIRS.selectFrom(t4, t6);
      LongVector u5 = LONG_LOW_PAIRS.selectFrom(t5, t7);
      LongVector u6 = LONG_HIGH_PAIRS.selectFrom(t4, t6);
      LongVector u7 = LONG_HIGH_PAIRS.selectFrom(t5, t7);
      LONG_LOW_HALVES.selectFrom(u0, u4).intoMemorySegment(to, write, ORDER);
      LONG_LOW_HALVES.selectFrom(u1, u5).intoMemorySegment(to, write + targetStride, ORDER);
      LONG_LOW_HALVES.selectFrom(u2, u6).intoMemorySegment(to, write + 2 * targetStride, ORDER);
      LONG_LOW_HALVES.selectFrom(u3, u7).intoMemorySegment(to, write + 3 * targetStride, ORDER);
      LONG_HIGH_HALVES.selectFrom(u0, u4).intoMemorySegment(to, write + 4 * targetStride, ORDER);
      LONG_HIGH_HALVES.selectFrom(u1, u5).intoMemorySegment(to, write + 5 * targetStride, ORDER);
      LONG_HIGH_HALVES.selectFrom(u2, u6).intoMemorySegment(to, write + 6 * targetStride, ORDER);
      LONG_HIGH_HALVES.selectFrom(u3, u7).intoMemorySegment(to, write + 7 * targetStride, ORDER);
    }
  }

  /** F64 to F32, rounded. */
  static void toFloats(
      MemorySegment source,
      long sourceAt,
      long sourceStride,
      long sourceStep,
      MemorySegment target,
      long targetAt,
      long targetStride,
      long targetStep,
      int tiles) {
    MemorySegment from = NativeViews.base(source);
    MemorySegment to = NativeViews.base(target);
    for (int tile = 0, count = Math.min(tiles, MOST); tile < count; tile++) {
      long read = sourceAt + tile * sourceStep;
      long write = targetAt + tile * targetStep;
      IntVector r0 = rounded(from, read);
      IntVector r1 = rounded(from, read + sourceStride);
      IntVector r2 = rounded(from, read + 2 * sourceStride);
      IntVector r3 = rounded(from, read + 3 * sourceStride);
      IntVector r4 = rounded(from, read + 4 * sourceStride);
      IntVector r5 = rounded(from, read + 5 * sourceStride);
      IntVector r6 = rounded(from, read + 6 * sourceStride);
      IntVector r7 = rounded(from, read + 7 * sourceStride);
      IntVector t0 = INT_EVEN.selectFrom(r0, r1);
      IntVector t1 = INT_ODD.selectFrom(r0, r1);
      IntVector t2 = INT_EVEN.selectFrom(r2, r3);
      IntVector t3 = INT_ODD.selectFrom(r2, r3);
      IntVector t4 = INT_EVEN.selectFrom(r4, r5);
      IntVector t5 = INT_ODD.selectFrom(r4, r5);
      IntVector t6 = INT_EVEN.selectFrom(r6, r7);
      IntVector t7 = INT_ODD.selectFrom(r6, r7);
      IntVector u0 = INT_LOW_PAIRS.selectFrom(t0, t2);
      IntVector u1 = INT_LOW_PAIRS.selectFrom(t1, t3);
      IntVector u2 = INT_HIGH_PAIRS.selectFrom(t0, t2);
      IntVector u3 = INT_HIGH_PAIRS.selectFrom(t1, t3);
      IntVector u4 = INT_LOW_PAIRS.selectFrom(t4, t6);
      IntVector u5 = INT_LOW_PAIRS.selectFrom(t5, t7);
      IntVector u6 = INT_HIGH_PAIRS.selectFrom(t4, t6);
      IntVector u7 = INT_HIGH_PAIRS.selectFrom(t5, t7);
      INT_LOW_HALVES.selectFrom(u0, u4).intoMemorySegment(to, write, ORDER);
      INT_LOW_HALVES.selectFrom(u1, u5).intoMemorySegment(to, write + targetStride, ORDER);
      INT_LOW_HALVES.selectFrom(u2, u6).intoMemorySegment(to, write + 2 * targetStride, ORDER);
      INT_LOW_HALVES.selectFrom(u3, u7).intoMemorySegment(to, write + 3 * targetStride, ORDER);
      INT_HIGH_HALVES.selectFrom(u0, u4).intoMemorySegment(to, write + 4 * targetStride, ORDER);
      INT_HIGH_HALVES.selectFrom(u1, u5).intoMemorySegment(to, write + 5 * targetStride, ORDER);
      INT_HIGH_HALVES.selectFrom(u2, u6).intoMemorySegment(to, write + 6 * targetStride, ORDER);
      INT_HIGH_HALVES.selectFrom(u3, u7).intoMemorySegment(to, write + 7 * targetStride, ORDER);
    }
  }

  /** F32 to F64. */
  static void toDoubles(
      MemorySegment source,
      long sourceAt,
      long sourceStride,
      long sourceStep,
      MemorySegment target,
      long targetAt,
      long targetStride,
      long targetStep,
      int tiles) {
    MemorySegment from = NativeViews.base(source);
    MemorySegment to = NativeViews.base(target);
    for (int tile = 0, count = Math.min(tiles, MOST); tile < count; tile++) {
      long read = sourceAt + tile * sourceStep;
      long write = targetAt + tile * targetStep;
      IntVector r0 = IntVector.fromMemorySegment(I, from, read, ORDER);
      IntVector r1 = IntVector.fromMemorySegment(I, from, read + sourceStride, ORDER);
      IntVector r2 = IntVector.fromMemorySegment(I, from, read + 2 * sourceStride, ORDER);
      IntVector r3 = IntVector.fromMemorySegment(I, from, read + 3 * sourceStride, ORDER);
      IntVector r4 = IntVector.fromMemorySegment(I, from, read + 4 * sourceStride, ORDER);
      IntVector r5 = IntVector.fromMemorySegment(I, from, read + 5 * sourceStride, ORDER);
      IntVector r6 = IntVector.fromMemorySegment(I, from, read + 6 * sourceStride, ORDER);
      IntVector r7 = IntVector.fromMemorySegment(I, from, read + 7 * sourceStride, ORDER);
      IntVector t0 = INT_EVEN.selectFrom(r0, r1);
      IntVector t1 = INT_ODD.selectFrom(r0, r1);
      IntVector t2 = INT_EVEN.selectFrom(r2, r3);
      IntVector t3 = INT_ODD.selectFrom(r2, r3);
      IntVector t4 = INT_EVEN.selectFrom(r4, r5);
      IntVector t5 = INT_ODD.selectFrom(r4, r5);
      IntVector t6 = INT_EVEN.selectFrom(r6, r7);
      IntVector t7 = INT_ODD.selectFrom(r6, r7);
      IntVector u0 = INT_LOW_PAIRS.selectFrom(t0, t2);
      IntVector u1 = INT_LOW_PAIRS.selectFrom(t1, t3);
      IntVector u2 = INT_HIGH_PAIRS.selectFrom(t0, t2);
      IntVector u3 = INT_HIGH_PAIRS.selectFrom(t1, t3);
      IntVector u4 = INT_LOW_PAIRS.selectFrom(t4, t6);
      IntVector u5 = INT_LOW_PAIRS.selectFrom(t5, t7);
      IntVector u6 = INT_HIGH_PAIRS.selectFrom(t4, t6);
      IntVector u7 = INT_HIGH_PAIRS.selectFrom(t5, t7);
      widened(INT_LOW_HALVES.selectFrom(u0, u4)).intoMemorySegment(to, write, ORDER);
      widened(INT_LOW_HALVES.selectFrom(u1, u5)).intoMemorySegment(to, write + targetStride, ORDER);
      widened(INT_LOW_HALVES.selectFrom(u2, u6))
          .intoMemorySegment(to, write + 2 * targetStride, ORDER);
      widened(INT_LOW_HALVES.selectFrom(u3, u7))
          .intoMemorySegment(to, write + 3 * targetStride, ORDER);
      widened(INT_HIGH_HALVES.selectFrom(u0, u4))
          .intoMemorySegment(to, write + 4 * targetStride, ORDER);
      widened(INT_HIGH_HALVES.selectFrom(u1, u5))
          .intoMemorySegment(to, write + 5 * targetStride, ORDER);
      widened(INT_HIGH_HALVES.selectFrom(u2, u6))
          .intoMemorySegment(to, write + 6 * targetStride, ORDER);
      widened(INT_HIGH_HALVES.selectFrom(u3, u7))
          .intoMemorySegment(to, write + 7 * targetStride, ORDER);
    }
  }

  // Both small enough to be inlined always: a vector never leaves compiled code.
  private static IntVector rounded(MemorySegment from, long at) {
    DoubleVector line = DoubleVector.fromMemorySegment(D, from, at, ORDER);
    return ((FloatVector) line.convertShape(VectorOperators.D2F, F, 0)).reinterpretAsInts();
  }

  private static DoubleVector widened(IntVector line) {
    return (DoubleVector) line.reinterpretAsFloats().convertShape(VectorOperators.F2D, D, 0);
  }
}
