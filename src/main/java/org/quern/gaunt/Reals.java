package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/** Elements of F32 and F64 memory as double. */
final class Reals {
  private Reals() {}

  /** Element i from a byte offset on. */
  static double load(MemorySegment memory, DType type, long offset, long i) {
    return type == DType.F32
        ? memory.get(JAVA_FLOAT, offset + i * Float.BYTES)
        : memory.get(JAVA_DOUBLE, offset + i * Double.BYTES);
  }

  /** Stores element i from a byte offset on, rounded to the type. */
  static void store(MemorySegment memory, DType type, long offset, long i, double value) {
    if (type == DType.F32) {
      memory.set(JAVA_FLOAT, offset + i * Float.BYTES, (float) value);
    } else {
      memory.set(JAVA_DOUBLE, offset + i * Double.BYTES, value);
    }
  }
}
