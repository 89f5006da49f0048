package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;
import static jdk.incubator.vector.VectorOperators.EQ;
import static jdk.incubator.vector.VectorOperators.LT;
import static jdk.incubator.vector.VectorOperators.UGE;
import static jdk.incubator.vector.VectorOperators.UMAX;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;

/**
 * The Vector API tier.
 *
 * <p>One formula serves all methods: S = |W| c + |W| |G| with a row of zeros for an absent G or c, and
 * ones for c where the score is |W| alone; products with 0 and 1 and sums with 0 are exact. Scores are
 * never negative, so their bits order like integers and comparisons are made on them.
 *
 * <p>Work goes in blocks of 64 columns, one word of selection bits each. N:M selects by rank within
 * registers: with a[i + r] before a[i] decided for r = 1 .. M/2, the other half of the comparisons is
 * the complement, rotated, and ranks are counted on the 64-bit words (a carry-save adder), which runs
 * beside the vector unit. The smallest k of a row are found in one pass over the operands: scores
 * below a bracket around the last row's threshold are marked, those inside are compressed into a list
 * of candidates, and the exact threshold among these is found by quickselect. A row whose threshold
 * falls outside the bracket is passed over again with all of it as candidates, so that the result never
 * depends on the guess.
 */
final class VectorPruneKernels implements PruneKernels {
  static final VectorPruneKernels INSTANCE = new VectorPruneKernels();

  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
  private static final int LANES = F.length();
  /** As many 16-bit lanes as F has 32-bit lanes. */
  private static final VectorSpecies<Short> H =
      VectorSpecies.of(short.class, VectorShape.forBitSize(F.vectorBitSize() / 2));

  private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
  private static final ValueLayout.OfLong WORD = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(LE);
  private static final ValueLayout.OfInt HALF_WORD = ValueLayout.JAVA_INT_UNALIGNED.withOrder(LE);
  private static final ValueLayout.OfShort QUARTER_WORD = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(LE);

  /** Columns of a block: four vectors, written out in the loops because C2 does not unroll a loop of them. */
  private static final int BLOCK = 4 * LANES;

  private static final int VECTOR_BYTES = LANES * Float.BYTES;
  private static final int BLOCK_BYTES = BLOCK * Float.BYTES;
  private static final int INFINITY_BITS = 0x7f800000;

  /** Lane i takes lane i + r of its group of M, counted around: ROTATE_Mr. Lanes whose source lies before them: WRAP_Mr. */
  private static final VectorShuffle<Integer> ROTATE_41 = rotate(4, 1);

  private static final VectorShuffle<Integer> ROTATE_42 = rotate(4, 2);
  private static final VectorShuffle<Integer> ROTATE_81 = rotate(8, 1);
  private static final VectorShuffle<Integer> ROTATE_82 = rotate(8, 2);
  private static final VectorShuffle<Integer> ROTATE_83 = rotate(8, 3);
  private static final VectorShuffle<Integer> ROTATE_84 = rotate(8, 4);
  private static final IntVector WRAP_41 = wrap(4, 1);
  private static final IntVector WRAP_42 = wrap(4, 2);
  private static final IntVector WRAP_81 = wrap(8, 1);
  private static final IntVector WRAP_82 = wrap(8, 2);
  private static final IntVector WRAP_83 = wrap(8, 3);
  private static final IntVector WRAP_84 = wrap(8, 4);

  private VectorPruneKernels() {}

  private static VectorShuffle<Integer> rotate(int of, int by) {
    return VectorShuffle.fromOp(I, i -> (i / of * of + (i % of + by) % of) % LANES);
  }

  private static IntVector wrap(int of, int by) {
    int[] wraps = new int[LANES];
    for (int i = 0; i < LANES; i++) {
      wraps[i] = i % of + by >= of ? 1 : 0;
    }
    return IntVector.fromArray(I, wraps, 0);
  }

  // Scratch memory, for rows of `padded` = n rounded up to whole words: six rows of floats, each with a
  // block of slack because compression writes whole vectors, then two rows of selection words
  // and the words of the candidates.

  private static int padded(int n) {
    return Math.ceilDiv(n, Long.SIZE) * Long.SIZE;
  }

  private static long row(int n) {
    return (long) padded(n) * Float.BYTES + BLOCK_BYTES;
  }

  private static long wRow(int n) {
    return 0;
  }

  private static long gRow(int n) {
    return row(n);
  }

  private static long cRow(int n) {
    return 2 * row(n);
  }

  private static long candidates(int n) {
    return 3 * row(n);
  }

  /** Two lists. */
  private static long spare(int n) {
    return 4 * row(n);
  }

  private static long insideWords(int n) {
    return 6 * row(n);
  }

  private static long candidateWords(int n) {
    return insideWords(n) + padded(n) / Byte.SIZE;
  }

  @Override
  public long scratchBytes(int n) {
    return candidateWords(n) + padded(n) / Byte.SIZE + 2L * Long.BYTES;
  }

  // Rows: operands that are F32 and may be written are used where they are, all others are copied to
  // scratch; the columns beyond the last whole block always are, padded with zeros.

  private static boolean direct(Operands o) {
    return o.inPlace && o.wType == DType.F32 && !o.halfProducts;
  }

  private static boolean directG(Operands o) {
    return o.gType == DType.F32 && o.method.usesGradients() && !o.halfProducts;
  }

  /** Fills the row of c, and that of an absent g: once per range of rows. */
  private static void prepare(Operands o, MemorySegment scratch) {
    int n = o.n;
    scratch.asSlice(wRow(n), 3 * row(n)).fill((byte) 0);
    if (o.method == Method.MAGNITUDE || o.halfProducts) {
      for (int j = 0; j < n; j++) {
        scratch.set(JAVA_FLOAT, cRow(n) + (long) j * Float.BYTES, 1f);
      }
    } else if (o.method.usesActivations()) {
      MemorySegment.copy(o.c, 0, scratch, cRow(n), (long) n * Float.BYTES);
    }
  }

  /** Copies to scratch what is not used where it is. */
  private static void load(Operands o, long row, MemorySegment scratch, boolean wInPlace) {
    int n = o.n;
    int whole = n / BLOCK * BLOCK;
    if (o.halfProducts) {
      ScalarPruneKernels.INSTANCE.score(o, row, scratch.asSlice(wRow(n), (long) n * Float.BYTES), scratch);
      return;
    }
    load(o.w, row * o.wStride, o.wType, wInPlace ? whole : 0, n, scratch, wRow(n));
    if (o.method.usesGradients()) {
      load(o.g, row * o.gStride, o.gType, directG(o) ? whole : 0, n, scratch, gRow(n));
    }
  }

  private static void load(
      MemorySegment from, long offset, DType type, int first, int n, MemorySegment scratch, long at) {
    if (first < n) {
      Conversions.toFloat(
          Tier.VECTOR, from, offset + (long) first * type.bytes(), type, scratch, at + (long) first * Float.BYTES, n - first);
    }
  }

  @Override
  public long score(Operands o, long row, MemorySegment out, MemorySegment scratch) {
    int n = o.n;
    prepare(o, scratch);
    load(o, row, scratch, false);
    boolean g = directG(o);
    boolean finite = true;
    int whole = n / LANES * LANES;
    finite &= scores(scratch, wRow(n), g ? o.g : scratch, g ? row * o.gStride : gRow(n), scratch, cRow(n), whole, out);
    for (int j = whole; j < n; j++) {
      long at = (long) j * Float.BYTES;
      float w = Math.abs(scratch.get(JAVA_FLOAT, wRow(n) + at));
      float byGradient = w * Math.abs(g ? o.g.get(JAVA_FLOAT_UNALIGNED, row * o.gStride + at) : scratch.get(JAVA_FLOAT, gRow(n) + at));
      float byActivation = w * scratch.get(JAVA_FLOAT, cRow(n) + at);
      float score = byActivation + byGradient;
      out.set(JAVA_FLOAT, at, score);
      finite &= Float.isFinite(score);
    }
    return finite || finiteOperands(o, row) ? ALL_FINITE : row;
  }

  private static boolean scores(
      MemorySegment wIn, long wOffset, MemorySegment gIn, long gOffset, MemorySegment cIn, long cOffset, int n, MemorySegment outIn) {
    MemorySegment w = NativeViews.exact(wIn);
    MemorySegment g = NativeViews.exact(gIn);
    MemorySegment c = NativeViews.exact(cIn);
    MemorySegment out = NativeViews.exact(outIn);
    IntVector largest = IntVector.zero(I);
    for (int j = 0; j < n; j += LANES) {
      long at = (long) j * Float.BYTES;
      FloatVector weight = FloatVector.fromMemorySegment(F, w, wOffset + at, LE).abs();
      FloatVector gradient = FloatVector.fromMemorySegment(F, g, gOffset + at, LE).abs();
      FloatVector norm = FloatVector.fromMemorySegment(F, c, cOffset + at, LE);
      FloatVector score = weight.mul(norm).add(weight.mul(gradient));
      largest = largest.lanewise(UMAX, score.reinterpretAsInts());
      score.intoMemorySegment(out, at, LE);
    }
    return !largest.compare(UGE, INFINITY_BITS).anyTrue();
  }

  /** True where every operand of a row is finite: then a score that is not has overflowed. */
  private static boolean finiteOperands(Operands o, long row) {
    for (int j = 0; j < o.n; j++) {
      if (!Float.isFinite(ScalarPruneKernels.load(o.w, row * o.wStride, o.wType, j))
          || (o.method.usesGradients()
              && !Float.isFinite(ScalarPruneKernels.load(o.g, row * o.gStride, o.gType, j)))) {
        return false;
      }
    }
    return true;
  }

  // The smallest k of every row.

  @Override
  public long pruneSmallest(
      Operands o, int k, long from, long to, MemorySegment bits, long bitsRow, long bitsStride, MemorySegment scratch) {
    int n = o.n;
    prepare(o, scratch);
    float center = 0;
    float spread = Float.POSITIVE_INFINITY;
    for (long row = from; row < to; row++) {
      load(o, row, scratch, direct(o));
      long bitsOffset = (row - bitsRow) * bitsStride;
      int low = 0;
      int high = INFINITY_BITS + 1;
      if (spread < 1) {
        low = Float.floatToRawIntBits(center * (1 - spread));
        high = Math.max(Float.floatToRawIntBits(center * (1 + spread)), low + 1);
      }
      long counts = bracketRow(o, row, low, high, bits, bitsOffset, scratch);
      int below = (int) (counts >>> 32);
      int inside = (int) counts;
      if (counts >= 0 && (k <= below || k > below + inside) && k > 0) {
        counts = bracketRow(o, row, 0, INFINITY_BITS + 1, bits, bitsOffset, scratch);
        below = 0;
        inside = (int) counts;
      }
      if (counts < 0) {
        return row;
      }
      int need = k - below;
      long found = k == 0 ? 0 : smallest(scratch, candidates(n), inside, spare(n), row(n), need);
      int threshold = (int) found;
      int ties = k == 0 ? 0 : need - (int) (found >>> 32);
      markCandidates(scratch, candidates(n), inside, threshold, ties, candidateWords(n));
      expand(scratch, insideWords(n), candidateWords(n), bits, bitsOffset, padded(n) / Long.SIZE);
      apply(o, row, bits, bitsOffset);

      float value = Float.intBitsToFloat(threshold);
      float miss = center > 0 ? Math.abs(value / center - 1) : Float.POSITIVE_INFINITY;
      spread = Math.max(MIN_SPREAD, Math.max(SPREAD_PER_MISS * miss, SPREAD_DECAY * Math.min(spread, 1)));
      center = value;
    }
    return ALL_FINITE;
  }

  // The bracket covers 1 +- spread around the last threshold. Narrow brackets cost little more than
  // none, a miss costs a second pass: so the spread opens at once and closes slowly.
  private static final float MIN_SPREAD = 0.03f;
  private static final float SPREAD_PER_MISS = 2.5f;
  private static final float SPREAD_DECAY = 0.95f;

  /** Brackets one row; the counts of {@link #bracket}, negative where an operand is not finite. */
  private static long bracketRow(
      Operands o, long row, int low, int high, MemorySegment bits, long bitsOffset, MemorySegment scratch) {
    int n = o.n;
    int blocks = n / BLOCK;
    int whole = blocks * BLOCK;
    boolean w = direct(o);
    boolean g = directG(o);
    clearLastWord(bits, bitsOffset, n);
    clearLastWord(scratch, insideWords(n), n);
    long counts =
        bracket(
            w ? o.w : scratch, w ? row * o.wStride : wRow(n), g ? o.g : scratch, g ? row * o.gStride : gRow(n),
            scratch, cRow(n), blocks, low, high, bits, bitsOffset, insideWords(n), candidates(n), 0);
    boolean finite = counts >= 0;
    counts &= Long.MAX_VALUE;
    if (whole < n) {
      long tail = (long) whole * Float.BYTES;
      long tailBits = whole / Byte.SIZE;
      long more =
          bracket(
              scratch, wRow(n) + tail, scratch, gRow(n) + tail, scratch, cRow(n) + tail, 1, low, high, bits,
              bitsOffset + tailBits, insideWords(n) + tailBits, candidates(n), (int) counts);
      finite &= more >= 0;
      // The padding is not part of the row; it comes last, in the list of candidates as well.
      long valid = (1L << (n - whole)) - 1;
      long below = getBits(bits, bitsOffset + tailBits) & valid;
      long inside = getBits(scratch, insideWords(n) + tailBits) & valid;
      setBits(bits, bitsOffset + tailBits, below);
      setBits(scratch, insideWords(n) + tailBits, inside);
      counts += (long) Long.bitCount(below) << 32 | Long.bitCount(inside);
    }
    return finite || finiteOperands(o, row) ? counts : -1;
  }

  private static void clearLastWord(MemorySegment words, long offset, int n) {
    words.set(WORD, offset + padded(n) / Byte.SIZE - Long.BYTES, 0);
  }

  /** The selection bits of one block. */
  private static long getBits(MemorySegment words, long offset) {
    return switch (BLOCK) {
      case Long.SIZE -> words.get(WORD, offset);
      case Integer.SIZE -> Integer.toUnsignedLong(words.get(HALF_WORD, offset));
      default -> Short.toUnsignedLong(words.get(QUARTER_WORD, offset));
    };
  }

  private static void setBits(MemorySegment words, long offset, long bits) {
    switch (BLOCK) {
      case Long.SIZE -> words.set(WORD, offset, bits);
      case Integer.SIZE -> words.set(HALF_WORD, offset, (int) bits);
      default -> words.set(QUARTER_WORD, offset, (short) bits);
    }
  }

  /** The bits of the scores of one vector. */
  private static IntVector score(
      MemorySegment w, long wOffset, MemorySegment g, long gOffset, MemorySegment c, long cOffset) {
    FloatVector weight = FloatVector.fromMemorySegment(F, w, wOffset, LE).abs();
    FloatVector gradient = FloatVector.fromMemorySegment(F, g, gOffset, LE).abs();
    FloatVector norm = FloatVector.fromMemorySegment(F, c, cOffset, LE);
    return weight.mul(norm).add(weight.mul(gradient)).reinterpretAsInts();
  }

  /**
   * Marks the scores below {@code low} in {@code bits} and those in [low, high) in scratch, and lists
   * the latter.
   *
   * @param listed candidates already in the list
   * @return scores below in bits 32 to 62, candidates in the list in bits 0 to 31; bit 63 set where a
   *     score is not finite
   */
  private static long bracket(
      MemorySegment wIn, long wOffset, MemorySegment gIn, long gOffset, MemorySegment scratchIn, long cOffset, int blocks,
      int low, int high, MemorySegment bitsIn, long bitsOffset, long insideOffset, long listOffset, int listed) {
    MemorySegment w = NativeViews.exact(wIn);
    MemorySegment g = NativeViews.exact(gIn);
    MemorySegment scratch = NativeViews.exact(scratchIn);
    MemorySegment bits = NativeViews.exact(bitsIn);
    IntVector largest = IntVector.zero(I);
    int below = 0;
    int inside = listed;
    for (int block = 0; block < blocks; block++) {
      long at = (long) block * BLOCK_BYTES;
      IntVector score0 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      at += VECTOR_BYTES;
      IntVector score1 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      at += VECTOR_BYTES;
      IntVector score2 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      at += VECTOR_BYTES;
      IntVector score3 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      largest = largest.lanewise(UMAX, score0.lanewise(UMAX, score1)).lanewise(UMAX, score2.lanewise(UMAX, score3));
      VectorMask<Integer> below0 = score0.compare(LT, low);
      VectorMask<Integer> below1 = score1.compare(LT, low);
      VectorMask<Integer> below2 = score2.compare(LT, low);
      VectorMask<Integer> below3 = score3.compare(LT, low);
      VectorMask<Integer> inside0 = score0.compare(LT, high).andNot(below0);
      VectorMask<Integer> inside1 = score1.compare(LT, high).andNot(below1);
      VectorMask<Integer> inside2 = score2.compare(LT, high).andNot(below2);
      VectorMask<Integer> inside3 = score3.compare(LT, high).andNot(below3);
      long bits0 = inside0.toLong();
      long bits1 = inside1.toLong();
      long bits2 = inside2.toLong();
      long bits3 = inside3.toLong();
      score0.compress(inside0).intoMemorySegment(scratch, listOffset + (long) inside * Integer.BYTES, LE);
      inside += Long.bitCount(bits0);
      score1.compress(inside1).intoMemorySegment(scratch, listOffset + (long) inside * Integer.BYTES, LE);
      inside += Long.bitCount(bits1);
      score2.compress(inside2).intoMemorySegment(scratch, listOffset + (long) inside * Integer.BYTES, LE);
      inside += Long.bitCount(bits2);
      score3.compress(inside3).intoMemorySegment(scratch, listOffset + (long) inside * Integer.BYTES, LE);
      inside += Long.bitCount(bits3);
      long belowBits =
          below0.toLong() | below1.toLong() << LANES | below2.toLong() << 2 * LANES | below3.toLong() << 3 * LANES;
      below += Long.bitCount(belowBits);
      long word = (long) block * (BLOCK / Byte.SIZE);
      setBits(bits, bitsOffset + word, belowBits);
      setBits(scratch, insideOffset + word, bits0 | bits1 << LANES | bits2 << 2 * LANES | bits3 << 3 * LANES);
    }
    long overflow = largest.compare(UGE, INFINITY_BITS).anyTrue() ? Long.MIN_VALUE : 0;
    return overflow | (long) below << 32 | inside;
  }

  /**
   * The {@code need}-th smallest of a list of scores, 1 &le; need &le; count, by quickselect on
   * vectors. A round takes one vector of the list as a sample and keeps what lies between two of its
   * order statistics around the wanted rank; where the rank lies outside, it keeps that side. A value
   * that many scores share ends the search at once.
   *
   * @param spare room for two lists of {@code stride} bytes, each the part that is still in play
   * @return the bits of the score in bits 0 to 31, and how many of the list are smaller in bits 32 to 63
   */
  private static long smallest(MemorySegment scratchIn, long list, int count, long spare, long stride, int need) {
    MemorySegment scratch = NativeViews.exact(scratchIn);
    long from = list;
    long to = spare;
    int n = count;
    int rank = need - 1;
    int smaller = 0;
    int hash = 0x9e3779b9;
    pad(scratch, from, n);
    while (n > LANES) {
      hash = hash * 0x2c1b3c6d + 0x297a2d39;
      long sample = from + (Integer.toUnsignedLong(hash) * (n - LANES + 1) >>> Integer.SIZE) * Integer.BYTES;
      int middle = (int) ((long) rank * LANES / n);
      int low = middle < MARGIN ? 0 : ranked(scratch, sample, middle - MARGIN);
      int high = middle + MARGIN >= LANES ? Integer.MAX_VALUE : ranked(scratch, sample, middle + MARGIN) + 1;
      long counts = between(scratch, from, n, low, high, to);
      int less = (int) (counts >>> 32);
      int kept = (int) counts;
      if (rank < less) {
        high = low;
        low = 0;
        kept = (int) between(scratch, from, n, low, high, to);
        less = 0;
      } else if (rank >= less + kept) {
        low = high;
        high = Integer.MAX_VALUE;
        counts = between(scratch, from, n, low, high, to);
        less = (int) (counts >>> 32);
        kept = (int) counts;
      }
      rank -= less;
      smaller += less;
      if (high - low == 1) {
        return (long) smaller << 32 | low;
      }
      pad(scratch, to, kept);
      n = kept;
      from = to;
      to = from == spare ? spare + stride : spare;
    }
    int found = ranked(scratch, from, rank);
    int less = IntVector.fromMemorySegment(I, scratch, from, LE).compare(LT, found).trueCount();
    return (long) (smaller + less) << 32 | found;
  }

  /** Order statistics of the sample to either side of the wanted one: a quarter of the list is kept. */
  private static final int MARGIN = Math.max(1, LANES / 8);

  /** Above every score: fills the list up to a whole block. */
  private static void pad(MemorySegment scratch, long list, int count) {
    long end = list + (long) count * Integer.BYTES;
    for (int i = 0; i < BLOCK; i += LANES) {
      IntVector.broadcast(I, Integer.MAX_VALUE).intoMemorySegment(scratch, end + (long) i * Integer.BYTES, LE);
    }
  }

  /** The value of ascending rank {@code rank}, from 0, in the vector at {@code offset}. */
  private static int ranked(MemorySegment scratch, long offset, int rank) {
    IntVector values = IntVector.fromMemorySegment(I, scratch, offset, LE);
    for (int i = 0; i < LANES; i++) {
      int value = scratch.get(JAVA_INT, offset + (long) i * Integer.BYTES);
      int less = values.compare(LT, value).trueCount();
      if (less <= rank && rank < less + values.compare(EQ, value).trueCount()) {
        return value;
      }
    }
    throw new AssertionError("no value of rank " + rank);
  }

  /** Copies the scores in [low, high); counts those below in bits 32 to 63, the copied in bits 0 to 31. */
  private static long between(MemorySegment scratchIn, long from, int n, int low, int high, long to) {
    MemorySegment scratch = NativeViews.exact(scratchIn);
    int less = 0;
    int kept = 0;
    for (int i = 0; i < n; i += LANES) {
      IntVector score = IntVector.fromMemorySegment(I, scratch, from + (long) i * Integer.BYTES, LE);
      VectorMask<Integer> below = score.compare(LT, low);
      VectorMask<Integer> keep = score.compare(LT, high).andNot(below);
      score.compress(keep).intoMemorySegment(scratch, to + (long) kept * Integer.BYTES, LE);
      less += below.trueCount();
      kept += keep.trueCount();
    }
    return (long) less << 32 | kept;
  }

  /** One bit per candidate: below the threshold, or among the first {@code ties} equal to it. */
  private static void markCandidates(
      MemorySegment scratchIn, long list, int count, int threshold, int ties, long words) {
    MemorySegment scratch = NativeViews.exact(scratchIn);
    int left = ties;
    int blocks = Math.ceilDiv(count, BLOCK);
    for (int block = 0; block < blocks; block++) {
      long at = list + (long) block * BLOCK_BYTES;
      IntVector score0 = IntVector.fromMemorySegment(I, scratch, at, LE);
      IntVector score1 = IntVector.fromMemorySegment(I, scratch, at + VECTOR_BYTES, LE);
      IntVector score2 = IntVector.fromMemorySegment(I, scratch, at + 2 * VECTOR_BYTES, LE);
      IntVector score3 = IntVector.fromMemorySegment(I, scratch, at + 3 * VECTOR_BYTES, LE);
      long less =
          score0.compare(LT, threshold).toLong()
              | score1.compare(LT, threshold).toLong() << LANES
              | score2.compare(LT, threshold).toLong() << 2 * LANES
              | score3.compare(LT, threshold).toLong() << 3 * LANES;
      long equal =
          score0.compare(EQ, threshold).toLong()
              | score1.compare(EQ, threshold).toLong() << LANES
              | score2.compare(EQ, threshold).toLong() << 2 * LANES
              | score3.compare(EQ, threshold).toLong() << 3 * LANES;
      long taken = lowest(equal, left);
      left -= Long.bitCount(taken);
      setBits(scratch, words + (long) block * (BLOCK / Byte.SIZE), less | taken);
    }
    // Read, and shifted out, at the end of the expansion.
    scratch.set(WORD, words + (long) blocks * (BLOCK / Byte.SIZE), 0);
  }

  /** The lowest {@code count} set bits of a word. */
  private static long lowest(long word, int count) {
    return count >= Long.bitCount(word) ? word : Long.expand((1L << count) - 1, word);
  }

  /** Puts the bits of the candidates back to their columns and adds them to the bits below the bracket. */
  private static void expand(
      MemorySegment scratchIn, long insideOffset, long candidateOffset, MemorySegment bitsIn, long bitsOffset, int words) {
    MemorySegment scratch = NativeViews.exact(scratchIn);
    MemorySegment bits = NativeViews.exact(bitsIn);
    int at = 0;
    for (int i = 0; i < words; i++) {
      long inside = scratch.get(WORD, insideOffset + (long) i * Long.BYTES);
      long word = candidateOffset + (long) (at >>> 6) * Long.BYTES;
      long next = scratch.get(WORD, word) >>> at | scratch.get(WORD, word + Long.BYTES) << 1 << (63 - (at & 63));
      long below = bits.get(WORD, bitsOffset + (long) i * Long.BYTES);
      bits.set(WORD, bitsOffset + (long) i * Long.BYTES, below | Long.expand(next, inside));
      at += Long.bitCount(inside);
    }
  }

  @Override
  public long pruneBelow(
      Operands o, long row, float threshold, long ties, MemorySegment bits, long bitsOffset, MemorySegment scratch) {
    int n = o.n;
    prepare(o, scratch);
    load(o, row, scratch, direct(o));
    int bound = Float.floatToRawIntBits(threshold);
    long counts = bracketRow(o, row, bound, bound + 1, bits, bitsOffset, scratch);
    if (counts < 0) {
      return row;
    }
    pad(scratch, candidates(n), (int) counts);
    markCandidates(
        scratch, candidates(n), (int) counts, bound, (int) Math.min(ties, Integer.MAX_VALUE), candidateWords(n));
    expand(scratch, insideWords(n), candidateWords(n), bits, bitsOffset, padded(n) / Long.SIZE);
    apply(o, row, bits, bitsOffset);
    return ALL_FINITE;
  }

  // N of every M columns.

  @Override
  public long pruneGroups(
      Operands o, int prune, int of, long from, long to, MemorySegment bits, long bitsRow, long bitsStride, MemorySegment scratch) {
    int n = o.n;
    boolean inRegisters = (of == 4 || of == 8) && of <= LANES;
    if (inRegisters) {
      prepare(o, scratch);
    }
    for (long row = from; row < to; row++) {
      long bitsOffset = (row - bitsRow) * bitsStride;
      if (!inRegisters) {
        MemorySegment scores = scratch.asSlice(candidates(n), (long) n * Float.BYTES);
        if (score(o, row, scores, scratch) != ALL_FINITE) {
          return row;
        }
        ScalarPruneKernels.selectGroups(scores, n, prune, of, bits, bitsOffset);
        apply(o, row, bits, bitsOffset);
        continue;
      }
      load(o, row, scratch, direct(o));
      boolean w = direct(o);
      boolean g = directG(o);
      int blocks = n / BLOCK;
      int whole = blocks * BLOCK;
      clearLastWord(bits, bitsOffset, n);
      boolean finite =
          groups(
              o, row, prune, of, w ? o.w : scratch, w ? row * o.wStride : wRow(n), g ? o.g : scratch,
              g ? row * o.gStride : gRow(n), scratch, cRow(n), blocks, bits, bitsOffset);
      if (finite && whole < n) {
        long tail = (long) whole * Float.BYTES;
        long tailBits = bitsOffset + whole / Byte.SIZE;
        finite =
            groups(
                o, row, prune, of, scratch, wRow(n) + tail, scratch, gRow(n) + tail, scratch, cRow(n) + tail, 1, bits, tailBits);
        setBits(bits, tailBits, getBits(bits, tailBits) & (1L << (n - whole)) - 1);
      }
      if (!finite) {
        return row;
      }
      if (w) {
        applyTail(o, row, whole, bits, bitsOffset);
      } else {
        apply(o, row, bits, bitsOffset);
      }
    }
    return ALL_FINITE;
  }

  /** Selects and zeroes block after block; false where an operand is not finite, in a block that is still whole. */
  private static boolean groups(
      Operands o, long row, int prune, int of, MemorySegment w, long wOffset, MemorySegment g, long gOffset, MemorySegment scratch,
      long cOffset, int blocks, MemorySegment bits, long bitsOffset) {
    int done = 0;
    int bound = INFINITY_BITS;
    while (true) {
      done =
          of == 4
              ? groupsOf4(prune, w, wOffset, g, gOffset, scratch, cOffset, done, blocks, bound, bits, bitsOffset)
              : groupsOf8(prune, w, wOffset, g, gOffset, scratch, cOffset, done, blocks, bound, bits, bitsOffset);
      if (done == blocks) {
        return true;
      }
      if (!finiteOperands(o, row)) {
        return false;
      }
      // The score overflowed and counts as infinity: go on without the check.
      bound = -1;
    }
  }

  /**
   * Blocks {@code [from, to)}; returns the first block with a score of {@code bound} or more, else
   * {@code to}. One more than the score lets an equal rival from a lower column come before it.
   */
  private static int groupsOf4(
      int prune, MemorySegment wIn, long wOffset, MemorySegment gIn, long gOffset, MemorySegment scratchIn, long cOffset, int from,
      int to, int bound, MemorySegment bitsIn, long bitsOffset) {
    MemorySegment w = NativeViews.exact(wIn);
    MemorySegment g = NativeViews.exact(gIn);
    MemorySegment scratch = NativeViews.exact(scratchIn);
    MemorySegment bits = NativeViews.exact(bitsIn);
    IntVector wrap1 = WRAP_41;
    IntVector wrap2 = WRAP_42;
    for (int block = from; block < to; block++) {
      long at = (long) block * BLOCK_BYTES;
      IntVector score0 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      at += VECTOR_BYTES;
      IntVector score1 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      at += VECTOR_BYTES;
      IntVector score2 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      at += VECTOR_BYTES;
      IntVector score3 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      IntVector largest = score0.lanewise(UMAX, score1).lanewise(UMAX, score2.lanewise(UMAX, score3));
      if (largest.compare(UGE, bound).anyTrue()) {
        return block;
      }
      long before1 =
          score0.rearrange(ROTATE_41).compare(LT, score0.add(wrap1)).toLong()
              | score1.rearrange(ROTATE_41).compare(LT, score1.add(wrap1)).toLong() << LANES
              | score2.rearrange(ROTATE_41).compare(LT, score2.add(wrap1)).toLong() << 2 * LANES
              | score3.rearrange(ROTATE_41).compare(LT, score3.add(wrap1)).toLong() << 3 * LANES;
      long before2 =
          score0.rearrange(ROTATE_42).compare(LT, score0.add(wrap2)).toLong()
              | score1.rearrange(ROTATE_42).compare(LT, score1.add(wrap2)).toLong() << LANES
              | score2.rearrange(ROTATE_42).compare(LT, score2.add(wrap2)).toLong() << 2 * LANES
              | score3.rearrange(ROTATE_42).compare(LT, score3.add(wrap2)).toLong() << 3 * LANES;
      long before3 = ~(before1 << 1 & 0xEEEEEEEEEEEEEEEEL | before1 >>> 3 & 0x1111111111111111L);
      long half = before1 ^ before2;
      long ones = half ^ before3;
      long twos = before1 & before2 | half & before3;
      long pruned = rankBelow(prune, ones, twos, 0);
      setBits(bits, bitsOffset + (long) block * (BLOCK / Byte.SIZE), pruned);
      zero32(w, wOffset + (long) block * BLOCK_BYTES, pruned);
    }
    return to;
  }

  /** As {@link #groupsOf4} for runs of eight. */
  private static int groupsOf8(
      int prune, MemorySegment wIn, long wOffset, MemorySegment gIn, long gOffset, MemorySegment scratchIn, long cOffset, int from,
      int to, int bound, MemorySegment bitsIn, long bitsOffset) {
    MemorySegment w = NativeViews.exact(wIn);
    MemorySegment g = NativeViews.exact(gIn);
    MemorySegment scratch = NativeViews.exact(scratchIn);
    MemorySegment bits = NativeViews.exact(bitsIn);
    IntVector wrap1 = WRAP_81;
    IntVector wrap2 = WRAP_82;
    IntVector wrap3 = WRAP_83;
    IntVector wrap4 = WRAP_84;
    for (int block = from; block < to; block++) {
      long at = (long) block * BLOCK_BYTES;
      IntVector score0 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      at += VECTOR_BYTES;
      IntVector score1 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      at += VECTOR_BYTES;
      IntVector score2 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      at += VECTOR_BYTES;
      IntVector score3 = score(w, wOffset + at, g, gOffset + at, scratch, cOffset + at);
      IntVector largest = score0.lanewise(UMAX, score1).lanewise(UMAX, score2.lanewise(UMAX, score3));
      if (largest.compare(UGE, bound).anyTrue()) {
        return block;
      }
      long before1 =
          score0.rearrange(ROTATE_81).compare(LT, score0.add(wrap1)).toLong()
              | score1.rearrange(ROTATE_81).compare(LT, score1.add(wrap1)).toLong() << LANES
              | score2.rearrange(ROTATE_81).compare(LT, score2.add(wrap1)).toLong() << 2 * LANES
              | score3.rearrange(ROTATE_81).compare(LT, score3.add(wrap1)).toLong() << 3 * LANES;
      long before2 =
          score0.rearrange(ROTATE_82).compare(LT, score0.add(wrap2)).toLong()
              | score1.rearrange(ROTATE_82).compare(LT, score1.add(wrap2)).toLong() << LANES
              | score2.rearrange(ROTATE_82).compare(LT, score2.add(wrap2)).toLong() << 2 * LANES
              | score3.rearrange(ROTATE_82).compare(LT, score3.add(wrap2)).toLong() << 3 * LANES;
      long before3 =
          score0.rearrange(ROTATE_83).compare(LT, score0.add(wrap3)).toLong()
              | score1.rearrange(ROTATE_83).compare(LT, score1.add(wrap3)).toLong() << LANES
              | score2.rearrange(ROTATE_83).compare(LT, score2.add(wrap3)).toLong() << 2 * LANES
              | score3.rearrange(ROTATE_83).compare(LT, score3.add(wrap3)).toLong() << 3 * LANES;
      long before4 =
          score0.rearrange(ROTATE_84).compare(LT, score0.add(wrap4)).toLong()
              | score1.rearrange(ROTATE_84).compare(LT, score1.add(wrap4)).toLong() << LANES
              | score2.rearrange(ROTATE_84).compare(LT, score2.add(wrap4)).toLong() << 2 * LANES
              | score3.rearrange(ROTATE_84).compare(LT, score3.add(wrap4)).toLong() << 3 * LANES;
      long before7 = ~(before1 << 1 & 0xFEFEFEFEFEFEFEFEL | before1 >>> 7 & 0x0101010101010101L);
      long before6 = ~(before2 << 2 & 0xFCFCFCFCFCFCFCFCL | before2 >>> 6 & 0x0303030303030303L);
      long before5 = ~(before3 << 3 & 0xF8F8F8F8F8F8F8F8L | before3 >>> 5 & 0x0707070707070707L);
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
      long pruned = rankBelow(prune, ones, twos, fours);
      setBits(bits, bitsOffset + (long) block * (BLOCK / Byte.SIZE), pruned);
      zero32(w, wOffset + (long) block * BLOCK_BYTES, pruned);
    }
    return to;
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

  // Application.

  private static void apply(Operands o, long row, MemorySegment bits, long bitsOffset) {
    if (!o.inPlace) {
      return;
    }
    long offset = row * o.wStride;
    int blocks = o.n / BLOCK;
    if (o.wType == DType.F32) {
      apply32(o.w, offset, bits, bitsOffset, blocks);
    } else {
      apply16(o.w, offset, bits, bitsOffset, blocks);
    }
    applyTail(o, row, blocks * BLOCK, bits, bitsOffset);
  }

  private static void apply32(MemorySegment wIn, long offset, MemorySegment bitsIn, long bitsOffset, int blocks) {
    MemorySegment w = NativeViews.exact(wIn);
    MemorySegment bits = NativeViews.exact(bitsIn);
    for (int block = 0; block < blocks; block++) {
      zero32(w, offset + (long) block * BLOCK_BYTES, getBits(bits, bitsOffset + (long) block * (BLOCK / Byte.SIZE)));
    }
  }

  /** Zeroes the marked weights of one block. */
  private static void zero32(MemorySegment w, long at, long pruned) {
    zero32(w, at, VectorMask.fromLong(F, pruned));
    zero32(w, at + VECTOR_BYTES, VectorMask.fromLong(F, pruned >>> LANES));
    zero32(w, at + 2 * VECTOR_BYTES, VectorMask.fromLong(F, pruned >>> 2 * LANES));
    zero32(w, at + 3 * VECTOR_BYTES, VectorMask.fromLong(F, pruned >>> 3 * LANES));
  }

  // A blend and a whole store: faster than a masked store, and no slower on machines without mask registers.
  private static void zero32(MemorySegment w, long at, VectorMask<Float> pruned) {
    FloatVector.fromMemorySegment(F, w, at, LE).blend(FloatVector.zero(F), pruned).intoMemorySegment(w, at, LE);
  }

  private static void apply16(MemorySegment wIn, long offset, MemorySegment bitsIn, long bitsOffset, int blocks) {
    MemorySegment w = NativeViews.exact(wIn);
    MemorySegment bits = NativeViews.exact(bitsIn);
    for (int block = 0; block < blocks; block++) {
      long pruned = getBits(bits, bitsOffset + (long) block * (BLOCK / Byte.SIZE));
      long at = offset + (long) block * BLOCK * Short.BYTES;
      int step = LANES * Short.BYTES;
      zero16(w, at, VectorMask.fromLong(H, pruned));
      zero16(w, at + step, VectorMask.fromLong(H, pruned >>> LANES));
      zero16(w, at + 2L * step, VectorMask.fromLong(H, pruned >>> 2 * LANES));
      zero16(w, at + 3L * step, VectorMask.fromLong(H, pruned >>> 3 * LANES));
    }
  }

  private static void zero16(MemorySegment w, long at, VectorMask<Short> pruned) {
    ShortVector.fromMemorySegment(H, w, at, LE).blend(ShortVector.zero(H), pruned).intoMemorySegment(w, at, LE);
  }

  /** The columns from {@code first} on, fewer than a block. */
  private static void applyTail(Operands o, long row, int first, MemorySegment bits, long bitsOffset) {
    if (first == o.n) {
      return;
    }
    long pruned = getBits(bits, bitsOffset + first / Byte.SIZE);
    while (pruned != 0) {
      long at = row * o.wStride + (long) (first + Long.numberOfTrailingZeros(pruned)) * o.wType.bytes();
      if (o.wType == DType.F32) {
        o.w.set(JAVA_FLOAT_UNALIGNED, at, 0f);
      } else {
        o.w.set(JAVA_SHORT_UNALIGNED, at, (short) 0);
      }
      pruned &= pruned - 1;
    }
  }
}
