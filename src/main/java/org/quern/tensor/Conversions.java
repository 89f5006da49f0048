package org.quern.tensor;

import java.lang.foreign.MemorySegment;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

/**
 * Conversions between element types over runs of native memory, for kernels that store one type and
 * compute in F32.
 *
 * <p>Every value becomes the nearest one of the target type. Floating-point targets round once,
 * ties to even, and overflow to infinity; zeros keep their sign; a NaN stays a NaN and is made
 * quiet. Integer targets drop the fraction and clamp to their range; NaN gives 0. All tiers give
 * the same bits.
 *
 * <p>Source and target must not overlap. Offsets are in bytes and need no alignment. Nothing is
 * allocated.
 */
public final class Conversions {
  private static final Set<Tier> OFFERED =
      Collections.unmodifiableSet(EnumSet.of(Tier.SCALAR, Tier.VECTOR));

  private Conversions() {}

  /**
   * Converts {@code n} elements of {@code type} at {@code src} to F32 at {@code dst}, on the best
   * tier.
   *
   * @throws IllegalArgumentException where a segment is on the heap or a range leaves its segment
   */
  public static void toFloat(
      MemorySegment src, long srcOffset, DType type, MemorySegment dst, long dstOffset, int n) {
    convert(null, src, srcOffset, type, dst, dstOffset, DType.F32, n);
  }

  /**
   * As {@link #toFloat(MemorySegment, long, DType, MemorySegment, long, int)}, on the tier asked
   * for.
   *
   * @throws IllegalStateException where that tier cannot run here
   */
  public static void toFloat(
      Tier tier,
      MemorySegment src,
      long srcOffset,
      DType type,
      MemorySegment dst,
      long dstOffset,
      int n) {
    convert(tier, src, srcOffset, type, dst, dstOffset, DType.F32, n);
  }

  /**
   * Converts {@code n} F32 elements at {@code src} to {@code type} at {@code dst}, on the best
   * tier.
   *
   * @throws IllegalArgumentException where a segment is on the heap or a range leaves its segment
   */
  public static void fromFloat(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, DType type, int n) {
    convert(null, src, srcOffset, DType.F32, dst, dstOffset, type, n);
  }

  /**
   * As {@link #fromFloat(MemorySegment, long, MemorySegment, long, DType, int)}, on the tier asked
   * for.
   *
   * @throws IllegalStateException where that tier cannot run here
   */
  public static void fromFloat(
      Tier tier,
      MemorySegment src,
      long srcOffset,
      MemorySegment dst,
      long dstOffset,
      DType type,
      int n) {
    convert(tier, src, srcOffset, DType.F32, dst, dstOffset, type, n);
  }

  static void convert(
      @Nullable Tier tier,
      MemorySegment src,
      long srcOffset,
      DType from,
      MemorySegment dst,
      long dstOffset,
      DType to,
      int n) {
    check("src", src, srcOffset, from, n);
    check("dst", dst, dstOffset, to, n);
    ConversionKernels kernels =
        switch (Capabilities.get().choose(OFFERED, tier)) {
          case VECTOR -> VectorConversionKernels.INSTANCE;
          default -> ScalarConversionKernels.INSTANCE;
        };
    if (from == to) {
      MemorySegment.copy(src, srcOffset, dst, dstOffset, (long) n * from.bytes());
    } else if (from == DType.F16 && to == DType.F32) {
      kernels.halfToFloat(src, srcOffset, dst, dstOffset, n);
    } else if (from == DType.F32 && to == DType.F16) {
      kernels.floatToHalf(src, srcOffset, dst, dstOffset, n);
    } else if (from == DType.BF16 && to == DType.F32) {
      kernels.bfloatToFloat(src, srcOffset, dst, dstOffset, n);
    } else if (from == DType.F32 && to == DType.BF16) {
      kernels.floatToBfloat(src, srcOffset, dst, dstOffset, n);
    } else if (from == DType.F64 && to == DType.F32) {
      kernels.doubleToFloat(src, srcOffset, dst, dstOffset, n);
    } else if (from == DType.F32 && to == DType.F64) {
      kernels.floatToDouble(src, srcOffset, dst, dstOffset, n);
    } else if (from.isFloating()) {
      for (int i = 0; i < n; i++) {
        double value = Elements.getDouble(src, srcOffset + (long) i * from.bytes(), from);
        Elements.setDouble(dst, dstOffset + (long) i * to.bytes(), to, value);
      }
    } else {
      for (int i = 0; i < n; i++) {
        long value = Elements.getLong(src, srcOffset + (long) i * from.bytes(), from);
        Elements.setLong(dst, dstOffset + (long) i * to.bytes(), to, value);
      }
    }
  }

  private static void check(String name, MemorySegment memory, long offset, DType type, int n) {
    if (!memory.isNative()) {
      throw new IllegalArgumentException(name + ": expected native memory, got a heap segment");
    }
    if (n < 0) {
      throw new IllegalArgumentException("n: expected >= 0, got " + n);
    }
    long needed = (long) n * type.bytes();
    if (offset < 0 || offset > memory.byteSize() - needed) {
      throw new IllegalArgumentException(
          name
              + ": expected "
              + n
              + " elements of "
              + type
              + " from byte "
              + offset
              + ", got a segment of "
              + memory.byteSize()
              + " bytes");
    }
  }
}
