package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/** Single elements of native memory, F32 or F64, as {@code double}. */
final class Cells {
  private Cells() {}

  /** The element at byte {@code at}. */
  static double get(MemorySegment memory, DType type, long at) {
    return type == DType.F32
        ? memory.get(JAVA_FLOAT_UNALIGNED, at)
        : memory.get(JAVA_DOUBLE_UNALIGNED, at);
  }

  /** Stores {@code value}, rounded to the type, at byte {@code at}. */
  static void set(MemorySegment memory, DType type, long at, double value) {
    if (type == DType.F32) {
      memory.set(JAVA_FLOAT_UNALIGNED, at, (float) value);
    } else {
      memory.set(JAVA_DOUBLE_UNALIGNED, at, value);
    }
  }

  /** Stores the sum of {@code value} and the element at byte {@code at} there. */
  static void add(MemorySegment memory, DType type, long at, double value) {
    set(memory, type, at, get(memory, type, at) + value);
  }
}
