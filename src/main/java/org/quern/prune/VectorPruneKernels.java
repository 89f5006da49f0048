package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
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

  // Scratch memory: eight rows of floats, each rounded up to whole words of selection bits and with
  // a
  // vector of room behind it, because passes and compression work on whole vectors; then the cells
  // of four masks, the first two of which also serve as double cells; then sums of a row.

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

  /** A strip of gradients to compute scores from: the second spare list, free at that time. */
  private static long gStrip(int n) {
    return 5 * row(n);
  }

  /** Ones, which stand for the weights where a strip of scores stands for c. */
  private static long ones(int n) {
    return 6 * row(n);
  }

  /** A strip of scores. */
  private static long scores(int n) {
    return 7 * row(n);
  }

  private static long cells(int n, int set) {
    return 8 * row(n) + set * VectorCells.bytes(padded(n));
  }

  /** The partial sums of a row in F64, and their total in F32 behind them. */
  private static long sums(int n) {
    return Math.ceilDiv(cells(n, 4), Long.BYTES) * Long.BYTES;
  }

  private static long rowSum(int n) {
    return sums(n) + (long) ScalarPruneKernels.PARTIAL_SUMS * Double.BYTES;
  }

  @Override
  public long scratchBytes(int n) {
    return rowSum(n) + Double.BYTES;
  }

  // Operands in F32 are read where they are. All others are copied to scratch, a strip of columns
  // at a time: little enough to be in the first-level cache when the pass over it comes. The same
  // holds for scores that are no sum of products.

  private static final int STRIP = 1024;

  private static boolean directW(Operands o) {
    return o.wType == DType.F32 && o.isSumOfProducts();
  }

  private static boolean directG(Operands o) {
    return o.gType == DType.F32 && o.method.usesGradients() && o.isSumOfProducts();
  }

  /**
   * Fills the row of c, ones where the score has none, and zeroes an absent g, the padding, and the
   * cells behind the last column, which no pass writes: once per range of rows.
   */
  private static void prepare(Operands o, MemorySegment scratch) {
    int n = o.n;
    clearTail(scratch, 0, n);
    clearTail(scratch, gRow(n), n);
    clearTail(scratch, cRow(n), n);
    if (o.method.usesActivations()) {
      MemorySegment.copy(o.c, 0, scratch, cRow(n), (long) n * Float.BYTES);
    } else {
      VectorCells.fill(scratch, cRow(n), o.method == Method.MAGNITUDE ? 1 : 0, n);
    }
    if (!o.isSumOfProducts()) {
      VectorCells.fill(scratch, ones(n), 1, padded(Math.min(n, STRIP)));
    }
    if (!o.method.usesGradients() || !o.isSumOfProducts()) {
      VectorCells.fill(scratch, gRow(n), 0, n);
    }
    VectorCells.clearDouble(scratch, cells(n, 0), padded(n) / Long.SIZE - 1);
  }

  /** Zeroes the last vector of a row of scratch, and of the last strip that is copied to it. */
  private static void clearTail(MemorySegment scratch, long row, int n) {
    VectorCells.fill(scratch, row + (long) (n / LANES) * VectorCells.BYTES, 0, LANES);
    VectorCells.fill(scratch, row + (long) (n % STRIP / LANES) * VectorCells.BYTES, 0, LANES);
  }

  /** Zeroes the vector in which a strip of scratch ends. */
  private static void clearBehind(MemorySegment scratch, long strip, int columns) {
    VectorCells.fill(scratch, strip + (long) (columns / LANES) * VectorCells.BYTES, 0, LANES);
  }

  /**
   * Makes ready a strip of a row in scratch: of an operand that is read where it is what lies
   * behind the last whole vector, of any other all of it, or the scores.
   *
   * @return {@link VectorScores#NOT_FINITE} where scores were written and an operand is not finite
   */
  private static long load(Operands o, long row, int column, int columns, MemorySegment scratch) {
    if (!o.isSumOfProducts()) {
      return writeScores(o, row, column, columns, scratch);
    }
    int whole = columns / LANES * LANES;
    load(o.w, row * o.wStride, o.wType, column, directW(o) ? whole : 0, columns, scratch, 0);
    if (o.method.usesGradients()) {
      int first = directG(o) ? whole : 0;
      load(o.g, row * o.gStride, o.gType, column, first, columns, scratch, gRow(o.n));
    }
    return 0;
  }

  /** Writes the scores of a strip. */
  private static long writeScores(
      Operands o, long row, int column, int columns, MemorySegment scratch) {
    int n = o.n;
    if (o.halfProducts) {
      clearBehind(scratch, scores(n), columns);
      boolean finite =
          ScalarPruneKernels.score(o, row, column, column + columns, scratch, scores(n));
      return finite ? 0 : VectorScores.NOT_FINITE;
    }
    if (o.method == Method.RIA && column == 0) {
      sumRow(o, row, scratch);
    }
    int vectors = columns / LANES;
    int whole = vectors * LANES;
    boolean copiesW = o.wType != DType.F32;
    clearBehind(scratch, 0, columns);
    load(o.w, row * o.wStride, o.wType, column, copiesW ? 0 : whole, columns, scratch, 0);
    MemorySegment w = copiesW ? scratch : o.w;
    long wAt = copiesW ? 0 : row * o.wStride + (long) column * Float.BYTES;
    // Zeros, where the method has no gradients.
    MemorySegment g = scratch;
    long gAt = gRow(n);
    long gTail = gRow(n);
    if (o.method.usesGradients()) {
      boolean copiesG = o.gType != DType.F32;
      clearBehind(scratch, gStrip(n), columns);
      int first = copiesG ? 0 : whole;
      load(o.g, row * o.gStride, o.gType, column, first, columns, scratch, gStrip(n));
      g = copiesG ? scratch : o.g;
      gAt = copiesG ? gStrip(n) : row * o.gStride + (long) column * Float.BYTES;
      gTail = gStrip(n) + (long) whole * Float.BYTES;
    }
    long result = writeScores(o, w, wAt, g, gAt, column, vectors, scratch, scores(n));
    if (whole < columns) {
      long tail = (long) whole * Float.BYTES;
      long out = scores(n) + tail;
      result |= writeScores(o, scratch, tail, scratch, gTail, column + whole, 1, scratch, out);
    }
    return result;
  }

  /** Writes the scores of whole vectors. */
  private static long writeScores(
      Operands o,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      int column,
      int vectors,
      MemorySegment scratch,
      long out) {
    long at = (long) column * Float.BYTES;
    long c = cRow(o.n) + at;
    long result =
        switch (o.method) {
          case MAGNITUDE, WANDA, GRADIENT, GBLM ->
              VectorScores.write(w, wAt, g, gAt, scratch, c, vectors, scratch, out);
          case RIA -> {
            float rowSum = scratch.get(JAVA_FLOAT_UNALIGNED, rowSum(o.n));
            yield VectorFormulas.ria(
                w, wAt, scratch, c, o.columnSums, at, rowSum, vectors, scratch, out);
          }
          case PRUNER_ZERO ->
              VectorFormulas.prunerZero(
                  w, wAt, g, gAt, o.leastGradient, o.gradientRange, vectors, scratch, out);
          case WANDA_PLUS_PLUS ->
              VectorFormulas.wandaPlusPlus(
                  w, wAt, g, gAt, scratch, c, o.gradientScale, vectors, scratch, out);
        };
    if (o.zerosFirst) {
      VectorFormulas.zerosFirst(w, wAt, vectors, scratch, out);
    }
    return result;
  }

  /** Adds |W| of a strip of a row to sums, as {@link VectorFormulas#addMagnitudes} does. */
  private static void addMagnitudes(
      Operands o, long row, int column, int columns, MemorySegment scratch, long sums, int mask) {
    int whole = columns / LANES * LANES;
    boolean copies = o.wType != DType.F32;
    long at = row * o.wStride + (long) column * Float.BYTES;
    clearBehind(scratch, 0, columns);
    load(o.w, row * o.wStride, o.wType, column, copies ? 0 : whole, columns, scratch, 0);
    VectorFormulas.addMagnitudes(
        copies ? scratch : o.w, copies ? 0 : at, 0, whole, scratch, sums, mask);
    if (whole < columns) {
      VectorFormulas.addMagnitudes(
          scratch, (long) whole * Float.BYTES, whole, LANES, scratch, sums, mask);
    }
  }

  /** Sums |W| over a row, as {@link ScalarPruneKernels} does. */
  private static void sumRow(Operands o, long row, MemorySegment scratch) {
    int n = o.n;
    VectorCells.fill(scratch, sums(n), 0, 2 * ScalarPruneKernels.PARTIAL_SUMS);
    int mask = VectorFormulas.maskOf(ScalarPruneKernels.PARTIAL_SUMS);
    for (int column = 0; column < n; column += STRIP) {
      int columns = Math.min(STRIP, n - column);
      addMagnitudes(o, row, column, columns, scratch, sums(n), mask);
    }
    double sum = 0;
    for (int i = 0; i < ScalarPruneKernels.PARTIAL_SUMS; i++) {
      sum += scratch.get(JAVA_DOUBLE_UNALIGNED, sums(n) + (long) i * Double.BYTES);
    }
    scratch.set(JAVA_FLOAT_UNALIGNED, rowSum(n), ScalarPruneKernels.divisor(sum));
  }

  private static void load(
      MemorySegment from,
      long offset,
      DType type,
      int column,
      int first,
      int columns,
      MemorySegment scratch,
      long at) {
    if (first < columns) {
      Conversions.toFloat(
          Tier.VECTOR,
          from,
          offset + (long) (column + first) * type.bytes(),
          type,
          scratch,
          at + (long) first * Float.BYTES,
          columns - first);
    }
  }

  /** Where the weights of a strip are, in w or in scratch, or the ones that stand for them. */
  private static long wOffset(Operands o, long row, int column) {
    return directW(o) ? row * o.wStride + (long) column * Float.BYTES : wTail(o, 0);
  }

  /** Where the gradients of a strip are, in g or in scratch. */
  private static long gOffset(Operands o, long row, int column) {
    return directG(o) ? row * o.gStride + (long) column * Float.BYTES : gRow(o.n);
  }

  /** Where what lies behind the last whole vector of a strip of weights is in scratch. */
  private static long wTail(Operands o, int whole) {
    return (o.isSumOfProducts() ? 0 : ones(o.n)) + (long) whole * Float.BYTES;
  }

  private static long gTail(Operands o, int whole) {
    return gRow(o.n) + (long) whole * Float.BYTES;
  }

  /** Where c is from the given column of a strip on, or the scores that stand for it. */
  private static long cOffset(Operands o, int column, int within) {
    return o.isSumOfProducts()
        ? cRow(o.n) + (long) (column + within) * Float.BYTES
        : scores(o.n) + (long) within * Float.BYTES;
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
    prepare(o, scratch);
    MemorySegment w = directW(o) ? o.w : scratch;
    MemorySegment g = directG(o) ? o.g : scratch;
    long result = 0;
    for (int column = 0; column < o.n; column += STRIP) {
      int columns = Math.min(STRIP, o.n - column);
      result |= load(o, row, column, columns, scratch);
      int vectors = columns / LANES;
      int whole = vectors * LANES;
      long at = (long) column * Float.BYTES;
      result |=
          VectorScores.write(
              w,
              wOffset(o, row, column),
              g,
              gOffset(o, row, column),
              scratch,
              cOffset(o, column, 0),
              vectors,
              out,
              at);
      if (whole < columns) {
        result |=
            VectorScores.write(
                scratch,
                wTail(o, whole),
                scratch,
                gTail(o, whole),
                scratch,
                cOffset(o, column, whole),
                1,
                scratch,
                list(o.n));
        long left = (long) (columns - whole) * Float.BYTES;
        MemorySegment.copy(scratch, list(o.n), out, at + (long) whole * Float.BYTES, left);
      }
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
  private static final int ABOVE_ALL = VectorCells.INFINITY_BITS + 1;

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
    MemorySegment w = directW(o) ? o.w : scratch;
    MemorySegment g = directG(o) ? o.g : scratch;
    boolean copied = !directW(o) || (o.method.usesGradients() && !directG(o));
    int strip = copied ? STRIP : padded(n);
    long result = 0;
    for (int column = 0; column < n; column += strip) {
      int columns = Math.min(strip, n - column);
      result |= load(o, row, column, columns, scratch);
      int vectors = columns / LANES;
      int whole = vectors * LANES;
      long cells = VectorCells.doubleAt(cells(n, 0), column / LANES);
      long counts =
          VectorScores.bracket(
              w,
              wOffset(o, row, column),
              g,
              gOffset(o, row, column),
              scratch,
              cOffset(o, column, 0),
              vectors,
              low,
              high,
              cells,
              list(n) + (long) (int) result * Integer.BYTES);
      result = result + (counts & Long.MAX_VALUE) | counts & VectorScores.NOT_FINITE;
      if (whole < columns) {
        long more =
            VectorScores.bracket(
                scratch,
                wTail(o, whole),
                scratch,
                gTail(o, whole),
                scratch,
                cOffset(o, column, whole),
                1,
                low,
                high,
                VectorCells.doubleAt(cells, vectors),
                list(n) + (long) (int) result * Integer.BYTES);
        // The padding is not part of the row; it comes last, in the list as well.
        result += VectorCells.keepDouble(scratch, cells, vectors, columns - whole);
        result |= more & VectorScores.NOT_FINITE;
      }
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
    long result = load(o, row, column, columns, scratch);
    int vectors = columns / LANES;
    int whole = vectors * LANES;
    long cells = cells(o.n, 0);
    long stride = cells(o.n, 1) - cells;
    result |=
        runs(
            of,
            directW(o) ? o.w : scratch,
            wOffset(o, row, column),
            directG(o) ? o.g : scratch,
            gOffset(o, row, column),
            scratch,
            cOffset(o, column, 0),
            vectors,
            cells,
            stride);
    if (whole < columns) {
      result |=
          runs(
              of,
              scratch,
              wTail(o, whole),
              scratch,
              gTail(o, whole),
              scratch,
              cOffset(o, column, whole),
              1,
              VectorCells.at(cells, vectors),
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

  // What scores take from the whole matrix.

  @Override
  public void columnSums(Operands o, int from, int to, MemorySegment sums, MemorySegment scratch) {
    int n = o.n;
    for (int column = from; column < to; column += STRIP) {
      int columns = Math.min(STRIP, to - column);
      int whole = Math.ceilDiv(columns, LANES) * LANES;
      // Two spare lists hold as many F64.
      VectorCells.fill(scratch, spare(n), 0, 2 * whole);
      for (long row = 0; row < o.rows; row++) {
        addMagnitudes(o, row, column, columns, scratch, spare(n), -1);
      }
      for (int j = 0; j < columns; j++) {
        double sum = scratch.get(JAVA_DOUBLE_UNALIGNED, spare(n) + (long) j * Double.BYTES);
        sums.set(
            JAVA_FLOAT_UNALIGNED,
            (long) (column + j) * Float.BYTES,
            ScalarPruneKernels.divisor(sum));
      }
    }
  }

  @Override
  public long gradientRange(Operands o, long from, long to, MemorySegment scratch) {
    int least = Integer.MAX_VALUE;
    int most = 0;
    for (long row = from; row < to; row++) {
      for (int column = 0; column < o.n; column += STRIP) {
        int columns = Math.min(STRIP, o.n - column);
        load(o.g, row * o.gStride, o.gType, column, 0, columns, scratch, 0);
        int whole = columns / LANES * LANES;
        long range = VectorFormulas.range(scratch, 0, columns / LANES);
        least = Math.min(least, (int) range);
        most = Math.max(most, (int) (range >>> Integer.SIZE));
        for (int j = whole; j < columns; j++) {
          float g = Math.abs(scratch.get(JAVA_FLOAT_UNALIGNED, (long) j * Float.BYTES));
          least = Math.min(least, Float.floatToRawIntBits(g));
          most = Math.max(most, Float.floatToRawIntBits(g));
        }
      }
    }
    return (long) most << Integer.SIZE | least;
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
      long column = (long) first + Long.numberOfTrailingZeros(pruned);
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
