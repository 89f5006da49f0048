package org.quern.linalg;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;

/** Checks of matrix arguments in native memory, and their extent. */
final class Matrices {
  private Matrices() {}

  static void checkExtent(String name, int extent) {
    if (extent < 0) {
      throw new IllegalArgumentException(name + ": expected at least 0, got " + extent);
    }
  }

  /** Checks that live, aligned native memory holds rows x columns floats at a row stride. */
  static void check(String name, MemorySegment memory, int rows, int columns, long stride) {
    if (!memory.isNative()) {
      throw new IllegalArgumentException(name + ": expected a native segment, got one on the heap");
    }
    if (!memory.scope().isAlive() || !memory.isAccessibleBy(Thread.currentThread())) {
      throw new IllegalArgumentException(
          name + ": expected memory that is alive and accessible by this thread, got " + memory);
    }
    if (memory.address() % Float.BYTES != 0) {
      throw new IllegalArgumentException(
          name + ": expected alignment to 4 bytes, got address % 4 = " + memory.address() % 4);
    }
    if (stride < columns) {
      throw new IllegalArgumentException(
          name + ": expected a row stride of at least " + columns + ", got " + stride);
    }
    long bytes = bytes(rows, columns, stride);
    if (memory.byteSize() < bytes) {
      throw new IllegalArgumentException(
          name
              + ": expected at least "
              + bytes
              + " bytes for "
              + rows
              + " x "
              + columns
              + " floats at row stride "
              + stride
              + ", got "
              + memory.byteSize());
    }
  }

  /** Checks that two matrices share no element. */
  static void checkApart(
      String name,
      MemorySegment x,
      int rows,
      int columns,
      long stride,
      String otherName,
      MemorySegment y,
      int otherRows,
      int otherColumns,
      long otherStride) {
    long fromX = x.address();
    long fromY = y.address();
    boolean rangesMeet =
        fromX < fromY + bytes(otherRows, otherColumns, otherStride)
            && fromY < fromX + bytes(rows, columns, stride);
    if (!rangesMeet) {
      return;
    }
    // Blocks of one matrix interleave in memory but are apart when their columns are.
    long shift = Math.floorMod((fromX - fromY) / Float.BYTES, Math.max(1, stride));
    boolean columnsApart =
        stride == otherStride && shift >= otherColumns && shift + columns <= stride;
    if (!columnsApart) {
      throw new IllegalArgumentException(name + ": expected no overlap with " + otherName);
    }
  }

  /** Bytes from the first element of a matrix to its last; 0 where it has none. */
  static long bytes(int rows, int columns, long stride) {
    if (rows == 0 || columns == 0) {
      return 0;
    }
    long floats = Math.addExact(Math.multiplyExact(rows - 1L, stride), columns);
    return Math.multiplyExact(floats, (long) Float.BYTES);
  }

  /**
   * The exact-typed view of a matrix that starts at an offset in bytes; see {@link
   * NativeViews#exact}.
   */
  static MemorySegment view(MemorySegment memory, long offset, int rows, int columns, long stride) {
    return NativeViews.exact(memory.asSlice(offset, bytes(rows, columns, stride)));
  }
}
