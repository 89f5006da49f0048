package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A constant matrix in the order in which {@link SampleKernels#mix} reads it, rounded once from
 * double precision. Rows are padded with zeros to a multiple of {@link SampleKernels#BLOCK}.
 *
 * @param memory the elements
 * @param rows number of rows, without the padding
 * @param columns number of columns
 */
record TileTable(MemorySegment memory, int rows, int columns) {
  /** Packs {@code matrix[row][column]}; all rows have the same length. */
  static TileTable of(Arena arena, DType type, double[][] matrix) {
    int columns = matrix.length == 0 ? 0 : matrix[0].length;
    long elements = (long) pad(matrix.length) * columns;
    MemorySegment memory = arena.allocate(Math.max(1, elements * type.bytes()), Tensor.ALIGNMENT);
    for (int r = 0; r < matrix.length; r++) {
      for (int c = 0; c < columns; c++) {
        set(memory, type, place(r, c, columns), matrix[r][c]);
      }
    }
    return new TileTable(memory, matrix.length, columns);
  }

  /** The transpose of a matrix that has rows. */
  static double[][] transposed(double[][] matrix) {
    double[][] transposed = new double[matrix[0].length][matrix.length];
    for (int i = 0; i < matrix.length; i++) {
      for (int j = 0; j < matrix[i].length; j++) {
        transposed[j][i] = matrix[i][j];
      }
    }
    return transposed;
  }

  /** The element of a packed matrix at which {@code (row, column)} lies. */
  static long place(int row, int column, int columns) {
    int block = row / SampleKernels.BLOCK;
    return ((long) block * columns + column) * SampleKernels.BLOCK + row % SampleKernels.BLOCK;
  }

  /** Rows with padding. */
  static int pad(int rows) {
    return Math.ceilDiv(rows, SampleKernels.BLOCK) * SampleKernels.BLOCK;
  }

  /** Stores an element, rounded to F32 or F64. */
  static void set(MemorySegment memory, DType type, long index, double value) {
    if (type == DType.F32) {
      memory.setAtIndex(ValueLayout.JAVA_FLOAT, index, (float) value);
    } else {
      memory.setAtIndex(ValueLayout.JAVA_DOUBLE, index, value);
    }
  }

  /** Reads an element of F32 or F64. */
  static double get(MemorySegment memory, DType type, long index) {
    return type == DType.F32
        ? memory.getAtIndex(ValueLayout.JAVA_FLOAT, index)
        : memory.getAtIndex(ValueLayout.JAVA_DOUBLE, index);
  }
}
