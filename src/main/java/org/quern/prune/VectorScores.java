package org.quern.prune;

import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.UGE;
import static jdk.incubator.vector.VectorOperators.ULT;
import static jdk.incubator.vector.VectorOperators.UMAX;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShuffle;
import org.quern.runtime.NativeViews;

/**
 * Passes over the operands of one row that compute scores and compare them.
 *
 * <p>One formula serves all methods: S = |W| c + |W| |G| with zeros for an absent G or c, and ones
 * for c where the score is |W| alone; products with 0 and 1 and sums with 0 are exact. Scores that
 * are no sum of products are written by {@link VectorFormulas} strip by strip and stand for c, with
 * ones for W. Scores are never negative, so their bits order like integers.
 *
 * <p>Loops take one vector a turn and C2 unrolls them; a body of several vectors is not compiled
 * well (its nodes pass NodeCountInliningCutoff).
 */
final class VectorScores {
  /** Set in the result of a pass where a score is not finite. */
  static final long NOT_FINITE = Long.MIN_VALUE;

  /** Lane i takes lane i + r of its group of M, counted around, by the shuffle ROTATE_Mr. */
  private static final VectorShuffle<Integer> ROTATE_41 = rotate(4, 1);

  private static final VectorShuffle<Integer> ROTATE_42 = rotate(4, 2);
  private static final VectorShuffle<Integer> ROTATE_81 = rotate(8, 1);
  private static final VectorShuffle<Integer> ROTATE_82 = rotate(8, 2);
  private static final VectorShuffle<Integer> ROTATE_83 = rotate(8, 3);
  private static final VectorShuffle<Integer> ROTATE_84 = rotate(8, 4);

  /** One in the lanes whose source under ROTATE_Mr lies before them: there an equal rival wins. */
  private static final IntVector WRAP_41 = wrap(4, 1);

  private static final IntVector WRAP_42 = wrap(4, 2);
  private static final IntVector WRAP_81 = wrap(8, 1);
  private static final IntVector WRAP_82 = wrap(8, 2);
  private static final IntVector WRAP_83 = wrap(8, 3);
  private static final IntVector WRAP_84 = wrap(8, 4);

  private VectorScores() {}

  private static VectorShuffle<Integer> rotate(int of, int by) {
    return VectorShuffle.fromOp(
        VectorCells.I, i -> (i / of * of + (i % of + by) % of) % VectorCells.LANES);
  }

  private static IntVector wrap(int of, int by) {
    int[] wraps = new int[VectorCells.LANES];
    for (int i = 0; i < wraps.length; i++) {
      wraps[i] = i % of + by >= of ? 1 : 0;
    }
    return IntVector.fromArray(VectorCells.I, wraps, 0);
  }

  /**
   * The scores of one vector. Small enough to be inlined always: a vector never leaves compiled
   * code.
   */
  private static FloatVector score(
      MemorySegment w, long wOffset, MemorySegment g, long gOffset, MemorySegment c, long cOffset) {
    FloatVector weight =
        VectorCells.magnitude(
            FloatVector.fromMemorySegment(VectorCells.F, w, wOffset, VectorCells.LE));
    FloatVector gradient =
        VectorCells.magnitude(
            FloatVector.fromMemorySegment(VectorCells.F, g, gOffset, VectorCells.LE));
    FloatVector norm = FloatVector.fromMemorySegment(VectorCells.F, c, cOffset, VectorCells.LE);
    return weight.mul(norm).add(weight.mul(gradient));
  }

  /** Writes scores; {@link #NOT_FINITE} or 0. */
  static long write(
      MemorySegment wIn,
      long wOffset,
      MemorySegment gIn,
      long gOffset,
      MemorySegment cIn,
      long cOffset,
      int vectors,
      MemorySegment outIn,
      long outOffset) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment c = NativeViews.base(cIn);
    MemorySegment out = NativeViews.base(outIn);
    long wAt = NativeViews.at(wIn, wOffset, bytes);
    long gAt = NativeViews.at(gIn, gOffset, bytes);
    long cAt = NativeViews.at(cIn, cOffset, bytes);
    long outAt = NativeViews.at(outIn, outOffset, bytes);
    IntVector largest = IntVector.zero(VectorCells.I);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      FloatVector score = score(w, wAt + at, g, gAt + at, c, cAt + at);
      largest = largest.lanewise(UMAX, score.reinterpretAsInts());
      score.intoMemorySegment(out, outAt + at, VectorCells.LE);
    }
    return finite(largest);
  }

  // Not reduceLanes(UMAX): on JDK 25 its identity is Integer.MIN_VALUE, which is larger than every
  // score.
  static long finite(IntVector largest) {
    return largest.compare(UGE, VectorCells.INFINITY_BITS).anyTrue() ? NOT_FINITE : 0;
  }

  /**
   * Marks the scores below {@code low}, and those in [low, high), in double cells, and lists the
   * latter.
   *
   * @param scratchIn holds c, the cells and the list
   * @param list where the list goes on; a vector of room behind it is written
   * @return how many were listed in bits 0 to 31, how many lie below in bits 32 to 62, and {@link
   *     #NOT_FINITE}
   */
  static long bracket(
      MemorySegment wIn,
      long wOffset,
      MemorySegment gIn,
      long gOffset,
      MemorySegment scratchIn,
      long cOffset,
      int vectors,
      int low,
      int high,
      long cells,
      long list) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment scratch = NativeViews.base(scratchIn);
    long wAt = NativeViews.at(wIn, wOffset, bytes);
    long gAt = NativeViews.at(gIn, gOffset, bytes);
    long cAt = NativeViews.at(scratchIn, cOffset, bytes);
    long cellsAt = NativeViews.at(scratchIn, cells, VectorCells.doubleAt(0, vectors));
    long listAt = NativeViews.at(scratchIn, list, bytes + VectorCells.BYTES);
    IntVector largest = IntVector.zero(VectorCells.I);
    int width = high - low;
    long end = listAt;
    int below = 0;
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector score = score(w, wAt + at, g, gAt + at, scratch, cAt + at).reinterpretAsInts();
      largest = largest.lanewise(UMAX, score);
      VectorMask<Integer> isBelow = score.compare(LT, low);
      // Unsigned, so that what lies below is far above: one comparison instead of three mask steps.
      VectorMask<Integer> isInside = score.sub(low).compare(ULT, width);
      long belowBits = isBelow.toLong();
      long insideBits = isInside.toLong();
      VectorCells.set(scratch, cellsAt, i, belowBits, insideBits);
      below += Long.bitCount(belowBits);
      score.compress(isInside).intoMemorySegment(scratch, end, VectorCells.LE);
      end += (long) Long.bitCount(insideBits) * Integer.BYTES;
    }
    return finite(largest) | (long) below << Integer.SIZE | (end - listAt) / Integer.BYTES;
  }

  /**
   * Runs of four: cells r = 1, 2 hold where score i + r of the run, counted around, comes before
   * score i. One more than the score lets an equal rival from a lower column come before it.
   *
   * @param cells the first set of cells; the next follows {@code cellStride} bytes on
   * @return {@link #NOT_FINITE} or 0
   */
  static long runsOf4(
      MemorySegment wIn,
      long wOffset,
      MemorySegment gIn,
      long gOffset,
      MemorySegment scratchIn,
      long cOffset,
      int vectors,
      long cells,
      long cellStride) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment scratch = NativeViews.base(scratchIn);
    long wAt = NativeViews.at(wIn, wOffset, bytes);
    long gAt = NativeViews.at(gIn, gOffset, bytes);
    long cAt = NativeViews.at(scratchIn, cOffset, bytes);
    long cells1At = NativeViews.at(scratchIn, cells, VectorCells.at(0, vectors));
    long cells2At = NativeViews.at(scratchIn, cells + cellStride, VectorCells.at(0, vectors));
    IntVector largest = IntVector.zero(VectorCells.I);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector score = score(w, wAt + at, g, gAt + at, scratch, cAt + at).reinterpretAsInts();
      largest = largest.lanewise(UMAX, score);
      VectorCells.set(
          scratch,
          cells1At,
          i,
          score.rearrange(ROTATE_41).compare(LT, score.add(WRAP_41)).toLong());
      VectorCells.set(
          scratch,
          cells2At,
          i,
          score.rearrange(ROTATE_42).compare(LT, score.add(WRAP_42)).toLong());
    }
    return finite(largest);
  }

  /** As {@link #runsOf4} for runs of eight and r = 1 to 4. */
  static long runsOf8(
      MemorySegment wIn,
      long wOffset,
      MemorySegment gIn,
      long gOffset,
      MemorySegment scratchIn,
      long cOffset,
      int vectors,
      long cells,
      long cellStride) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment scratch = NativeViews.base(scratchIn);
    long wAt = NativeViews.at(wIn, wOffset, bytes);
    long gAt = NativeViews.at(gIn, gOffset, bytes);
    long cAt = NativeViews.at(scratchIn, cOffset, bytes);
    long cells1At = NativeViews.at(scratchIn, cells, VectorCells.at(0, vectors));
    long cells2At = NativeViews.at(scratchIn, cells + cellStride, VectorCells.at(0, vectors));
    long cells3At = NativeViews.at(scratchIn, cells + 2 * cellStride, VectorCells.at(0, vectors));
    long cells4At = NativeViews.at(scratchIn, cells + 3 * cellStride, VectorCells.at(0, vectors));
    IntVector largest = IntVector.zero(VectorCells.I);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector score = score(w, wAt + at, g, gAt + at, scratch, cAt + at).reinterpretAsInts();
      largest = largest.lanewise(UMAX, score);
      VectorCells.set(
          scratch,
          cells1At,
          i,
          score.rearrange(ROTATE_81).compare(LT, score.add(WRAP_81)).toLong());
      VectorCells.set(
          scratch,
          cells2At,
          i,
          score.rearrange(ROTATE_82).compare(LT, score.add(WRAP_82)).toLong());
      VectorCells.set(
          scratch,
          cells3At,
          i,
          score.rearrange(ROTATE_83).compare(LT, score.add(WRAP_83)).toLong());
      VectorCells.set(
          scratch,
          cells4At,
          i,
          score.rearrange(ROTATE_84).compare(LT, score.add(WRAP_84)).toLong());
    }
    return finite(largest);
  }
}
