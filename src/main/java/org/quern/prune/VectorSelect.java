package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static jdk.incubator.vector.VectorOperators.EQ;
import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.ULT;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import org.quern.runtime.NativeViews;

/** Selection from a list of scores, as integers, and from masks of a row. */
final class VectorSelect {
  /**
   * Order statistics of the sample to either side of the wanted one: a quarter of the list is kept.
   */
  private static final int MARGIN = Math.max(1, VectorCells.LANES / 8);

  /** Standard deviations of a rank, at most half the root of the list's length, times that half. */
  private static final float GUESS_MARGIN = 1.25f;

  private VectorSelect() {}

  /**
   * The {@code need}-th smallest of a list, 1 &le; need &le; count, by quickselect on vectors. A
   * round takes one vector of the list as a sample and keeps what lies between two of its order
   * statistics around the wanted rank; where the rank lies outside, it keeps that side. A value
   * that many scores share ends the search at once. The sample's place is hashed, so that no order
   * of a row is slow.
   *
   * @param list a vector of room behind it is written
   * @param spare room for two lists of {@code stride} bytes, each the part that is still in play
   * @param least bits of a value that no score of the list is below
   * @param bound bits of a value that all scores of the list are below
   * @return the bits of the score in bits 0 to 31, and how many of the list are smaller in bits 32
   *     to 63
   */
  static long smallest(
      MemorySegment scratch,
      long list,
      int count,
      long spare,
      long stride,
      int need,
      int least,
      int bound) {
    long from = list;
    long to = spare;
    int n = count;
    int rank = need - 1;
    int smaller = 0;
    float start = Float.intBitsToFloat(least);
    float width = Float.intBitsToFloat(bound) - start;
    while (n > VectorCells.LANES && width < start) {
      float share = (rank + 0.5f) / n;
      float margin = GUESS_MARGIN / (float) Math.sqrt(n);
      int low = Float.floatToRawIntBits(start + width * Math.max(0, share - margin));
      int high = Float.floatToRawIntBits(start + width * (share + margin)) + 1;
      long counts = between(scratch, from, n, low, high, to);
      int less = (int) (counts >>> Integer.SIZE);
      if (rank < less || rank >= less + (int) counts) {
        break;
      }
      rank -= less;
      smaller += less;
      if (high - low == 1) {
        return (long) smaller << Integer.SIZE | low;
      }
      boolean slow = (int) counts > n / 2;
      n = (int) counts;
      from = to;
      to = from == spare ? spare + stride : spare;
      start = Float.intBitsToFloat(low);
      width = slow ? start : Float.intBitsToFloat(high) - start;
    }
    int hash = 0x9e3779b9;
    while (n > VectorCells.LANES) {
      hash = hash * 0x2c1b3c6d + 0x297a2d39;
      int place =
          (int) (Integer.toUnsignedLong(hash) * (n - VectorCells.LANES + 1) >>> Integer.SIZE);
      long sample = from + (long) place * Integer.BYTES;
      int middle = (int) ((long) rank * VectorCells.LANES / n);
      int low = middle < MARGIN ? 0 : (int) ranked(scratch, sample, middle - MARGIN);
      int high =
          middle + MARGIN >= VectorCells.LANES
              ? Integer.MAX_VALUE
              : (int) ranked(scratch, sample, middle + MARGIN) + 1;
      long counts = between(scratch, from, n, low, high, to);
      if ((int) counts == n) {
        // The sample spans the list: split at its middle value, which leaves at least that one out.
        low = (int) ranked(scratch, sample, middle);
        high = low + 1;
        counts = between(scratch, from, n, low, high, to);
      }
      int less = (int) (counts >>> Integer.SIZE);
      if (rank < less) {
        high = low;
        low = 0;
        counts = between(scratch, from, n, low, high, to);
      } else if (rank >= less + (int) counts) {
        low = high;
        high = Integer.MAX_VALUE;
        counts = between(scratch, from, n, low, high, to);
      }
      less = (int) (counts >>> Integer.SIZE);
      rank -= less;
      smaller += less;
      if (high - low == 1) {
        return (long) smaller << Integer.SIZE | low;
      }
      n = (int) counts;
      from = to;
      to = from == spare ? spare + stride : spare;
    }
    pad(scratch, from, n);
    return ((long) smaller << Integer.SIZE) + ranked(scratch, from, rank);
  }

  /** Writes a vector above every score behind a list. */
  private static void pad(MemorySegment scratch, long list, int count) {
    for (int i = 0; i < VectorCells.LANES; i++) {
      scratch.set(JAVA_INT, list + (long) (count + i) * Integer.BYTES, Integer.MAX_VALUE);
    }
  }

  /**
   * The value of ascending rank {@code rank}, from 0, in the vector at {@code offset}, in bits 0 to
   * 31; in bits 32 to 63 how many are smaller.
   */
  private static long ranked(MemorySegment scratchIn, long offset, int rank) {
    MemorySegment scratch = NativeViews.base(scratchIn);
    long at = NativeViews.at(scratchIn, offset, VectorCells.BYTES);
    IntVector values = IntVector.fromMemorySegment(VectorCells.I, scratch, at, VectorCells.LE);
    long found = 0;
    for (int i = 0; i < VectorCells.LANES; i++) {
      int value = scratch.get(JAVA_INT, at + (long) i * Integer.BYTES);
      int less = values.compare(LT, value).trueCount();
      if (less <= rank && rank < less + values.compare(EQ, value).trueCount()) {
        found = (long) less << Integer.SIZE | value;
        break;
      }
    }
    return found;
  }

  /**
   * Copies the scores in [low, high); counts those below in bits 32 to 63, the copied in bits 0 to
   * 31.
   */
  private static long between(
      MemorySegment scratchIn, long fromOffset, int n, int low, int high, long toOffset) {
    MemorySegment scratch = NativeViews.base(scratchIn);
    long from = NativeViews.at(scratchIn, fromOffset, (long) n * Integer.BYTES);
    long to = NativeViews.at(scratchIn, toOffset, (long) n * Integer.BYTES + VectorCells.BYTES);
    int width = high - low;
    int less = 0;
    int kept = 0;
    int whole = n / VectorCells.LANES * VectorCells.LANES;
    for (int i = 0; i < whole; i += VectorCells.LANES) {
      IntVector score =
          IntVector.fromMemorySegment(
              VectorCells.I, scratch, from + (long) i * Integer.BYTES, VectorCells.LE);
      VectorMask<Integer> below = score.compare(LT, low);
      VectorMask<Integer> keep = score.sub(low).compare(ULT, width);
      score
          .compress(keep)
          .intoMemorySegment(scratch, to + (long) kept * Integer.BYTES, VectorCells.LE);
      less += below.trueCount();
      kept += keep.trueCount();
    }
    for (int i = whole; i < n; i++) {
      int score = scratch.get(JAVA_INT, from + (long) i * Integer.BYTES);
      scratch.set(JAVA_INT, to + (long) kept * Integer.BYTES, score);
      less += score < low ? 1 : 0;
      kept += score >= low && score < high ? 1 : 0;
    }
    return (long) less << Integer.SIZE | kept;
  }

  /** Cells of a list: the scores below the threshold, and in the second set those equal to it. */
  static void compare(
      MemorySegment scratchIn,
      long list,
      int count,
      int threshold,
      long lessCells,
      long equalCells) {
    int vectors = Math.ceilDiv(count, VectorCells.LANES);
    MemorySegment scratch = NativeViews.base(scratchIn);
    long listAt = NativeViews.at(scratchIn, list, (long) vectors * VectorCells.BYTES);
    long lessAt = NativeViews.at(scratchIn, lessCells, VectorCells.at(0, vectors));
    long equalAt = NativeViews.at(scratchIn, equalCells, VectorCells.at(0, vectors));
    for (int i = 0, end = Math.min(vectors, VectorCells.MOST); i < end; i++) {
      IntVector score =
          IntVector.fromMemorySegment(
              VectorCells.I, scratch, listAt + (long) i * VectorCells.BYTES, VectorCells.LE);
      VectorCells.set(scratch, lessAt, i, score.compare(LT, threshold).toLong());
      VectorCells.set(scratch, equalAt, i, score.compare(EQ, threshold).toLong());
    }
  }

  /**
   * The selection bits of a row: the scores below the bracket, and of those inside it the ones
   * below the threshold and the first {@code ties} that equal it.
   *
   * @param cells double cells of the row's columns: below the bracket, and inside it, where the
   *     scores of the list stand
   * @param lessCells of the list
   * @param equalCells of the list
   */
  static void select(
      MemorySegment scratchIn,
      int words,
      long cells,
      int count,
      long lessCells,
      long equalCells,
      int ties,
      MemorySegment bitsIn,
      long bitsOffset) {
    MemorySegment scratch = NativeViews.base(scratchIn);
    MemorySegment bits = NativeViews.base(bitsIn);
    long bitsAt = NativeViews.at(bitsIn, bitsOffset, (long) words * Long.BYTES);
    long cellsAt = NativeViews.at(scratchIn, cells, 2L * words * Long.BYTES);
    long listBytes = VectorCells.bytes(Math.ceilDiv(count, Long.SIZE) * Long.SIZE);
    long lessAt = NativeViews.at(scratchIn, lessCells, listBytes);
    long equalAt = NativeViews.at(scratchIn, equalCells, listBytes);
    int left = ties;
    // A window of 64 marks of the list, of which `ready` are still to be placed.
    long window = 0;
    int ready = 0;
    int next = 0;
    for (int i = 0, end = Math.min(words, VectorCells.MOST); i < end; i++) {
      long inside = VectorCells.secondWord(scratch, cellsAt, i);
      long word = VectorCells.firstWord(scratch, cellsAt, i);
      int wanted = Long.bitCount(inside);
      long marks = window;
      if (wanted > ready) {
        long more = VectorCells.word(scratch, lessAt, next);
        long equal = VectorCells.word(scratch, equalAt, next);
        int rest = count - next * Long.SIZE;
        if (rest < Long.SIZE) {
          more &= (1L << rest) - 1;
          equal &= (1L << rest) - 1;
        }
        long taken = lowest(equal, left);
        left -= Long.bitCount(taken);
        more |= taken;
        next++;
        marks |= more << ready;
        // In two steps, because a shift by 64 is none.
        window = more >>> (wanted - ready - 1) >>> 1;
        ready += Long.SIZE - wanted;
      } else {
        window >>>= wanted;
        ready -= wanted;
      }
      bits.set(VectorCells.WORD, bitsAt + (long) i * Long.BYTES, word | Long.expand(marks, inside));
    }
  }

  /** The lowest {@code count} set bits of a word. */
  private static long lowest(long word, int count) {
    return count >= Long.bitCount(word) ? word : Long.expand((1L << count) - 1, word);
  }

  /**
   * The selection bits of runs of four: the {@code prune} lowest ranks of each, from the cells of
   * {@link VectorScores#runsOf4}.
   */
  static void ranksOf4(
      MemorySegment scratchIn,
      int words,
      long cells,
      long cellStride,
      int prune,
      MemorySegment bitsIn,
      long bitsOffset) {
    long bytes = (long) words * Long.BYTES;
    MemorySegment scratch = NativeViews.base(scratchIn);
    MemorySegment bits = NativeViews.base(bitsIn);
    long bitsAt = NativeViews.at(bitsIn, bitsOffset, bytes);
    long cellsAt =
        NativeViews.at(scratchIn, cells, cellStride + VectorCells.bytes(words * Long.SIZE));
    for (int i = 0, end = Math.min(words, VectorCells.MOST); i < end; i++) {
      long before1 = VectorCells.word(scratch, cellsAt, i);
      long before2 = VectorCells.word(scratch, cellsAt + cellStride, i);
      // Score i + 3 is score i - 1, and it comes before score i where that does not come before it.
      long before3 = ~(before1 << 1 & 0xEEEEEEEEEEEEEEEEL | before1 >>> 3 & 0x1111111111111111L);
      long half = before1 ^ before2;
      long ones = half ^ before3;
      long twos = before1 & before2 | half & before3;
      bits.set(VectorCells.WORD, bitsAt + (long) i * Long.BYTES, rankBelow(prune, ones, twos, 0));
    }
  }

  /** As {@link #ranksOf4} for runs of eight. */
  static void ranksOf8(
      MemorySegment scratchIn,
      int words,
      long cells,
      long cellStride,
      int prune,
      MemorySegment bitsIn,
      long bitsOffset) {
    long bytes = (long) words * Long.BYTES;
    MemorySegment scratch = NativeViews.base(scratchIn);
    MemorySegment bits = NativeViews.base(bitsIn);
    long bitsAt = NativeViews.at(bitsIn, bitsOffset, bytes);
    long cellsAt =
        NativeViews.at(scratchIn, cells, 3 * cellStride + VectorCells.bytes(words * Long.SIZE));
    for (int i = 0, end = Math.min(words, VectorCells.MOST); i < end; i++) {
      long before1 = VectorCells.word(scratch, cellsAt, i);
      long before2 = VectorCells.word(scratch, cellsAt + cellStride, i);
      long before3 = VectorCells.word(scratch, cellsAt + 2 * cellStride, i);
      long before4 = VectorCells.word(scratch, cellsAt + 3 * cellStride, i);
      long before7 = ~(before1 << 1 & 0xFEFEFEFEFEFEFEFEL | before1 >>> 7 & 0x0101010101010101L);
      long before6 = ~(before2 << 2 & 0xFCFCFCFCFCFCFCFCL | before2 >>> 6 & 0x0303030303030303L);
      long before5 = ~(before3 << 3 & 0xF8F8F8F8F8F8F8F8L | before3 >>> 5 & 0x0707070707070707L);
      // Seven bits summed by carry-save adders.
      long half = before1 ^ before2;
      long ones1 = half ^ before3;
      long carry1 = before1 & before2 | half & before3;
      half = before4 ^ before5;
      long ones2 = half ^ before6;
      long carry2 = before4 & before5 | half & before6;
      half = ones1 ^ ones2;
      long ones = half ^ before7;
      long carry3 = ones1 & ones2 | half & before7;
      half = carry1 ^ carry2;
      long twos = half ^ carry3;
      long fours = carry1 & carry2 | half & carry3;
      bits.set(
          VectorCells.WORD, bitsAt + (long) i * Long.BYTES, rankBelow(prune, ones, twos, fours));
    }
  }

  /** Where the number {@code 4 fours + 2 twos + ones} is below {@code prune}, at most 8. */
  private static long rankBelow(int prune, long ones, long twos, long fours) {
    if (prune == 8) {
      return -1L;
    }
    long bit4 = -(prune >>> 2 & 1L);
    long bit2 = -(prune >>> 1 & 1L);
    long bit1 = -(prune & 1L);
    return bit4 & ~fours | ~(bit4 ^ fours) & (bit2 & ~twos | ~(bit2 ^ twos) & bit1 & ~ones);
  }
}
