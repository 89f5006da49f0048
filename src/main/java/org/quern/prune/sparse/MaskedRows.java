package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;

/**
 * Rows as a bit per column and the values whose bits are set: bit b of byte a of a row is column 8a
 * + b, the bits beyond the last column are zero, values are in column order. Works on bits, so that
 * every payload of a NaN stays.
 */
final class MaskedRows {
  static final ValueLayout.OfShort SHORT =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfInt INT =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfLong LONG =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

  private MaskedRows() {}

  /** Bytes of the mask of one row. */
  static long maskBytes(long columns) {
    return Math.ceilDiv(columns, Byte.SIZE);
  }

  /** The elements of one dense row that are not zero of either sign. */
  static long countNonZeros(MemorySegment dense, long offset, DType type, int columns) {
    MemorySegment d = NativeViews.exact(dense);
    long count = 0;
    for (int j = 0; j < columns; j++) {
      count += nonZero(d, offset, type, j);
    }
    return count;
  }

  /**
   * Packs the elements of one dense row that are not zero of either sign. The element behind the
   * last one packed may be overwritten, so {@code values} must have room for one more.
   *
   * @return how many were packed
   */
  static int pack(
      MemorySegment dense,
      long denseOffset,
      DType type,
      int columns,
      MemorySegment mask,
      long maskOffset,
      MemorySegment values,
      long valuesOffset) {
    MemorySegment d = NativeViews.exact(dense);
    MemorySegment b = NativeViews.exact(mask);
    MemorySegment v = NativeViews.exact(values);
    int packed = 0;
    for (int start = 0; start < columns; start += Byte.SIZE) {
      int bits = 0;
      for (int j = start; j < Math.min(start + Byte.SIZE, columns); j++) {
        // Stored in any case and kept by the count: a branch would be guessed wrong every other
        // time.
        if (type == DType.F32) {
          v.set(INT, valuesOffset + 4L * packed, d.get(INT, denseOffset + 4L * j));
        } else {
          v.set(SHORT, valuesOffset + 2L * packed, d.get(SHORT, denseOffset + 2L * j));
        }
        int keep = nonZero(d, denseOffset, type, j);
        packed += keep;
        bits |= keep << (j - start);
      }
      b.set(ValueLayout.JAVA_BYTE, maskOffset + start / Byte.SIZE, (byte) bits);
    }
    return packed;
  }

  /** Writes one dense row: +0.0 where a bit is not set. */
  static void unpack(
      MemorySegment mask,
      long maskOffset,
      MemorySegment values,
      long valuesOffset,
      DType type,
      int columns,
      MemorySegment dense,
      long denseOffset) {
    MemorySegment b = NativeViews.exact(mask);
    MemorySegment v = NativeViews.exact(values);
    MemorySegment d = NativeViews.exact(dense);
    int taken = 0;
    for (int j = 0; j < columns; j++) {
      int keep = b.get(ValueLayout.JAVA_BYTE, maskOffset + (j >> 3)) >> (j & 7) & 1;
      if (type == DType.F32) {
        int bits = keep == 0 ? 0 : v.get(INT, valuesOffset + 4L * taken);
        d.set(INT, denseOffset + 4L * j, bits);
      } else {
        short bits = keep == 0 ? 0 : v.get(SHORT, valuesOffset + 2L * taken);
        d.set(SHORT, denseOffset + 2L * j, bits);
      }
      taken += keep;
    }
  }

  /** The bits of one row that are set, those beyond the last column among them. */
  static long countBits(MemorySegment mask, long maskOffset, long maskBytes) {
    long count = 0;
    long at = 0;
    for (; at <= maskBytes - Long.BYTES; at += Long.BYTES) {
      count += Long.bitCount(mask.get(LONG, maskOffset + at));
    }
    for (; at < maskBytes; at++) {
      count += Integer.bitCount(mask.get(ValueLayout.JAVA_BYTE, maskOffset + at) & 0xff);
    }
    return count;
  }

  /** True where a bit beyond the last column of a row is set. */
  static boolean hasStrayBits(MemorySegment mask, long maskOffset, long columns) {
    int used = (int) (columns % Byte.SIZE);
    return used != 0
        && (mask.get(ValueLayout.JAVA_BYTE, maskOffset + columns / Byte.SIZE) & 0xff) >> used != 0;
  }

  /** 1 where element j of a dense row is not zero of either sign, else 0. */
  static int nonZero(MemorySegment memory, long offset, DType type, int j) {
    int magnitude =
        type == DType.F32
            ? memory.get(INT, offset + 4L * j) & 0x7fffffff
            : memory.get(SHORT, offset + 2L * j) & 0x7fff;
    return magnitude == 0 ? 0 : 1;
  }

  /** True where no F16 is infinite or NaN; other types are not looked at. */
  static boolean isFinite(MemorySegment values, DType type, long count) {
    if (type != DType.F16) {
      return true;
    }
    MemorySegment v = NativeViews.exact(values);
    for (long i = 0; i < count; i++) {
      if ((v.get(SHORT, Short.BYTES * i) & 0x7c00) == 0x7c00) {
        return false;
      }
    }
    return true;
  }
}
