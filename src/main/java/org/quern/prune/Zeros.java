package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;

/** Counts zeros of either sign. */
public final class Zeros {
  private Zeros() {}

  /**
   * The zeros in a run of elements, eight bytes at a time: added to a lane without its sign, the
   * largest such lane carries into the sign bit unless the lane is zero, and never beyond it.
   *
   * @param elements native memory of whole elements
   * @param type F16, BF16, F32 or F64
   */
  public static long count(MemorySegment elements, DType type) {
    long signs =
        switch (type.bytes()) {
          case Short.BYTES -> 0x8000_8000_8000_8000L;
          case Integer.BYTES -> 0x8000_0000_8000_0000L;
          default -> 0x8000_0000_0000_0000L;
        };
    MemorySegment view = NativeViews.exact(elements);
    int words = Math.toIntExact(view.byteSize() / Long.BYTES);
    long nonzero = 0;
    for (int i = 0; i < words; i++) {
      nonzero += Long.bitCount(marked(view.get(JAVA_LONG_UNALIGNED, (long) i * Long.BYTES), signs));
    }
    long tail = 0;
    long start = (long) words * Long.BYTES;
    for (long at = start; at < view.byteSize(); at++) {
      tail |= (view.get(JAVA_BYTE, at) & 0xffL) << (at - start) * Byte.SIZE;
    }
    nonzero += Long.bitCount(marked(tail, signs));
    return view.byteSize() / type.bytes() - nonzero;
  }

  /** The sign bits of the lanes that are not zero. */
  private static long marked(long lanes, long signs) {
    return ((lanes & ~signs) + ~signs) & signs;
  }
}
