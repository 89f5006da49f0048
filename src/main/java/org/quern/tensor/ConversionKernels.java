package org.quern.tensor;

import java.lang.foreign.MemorySegment;

/**
 * Conversions between F32 and the other floating-point types over {@code n} elements of native,
 * little-endian memory. Offsets are in bytes and need no alignment; source and target do not
 * overlap; the caller has checked both ranges. Narrowing rounds once, to the nearest value, ties to
 * even, overflow to infinity (IEEE 754-2019, section 4.3.1). A NaN stays a NaN, is made quiet, and
 * keeps its sign and the upper bits of its payload. All tiers give the same bits.
 */
interface ConversionKernels {
  /** F16 to F32, exact; 6 bytes of traffic per element. */
  void halfToFloat(MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n);

  /** F32 to F16, rounded; 6 bytes of traffic per element. */
  void floatToHalf(MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n);

  /** BF16 to F32, exact; 6 bytes of traffic per element. */
  void bfloatToFloat(MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n);

  /** F32 to BF16, rounded; 6 bytes of traffic per element. */
  void floatToBfloat(MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n);

  /** F64 to F32, rounded; 12 bytes of traffic per element. */
  void doubleToFloat(MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n);

  /** F32 to F64, exact; 12 bytes of traffic per element. */
  void floatToDouble(MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n);
}
