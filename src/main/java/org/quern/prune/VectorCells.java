package org.quern.prune;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;

/**
 * Species of the vector tier, masks in memory, and the zeroing of marked weights.
 *
 * <p>A loop stores the mask of each vector in a cell of its own: the bits of 8 or 16 lanes, or one
 * byte of which 4 bits are used. {@link #word} reads 64 columns of cells as one word; words in
 * column order are the selection bits of a row.
 */
final class VectorCells {
  static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;
  static final int LANES = F.length();

  /** Bytes of a vector of F32. */
  static final int BYTES = LANES * Float.BYTES;

  /** As many 16-bit lanes as F has 32-bit lanes. */
  private static final VectorSpecies<Short> H =
      VectorSpecies.of(short.class, VectorShape.forBitSize(F.vectorBitSize() / 2));

  static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
  static final ValueLayout.OfLong WORD = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(LE);
  private static final ValueLayout.OfInt QUAD = ValueLayout.JAVA_INT_UNALIGNED.withOrder(LE);
  private static final ValueLayout.OfShort PAIR = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(LE);

  /** Bytes of two cells side by side: of 4 lanes both fit in one byte. */
  private static final int DOUBLE_CELL = LANES / 4;

  /** The first masks in a word of double cells. */
  private static final long FIRSTS =
      switch (LANES) {
        case 16 -> 0x0000FFFF0000FFFFL;
        case 8 -> 0x00FF00FF00FF00FFL;
        default -> 0x0F0F0F0F0F0F0F0FL;
      };

  /**
   * More vectors than any row has. A loop up to {@code min(vectors, MOST)} is one whose index
   * cannot overflow: C2 then folds the steps of an unrolled loop into the addresses, instead of
   * computing each from scratch.
   */
  static final int MOST = 1 << 24;

  /** Bytes of a cell. */
  private static final int CELL = Math.max(1, LANES / Byte.SIZE);

  /** Bits of the smallest value that is not finite. */
  static final int INFINITY_BITS = 0x7f800000;

  private VectorCells() {}

  // Not abs(): C2 reads its mask from memory in every turn, often across two cache lines, and the
  // loops that want this are bound by loads. The mask of an AND stays in a register.
  /** |value|; small enough to be inlined always. */
  static FloatVector magnitude(FloatVector value) {
    return value.reinterpretAsInts().and(Integer.MAX_VALUE).reinterpretAsFloats();
  }

  /** Bytes of the cells of {@code columns} columns, a multiple of 64. */
  static long bytes(int columns) {
    return (long) columns / LANES * CELL;
  }

  /** Where the cell of vector {@code i} is. */
  static long at(long cells, int i) {
    return cells + (long) i * CELL;
  }

  /** Stores the mask of vector {@code i}. */
  static void set(MemorySegment memory, long cells, int i, long mask) {
    if (LANES == 16) {
      memory.set(PAIR, at(cells, i), (short) mask);
    } else {
      memory.set(ValueLayout.JAVA_BYTE, at(cells, i), (byte) mask);
    }
  }

  /** The cells of columns {@code 64 word} to {@code 64 word + 63}. */
  static long word(MemorySegment memory, long cells, int word) {
    if (LANES >= Byte.SIZE) {
      return memory.get(WORD, cells + (long) word * Long.BYTES);
    }
    long low = memory.get(WORD, cells + 2L * word * Long.BYTES);
    long high = memory.get(WORD, cells + (2L * word + 1) * Long.BYTES);
    return Long.compress(low, FIRSTS) | Long.compress(high, FIRSTS) << Integer.SIZE;
  }

  /** Stores two masks of vector {@code i} side by side. */
  static void set(MemorySegment memory, long cells, int i, long first, long second) {
    long at = doubleAt(cells, i);
    long both = first | second << LANES;
    switch (LANES) {
      case 16 -> memory.set(QUAD, at, (int) both);
      case 8 -> memory.set(PAIR, at, (short) both);
      default -> memory.set(ValueLayout.JAVA_BYTE, at, (byte) both);
    }
  }

  /** Where the double cell of vector {@code i} is. */
  static long doubleAt(long cells, int i) {
    return cells + (long) i * DOUBLE_CELL;
  }

  /**
   * Keeps only the first {@code lanes} lanes of both masks of vector {@code i}; the set lanes of
   * the first in bits 32 to 63, those of the second in bits 0 to 31.
   */
  static long keepDouble(MemorySegment memory, long cells, int i, int lanes) {
    long at = doubleAt(cells, i);
    long both =
        switch (LANES) {
          case 16 -> memory.get(QUAD, at);
          case 8 -> memory.get(PAIR, at);
          default -> memory.get(ValueLayout.JAVA_BYTE, at);
        };
    long valid = (1L << lanes) - 1;
    long second = both >> LANES & valid;
    long first = both & valid;
    set(memory, cells, i, first, second);
    return (long) Long.bitCount(first) << Integer.SIZE | Long.bitCount(second);
  }

  /** The first masks in the double cells of columns {@code 64 word} to {@code 64 word + 63}. */
  static long firstWord(MemorySegment memory, long cells, int word) {
    return half(memory, cells, word, FIRSTS);
  }

  /** The second masks. */
  static long secondWord(MemorySegment memory, long cells, int word) {
    return half(memory, cells, word, ~FIRSTS);
  }

  private static long half(MemorySegment memory, long cells, int word, long wanted) {
    long at = cells + 2L * word * Long.BYTES;
    return Long.compress(memory.get(WORD, at), wanted)
        | Long.compress(memory.get(WORD, at + Long.BYTES), wanted) << Integer.SIZE;
  }

  /** Clears the double cells of columns {@code 64 word} to {@code 64 word + 63}. */
  static void clearDouble(MemorySegment memory, long cells, int word) {
    memory.set(WORD, cells + 2L * word * Long.BYTES, 0);
    memory.set(WORD, cells + (2L * word + 1) * Long.BYTES, 0);
  }

  /** Fills {@code n} floats, rounded up to whole vectors. */
  static void fill(MemorySegment memoryIn, long offset, float value, int n) {
    int vectors = Math.ceilDiv(n, LANES);
    MemorySegment memory = NativeViews.base(memoryIn);
    long at = NativeViews.at(memoryIn, offset, (long) vectors * BYTES);
    for (int i = 0, end = Math.min(vectors, MOST); i < end; i++) {
      FloatVector.broadcast(F, value).intoMemorySegment(memory, at + (long) i * BYTES, LE);
    }
  }

  /** The selection bits of vector {@code i} of a row, in the low bits. */
  static long lanes(MemorySegment bits, long offset, int i) {
    if (LANES == 16) {
      return bits.get(PAIR, at(offset, i));
    }
    long column = (long) i * LANES;
    return bits.get(ValueLayout.JAVA_BYTE, offset + column / Byte.SIZE) >> (column % Byte.SIZE);
  }

  /** Zeroes the marked of {@code vectors} vectors of F32. */
  static void zero32(
      MemorySegment wIn, long wOffset, MemorySegment bitsIn, long bitsOffset, int vectors) {
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment bits = NativeViews.base(bitsIn);
    long wAt = NativeViews.at(wIn, wOffset, (long) vectors * BYTES);
    long bitsAt = NativeViews.at(bitsIn, bitsOffset, Math.ceilDiv(vectors * LANES, Byte.SIZE));
    for (int i = 0, end = Math.min(vectors, MOST); i < end; i++) {
      zero32(w, wAt + (long) i * BYTES, lanes(bits, bitsAt, i));
    }
  }

  // A blend and a whole store measured faster than a masked store, and needs no mask registers.
  static void zero32(MemorySegment w, long at, long pruned) {
    FloatVector.fromMemorySegment(F, w, at, LE)
        .blend(FloatVector.zero(F), VectorMask.fromLong(F, pruned))
        .intoMemorySegment(w, at, LE);
  }

  /** Zeroes the marked of {@code vectors} vectors of 16-bit weights. */
  static void zero16(
      MemorySegment wIn, long wOffset, MemorySegment bitsIn, long bitsOffset, int vectors) {
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment bits = NativeViews.base(bitsIn);
    long wAt = NativeViews.at(wIn, wOffset, (long) vectors * LANES * Short.BYTES);
    long bitsAt = NativeViews.at(bitsIn, bitsOffset, Math.ceilDiv(vectors * LANES, Byte.SIZE));
    for (int i = 0, end = Math.min(vectors, MOST); i < end; i++) {
      long at = wAt + (long) i * LANES * Short.BYTES;
      ShortVector.fromMemorySegment(H, w, at, LE)
          .blend(ShortVector.zero(H), VectorMask.fromLong(H, lanes(bits, bitsAt, i)))
          .intoMemorySegment(w, at, LE);
    }
  }
}
