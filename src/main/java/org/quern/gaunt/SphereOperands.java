package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/**
 * The arguments of a call of {@link SphericalHarmonicsKernels}, all of one type: flat memory and
 * strides in bytes. One object per {@link SphereWorkspace}, filled anew and checked for every call.
 */
final class SphereOperands {
  /** F32 or F64. */
  DType type = DType.F64;

  /** True where a vector may be zero. */
  boolean zeroAllowed;

  /** Vectors, N x 3. */
  MemorySegment vectors = MemorySegment.NULL;

  long vectorStride;

  /** Second input: N x n(L) for pullback, N x 3 for pushforward. */
  MemorySegment other = MemorySegment.NULL;

  long otherStride;

  /** Result. */
  MemorySegment out = MemorySegment.NULL;

  /** Bytes from the result of a vector to that of the next. */
  long outStride;
}
