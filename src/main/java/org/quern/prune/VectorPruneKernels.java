package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;

/**
 * The Vector API tier: a row at a time through the passes of {@link VectorScores}, the selection of
 * {@link VectorSelect}, and the zeroing of {@link VectorCells}.
 *
 * <p>N:M selects by rank: with "score i + r of the run comes before score i" decided for r = 1 to
 * M/2, the other half of the comparisons is the complement, rotated, and ranks are counted on the
 * 64-bit words of the masks. The smallest k of a row are found in one pass over the operands:
 * scores below a bracket around the last row's threshold are marked, those inside are compressed
 * into a list, and the exact threshold is found in the list. A row whose threshold falls outside
 * the bracket is passed over again with all of it in the list, so that the result never depends on
 * the guess.
 */
final class VectorPruneKernels implements PruneKernels {
  static final VectorPruneKernels INSTANCE = new VectorPruneKernels();

  private static final int LANES = VectorCells.LANES;

  private VectorPruneKernels() {}

  // Scratch memory: six rows of floats, each rounded up to whole words of selection bits and with a
  // vector of room behind it, because compression writes whole vectors; then the cells of four
  // masks,
  // the first two of which also serve as double cells.

  private static int padded(int n) {
    return Math.ceilDiv(n, Long.SIZE) * Long.SIZE;
  }

  private static long row(int n) {
    return (long) padded(n) * Float.BYTES + VectorCells.BYTES;
  }

  private static long gRow(int n) {
    return row(n);
  }

  private static long cRow(int n) {
    return 2 * row(n);
  }

  private static long list(int n) {
    return 3 * row(n);
  }

  /** Two more lists. */
  private static long spare(int n) {
    return 4 * row(n);
  }

  private static long cells(int n, int set) {
    return 6 * row(n) + set * VectorCells.bytes(padded(n));
  }

  @Override
  public long scratchBytes(int n) {
    return cells(n, 4);
  }

  private static boolean direct(Operands o) {
    return o.inPlace && o.wType == DType.F32 && !o.halfProducts;
  }

  private static boolean directG(Operands o) {
    return o.gType == DType.F32 && o.method.usesGradients() && !o.halfProducts;
  }

  /** Zeroes the padding, and fills the row of c: once per range of rows. */
  private static void prepare(Operands o, MemorySegment scratch) {
    int n = o.n;
    for (long at = 0; at < cells(n, 4); at += Long.BYTES) {
      scratch.set(VectorCells.WORD, at, 0);
    }
    if (o.method == Method.MAGNITUDE || o.halfProducts) {
      for (int j = 0; j < n; j++) {
        scratch.set(JAVA_FLOAT, cRow(n) + (long) j * Float.BYTES, 1f);
      }
    } else if (o.method.usesActivations()) {
      MemorySegment.copy(o.c, 0, scratch, cRow(n), (long) n * Float.BYTES);
    }
  }

  /** Copies a row to scratch as F32: all of it, or what is left behind the last whole vector. */
  private static void load(Operands o, long row, MemorySegment scratch, boolean wholeW) {
    int n = o.n;
    int whole = n / LANES * LANES;
    if (o.halfProducts) {
      ScalarPruneKernels.INSTANCE.score(o, row, scratch, scratch);
      return;
    }
    load(o.w, row * o.wStride, o.wType, wholeW ? 0 : whole, n, scratch, 0);
    if (o.method.usesGradients()) {
      load(o.g, row * o.gStride, o.gType, directG(o) ? whole : 0, n, scratch, gRow(n));
    }
  }

  private static void load(
      MemorySegment from,
      long offset,
      DType type,
      int first,
      int n,
      MemorySegment scratch,
      long at) {
    if (first < n) {
      Conversions.toFloat(
          Tier.VECTOR,
          from,
          offset + (long) first * type.bytes(),
          type,
          scratch,
          at + (long) first * Float.BYTES,
          n - first);
    }
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

  @Override
  public long score(Operands o, long row, MemorySegment out, MemorySegment scratch) {
    int n = o.n;
    prepare(o, scratch);
    load(o, row, scratch, true);
    int whole = n / LANES * LANES;
    boolean g = directG(o);
    long result =
        VectorScores.write(
            scratch,
            0,
            g ? o.g : scratch,
            g ? row * o.gStride : gRow(n),
            scratch,
            cRow(n),
            whole / LANES,
            out,
            0);
    if (whole < n) {
      long tail = (long) whole * Float.BYTES;
      result |=
          VectorScores.write(
              scratch, tail, scratch, gRow(n) + tail, scratch, cRow(n) + tail, 1, scratch, list(n));
      MemorySegment.copy(scratch, list(n), out, tail, (long) (n - whole) * Float.BYTES);
    }
    return result >= 0 || finiteOperands(o, row) ? ALL_FINITE : row;
  }

  // The smallest k of every row. The bracket covers 1 +- spread around the last threshold. A wide
  // bracket costs little, a miss costs a second pass: so the spread opens at once and closes
  // slowly.

  private static final float FIRST_SPREAD = 0.25f;
  private static final float MIN_SPREAD = 0.03f;
  private static final float SPREAD_PER_MISS = 1.8f;
  private static final float SPREAD_DECAY = 0.95f;
  private static final float CENTER_GAIN = 0.5f;

  /** One more than the bits of the largest score: finite scores may overflow to infinity. */
  private static final int ABOVE_ALL = VectorScores.INFINITY_BITS + 1;

  @Override
  public long pruneSmallest(
      Operands o,
      int k,
      long from,
      long to,
      MemorySegment bits,
      long bitsRow,
      long bitsStride,
      MemorySegment scratch) {
    int n = o.n;
    prepare(o, scratch);
    float center = 0;
    float spread = 1;
    for (long row = from; row < to; row++) {
      load(o, row, scratch, !direct(o));
      int low = 0;
      int high = ABOVE_ALL;
      if (spread < 1) {
        low = Float.floatToRawIntBits(center * (1 - spread));
        high = Math.max(Float.floatToRawIntBits(center * (1 + spread)), low + 1);
      }
      long counts = bracket(o, row, low, high, scratch);
      int below = (int) (counts >>> Integer.SIZE);
      int inside = (int) counts;
      if (counts >= 0 && k > 0 && (k <= below || k > below + inside)) {
        low = 0;
        high = ABOVE_ALL;
        counts = bracket(o, row, low, high, scratch);
        below = 0;
        inside = (int) counts;
      }
      if (counts < 0) {
        return row;
      }
      long bitsOffset = (row - bitsRow) * bitsStride;
      if (k == 0) {
        select(o, 0, 0, 0, bits, bitsOffset, scratch);
        continue;
      }
      long found =
          VectorSelect.smallest(scratch, list(n), inside, spare(n), row(n), k - below, low, high);
      int threshold = (int) found;
      select(
          o,
          inside,
          threshold,
          k - below - (int) (found >>> Integer.SIZE),
          bits,
          bitsOffset,
          scratch);
      apply(o, row, bits, bitsOffset);

      float value = Float.intBitsToFloat(threshold);
      if (center > 0) {
        float miss = Math.abs(value / center - 1);
        spread = Math.max(MIN_SPREAD, Math.max(SPREAD_PER_MISS * miss, SPREAD_DECAY * spread));
        center += CENTER_GAIN * (value - center);
      } else {
        spread = FIRST_SPREAD;
        center = value;
      }
    }
    return ALL_FINITE;
  }

  /**
   * Brackets one row.
   *
   * @return scores below in bits 32 to 62, scores inside in bits 0 to 31; negative where an operand
   *     is not finite
   */
  private static long bracket(Operands o, long row, int low, int high, MemorySegment scratch) {
    int n = o.n;
    int vectors = n / LANES;
    boolean w = direct(o);
    boolean g = directG(o);
    long result =
        VectorScores.bracket(
            w ? o.w : scratch,
            w ? row * o.wStride : 0,
            g ? o.g : scratch,
            g ? row * o.gStride : gRow(n),
            scratch,
            cRow(n),
            vectors,
            low,
            high,
            cells(n, 0),
            list(n));
    int tailLanes = n - vectors * LANES;
    if (tailLanes > 0) {
      long tail = (long) vectors * VectorCells.BYTES;
      long more =
          VectorScores.bracket(
              scratch,
              tail,
              scratch,
              gRow(n) + tail,
              scratch,
              cRow(n) + tail,
              1,
              low,
              high,
              VectorCells.doubleAt(cells(n, 0), vectors),
              list(n) + (long) (int) result * Integer.BYTES);
      // The padding is not part of the row; it comes last, in the list as well.
      result += VectorCells.keepDouble(scratch, cells(n, 0), vectors, tailLanes);
      result |= more & VectorScores.NOT_FINITE;
    }
    if (result >= 0) {
      return result;
    }
    return finiteOperands(o, row) ? result & Long.MAX_VALUE : -1;
  }

  private static void select(
      Operands o,
      int inside,
      int threshold,
      int ties,
      MemorySegment bits,
      long bitsOffset,
      MemorySegment scratch) {
    int n = o.n;
    VectorSelect.compare(scratch, list(n), inside, threshold, cells(n, 2), cells(n, 3));
    VectorSelect.select(
        scratch,
        padded(n) / Long.SIZE,
        cells(n, 0),
        inside,
        cells(n, 2),
        cells(n, 3),
        ties,
        bits,
        bitsOffset);
  }

  @Override
  public long pruneBelow(
      Operands o,
      long row,
      float threshold,
      long ties,
      MemorySegment bits,
      long bitsOffset,
      MemorySegment scratch) {
    prepare(o, scratch);
    load(o, row, scratch, !direct(o));
    int bound = Float.floatToRawIntBits(threshold);
    long counts = bracket(o, row, bound, bound + 1, scratch);
    if (counts < 0) {
      return row;
    }
    select(
        o, (int) counts, bound, (int) Math.min(ties, Integer.MAX_VALUE), bits, bitsOffset, scratch);
    apply(o, row, bits, bitsOffset);
    return ALL_FINITE;
  }

  // N of every M columns, a strip of a row at a time: its weights are zeroed while they are in the
  // first-level cache.

  private static final int STRIP = 1024;

  @Override
  public long pruneGroups(
      Operands o,
      int prune,
      int of,
      long from,
      long to,
      MemorySegment bits,
      long bitsRow,
      long bitsStride,
      MemorySegment scratch) {
    if ((of != 4 && of != 8) || of > LANES) {
      return pruneGroupsByScore(o, prune, of, from, to, bits, bitsRow, bitsStride, scratch);
    }
    prepare(o, scratch);
    for (long row = from; row < to; row++) {
      load(o, row, scratch, !direct(o));
      long bitsOffset = (row - bitsRow) * bitsStride;
      for (int column = 0; column < o.n; column += STRIP) {
        int columns = Math.min(STRIP, o.n - column);
        if (runs(o, row, column, columns, of, scratch) < 0 && !finiteOperands(o, row)) {
          return row;
        }
        rank(o, column, columns, prune, of, bits, bitsOffset, scratch);
        zero(o, row, column, columns / LANES, bits, bitsOffset);
      }
      zeroTail(o, row, bits, bitsOffset);
    }
    return ALL_FINITE;
  }

  private static long runs(
      Operands o, long row, int column, int columns, int of, MemorySegment scratch) {
    int n = o.n;
    int vectors = columns / LANES;
    long at = (long) column * Float.BYTES;
    boolean w = direct(o);
    boolean g = directG(o);
    long stride = cells(n, 1) - cells(n, 0);
    long result =
        runs(
            of,
            w ? o.w : scratch,
            at + (w ? row * o.wStride : 0),
            g ? o.g : scratch,
            at + (g ? row * o.gStride : gRow(n)),
            scratch,
            at + cRow(n),
            vectors,
            cells(n, 0),
            stride);
    if (vectors * LANES < columns) {
      long tail = at + (long) vectors * VectorCells.BYTES;
      long cells = VectorCells.at(cells(n, 0), vectors);
      result |=
          runs(
              of,
              scratch,
              tail,
              scratch,
              gRow(n) + tail,
              scratch,
              cRow(n) + tail,
              1,
              cells,
              stride);
    }
    return result;
  }

  private static long runs(
      int of,
      MemorySegment w,
      long wOffset,
      MemorySegment g,
      long gOffset,
      MemorySegment scratch,
      long cOffset,
      int vectors,
      long cells,
      long stride) {
    return of == 4
        ? VectorScores.runsOf4(w, wOffset, g, gOffset, scratch, cOffset, vectors, cells, stride)
        : VectorScores.runsOf8(w, wOffset, g, gOffset, scratch, cOffset, vectors, cells, stride);
  }

  private static void rank(
      Operands o,
      int column,
      int columns,
      int prune,
      int of,
      MemorySegment bits,
      long bitsOffset,
      MemorySegment scratch) {
    int n = o.n;
    long stride = cells(n, 1) - cells(n, 0);
    int words = Math.ceilDiv(columns, Long.SIZE);
    long at = bitsOffset + column / Byte.SIZE;
    if (of == 4) {
      VectorSelect.ranksOf4(scratch, words, cells(n, 0), stride, prune, bits, at);
    } else {
      VectorSelect.ranksOf8(scratch, words, cells(n, 0), stride, prune, bits, at);
    }
    if (columns % Long.SIZE != 0) {
      long last = at + (long) (words - 1) * Long.BYTES;
      long valid = (1L << columns % Long.SIZE) - 1;
      bits.set(VectorCells.WORD, last, bits.get(VectorCells.WORD, last) & valid);
    }
  }

  /** Runs that do not fit in a vector evenly: scores by vectors, ranks one by one. */
  private long pruneGroupsByScore(
      Operands o,
      int prune,
      int of,
      long from,
      long to,
      MemorySegment bits,
      long bitsRow,
      long bitsStride,
      MemorySegment scratch) {
    MemorySegment scores = scratch.asSlice(spare(o.n), (long) o.n * Float.BYTES);
    for (long row = from; row < to; row++) {
      if (score(o, row, scores, scratch) != ALL_FINITE) {
        return row;
      }
      long bitsOffset = (row - bitsRow) * bitsStride;
      ScalarPruneKernels.selectGroups(scores, o.n, prune, of, bits, bitsOffset);
      apply(o, row, bits, bitsOffset);
    }
    return ALL_FINITE;
  }

  // Application.

  private static void apply(Operands o, long row, MemorySegment bits, long bitsOffset) {
    zero(o, row, 0, o.n / LANES, bits, bitsOffset);
    zeroTail(o, row, bits, bitsOffset);
  }

  /** Zeroes the marked weights of whole vectors from {@code column} on, a multiple of 64. */
  private static void zero(
      Operands o, long row, int column, int vectors, MemorySegment bits, long bitsOffset) {
    if (!o.inPlace) {
      return;
    }
    long at = row * o.wStride + (long) column * o.wType.bytes();
    if (o.wType == DType.F32) {
      VectorCells.zero32(o.w, at, bits, bitsOffset + column / Byte.SIZE, vectors);
    } else {
      VectorCells.zero16(o.w, at, bits, bitsOffset + column / Byte.SIZE, vectors);
    }
  }

  /** Zeroes the marked weights behind the last whole vector. */
  private static void zeroTail(Operands o, long row, MemorySegment bits, long bitsOffset) {
    int first = o.n / LANES * LANES;
    if (!o.inPlace || first == o.n) {
      return;
    }
    long word = bits.get(VectorCells.WORD, bitsOffset + (long) (first / Long.SIZE) * Long.BYTES);
    long pruned = word >>> first;
    while (pruned != 0) {
      long column = first + Long.numberOfTrailingZeros(pruned);
      long at = row * o.wStride + column * o.wType.bytes();
      if (o.wType == DType.F32) {
        o.w.set(JAVA_FLOAT_UNALIGNED, at, 0f);
      } else {
        o.w.set(JAVA_SHORT_UNALIGNED, at, (short) 0);
      }
      pruned &= pruned - 1;
    }
  }
}
