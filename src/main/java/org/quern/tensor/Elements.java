package org.quern.tensor;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * One element of memory, of any type, as a {@code double} or a {@code long}. Whatever does not fit
 * the target becomes the nearest value that does: floating-point targets round once, ties to even,
 * and overflow to infinity; integer targets drop the fraction and clamp to their range, NaN gives
 * 0.
 */
final class Elements {
  static final ValueLayout.OfDouble F64 =
      ValueLayout.JAVA_DOUBLE_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfFloat F32 =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfLong I64 =
      ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfInt I32 =
      ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfShort I16 =
      ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
  static final ValueLayout.OfByte I8 = ValueLayout.JAVA_BYTE;

  private static final int FLOAT_INFINITY = 0x7f800000;
  private static final int FLOAT_QUIET = 0x00400000;

  private Elements() {}

  /** The element at a byte offset; an I64 beyond 2<sup>53</sup> is rounded to nearest. */
  static double getDouble(MemorySegment memory, long offset, DType type) {
    return switch (type) {
      case F64 -> memory.get(F64, offset);
      case F32 -> memory.get(F32, offset);
      case F16 -> halfToFloat(memory.get(I16, offset));
      case BF16 -> bfloatToFloat(memory.get(I16, offset));
      case I64, I32, I16, I8, U8 -> getLong(memory, offset, type);
    };
  }

  /** The element at a byte offset; exact for integers. */
  static long getLong(MemorySegment memory, long offset, DType type) {
    return switch (type) {
      case F64, F32, F16, BF16 -> (long) getDouble(memory, offset, type);
      case I64 -> memory.get(I64, offset);
      case I32 -> memory.get(I32, offset);
      case I16 -> memory.get(I16, offset);
      case I8 -> memory.get(I8, offset);
      case U8 -> memory.get(I8, offset) & 0xff;
    };
  }

  /** Stores the value of the type that is nearest to {@code value}. */
  static void setDouble(MemorySegment memory, long offset, DType type, double value) {
    switch (type) {
      case F64 -> memory.set(F64, offset, value);
      case F32 -> memory.set(F32, offset, (float) value);
      case F16 -> memory.set(I16, offset, floatToHalf(roundToOdd(value)));
      case BF16 -> memory.set(I16, offset, floatToBfloat(roundToOdd(value)));
      case I64, I32, I16, I8, U8 -> setLong(memory, offset, type, (long) value);
    }
  }

  /** Stores the value of the type that is nearest to {@code value}. */
  static void setLong(MemorySegment memory, long offset, DType type, long value) {
    switch (type) {
      case F64 -> memory.set(F64, offset, (double) value);
      case F32 -> memory.set(F32, offset, (float) value);
      case F16 -> memory.set(I16, offset, floatToHalf(roundToOdd(value)));
      case BF16 -> memory.set(I16, offset, floatToBfloat(roundToOdd(value)));
      case I64 -> memory.set(I64, offset, value);
      case I32 -> memory.set(I32, offset, Math.clamp(value, Integer.MIN_VALUE, Integer.MAX_VALUE));
      case I16 ->
          memory.set(I16, offset, (short) Math.clamp(value, Short.MIN_VALUE, Short.MAX_VALUE));
      case I8 -> memory.set(I8, offset, (byte) Math.clamp(value, Byte.MIN_VALUE, Byte.MAX_VALUE));
      case U8 -> memory.set(I8, offset, (byte) Math.clamp(value, 0, 0xff));
    }
  }

  /** Binary16 to binary32, exact; a NaN becomes quiet. */
  static float halfToFloat(short half) {
    float value = Float.float16ToFloat(half);
    return Float.isNaN(value)
        ? Float.intBitsToFloat(Float.floatToRawIntBits(value) | FLOAT_QUIET)
        : value;
  }

  /** Binary32 to binary16, to nearest, ties to even; a NaN becomes quiet and loses low payload. */
  static short floatToHalf(float value) {
    // The JDK leaves open which bits of a NaN survive; ours must not depend on the compiler.
    if (Float.isNaN(value)) {
      int bits = Float.floatToRawIntBits(value);
      return (short) (bits >>> 16 & 0x8000 | 0x7e00 | bits >>> 13 & 0x3ff);
    }
    return Float.floatToFloat16(value);
  }

  /** The upper half of a binary32 to the whole, exact; a NaN becomes quiet. */
  static float bfloatToFloat(short bfloat) {
    int bits = bfloat << 16;
    return Float.intBitsToFloat((bits & 0x7fffffff) > FLOAT_INFINITY ? bits | FLOAT_QUIET : bits);
  }

  /** Binary32 to its upper half, to nearest, ties to even; a NaN becomes quiet. */
  static short floatToBfloat(float value) {
    int bits = Float.floatToRawIntBits(value);
    if ((bits & 0x7fffffff) > FLOAT_INFINITY) {
      return (short) ((bits | FLOAT_QUIET) >>> 16);
    }
    // Half a unit less one, plus the lowest kept bit: a tie rounds up only from an odd value.
    return (short) ((bits + 0x7fff + (bits >>> 16 & 1)) >>> 16);
  }

  /**
   * Rounds to binary32 such that a second rounding, to a type at least two bits narrower, gives
   * what one rounding would: of the two neighbours of an inexact value it takes the one whose last
   * bit is odd, which is never a tie (Boldo and Melquiond, "Emulation of a FMA and
   * correctly-rounded sums: proved algorithms using rounding to odd", IEEE Transactions on
   * Computers 57(4), 2008).
   */
  static float roundToOdd(double value) {
    float nearest = (float) value;
    return odd(nearest, Double.compare(Math.abs((double) nearest), Math.abs(value)));
  }

  /** As {@link #roundToOdd(double)}, for an integer. */
  static float roundToOdd(long value) {
    float nearest = (float) value;
    int excess = Long.compare((long) nearest, value);
    return odd(nearest, value < 0 ? -excess : excess);
  }

  /** {@code excess}: the sign of |nearest| - |exact|. */
  private static float odd(float nearest, int excess) {
    int bits = Float.floatToRawIntBits(nearest);
    boolean even = (bits & 1) == 0;
    return even && excess != 0 ? Float.intBitsToFloat(excess > 0 ? bits - 1 : bits + 1) : nearest;
  }
}
