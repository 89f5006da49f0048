package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.prune.Zeros;
import org.quern.runtime.NativeViews;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The weights of one layer under reconstruction: checks of what comes with them, their way to F32
 * and back, and masks.
 *
 * @param name how errors name the layer
 * @param tensor W, [m, n], F32, F16 or BF16
 */
record Weights(String name, Tensor tensor) {
  private static final int INFINITY = 0x7f800000;

  /** Checks shape and type. */
  Weights {
    if (tensor.rank() != 2) {
      throw new IllegalArgumentException(
          name + ": weights: expected a matrix [outputs, inputs], got " + tensor);
    }
    requireFloating(name + ": weights", tensor);
    tensor.hostMemory();
  }

  /** Rows, m. */
  int rows() {
    return Math.toIntExact(tensor.dim(0));
  }

  /** Columns, n. */
  int columns() {
    return Math.toIntExact(tensor.dim(1));
  }

  /** Copies a row to contiguous floats; rejects a value that is not finite. */
  void load(long row, MemorySegment target, long offset) {
    int n = columns();
    Conversions.toFloat(tensor.memory(), offset(row, 0), tensor.type(), target, offset, n);
    int column = firstNotFinite(target, offset, n);
    if (column >= 0) {
      throw new IllegalArgumentException(
          name
              + ": weights: expected finite values, got "
              + target.get(JAVA_FLOAT, offset + (long) Float.BYTES * column)
              + " in row "
              + row
              + ", column "
              + column);
    }
  }

  /** Checks all rows, before any is changed. */
  void requireFinite() {
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment row = arena.allocate(Math.max(1, (long) Float.BYTES * columns()));
      for (long i = 0; i < rows(); i++) {
        load(i, row, 0);
      }
    }
  }

  /** Stores floats, rounded to the type of the weights, from {@code column} of a row on. */
  void store(long row, long column, MemorySegment source, long offset, int count) {
    Conversions.fromFloat(
        source, offset, tensor.memory(), offset(row, column), tensor.type(), count);
  }

  /** Weights that are zero, of either sign. */
  long zeros() {
    long zeros = 0;
    for (long row = 0; row < rows(); row++) {
      long bytes = (long) tensor.type().bytes() * columns();
      zeros += Zeros.count(tensor.memory().asSlice(offset(row, 0), bytes), tensor.type());
    }
    return zeros;
  }

  private long offset(long row, long column) {
    return (row * tensor.rowStride() + column) * tensor.type().bytes();
  }

  /** Checks that H belongs to these weights. */
  void checkHessian(Tensor hessian) {
    long n = columns();
    if (hessian.rank() != 2
        || hessian.type() != DType.F32
        || hessian.dim(0) != n
        || hessian.dim(1) != n) {
      throw new IllegalArgumentException(
          name + ": hessian: expected F32[" + n + ", " + n + "], got " + hessian);
    }
    hessian.hostMemory();
  }

  /** Checks that a mask belongs to these weights. */
  void checkMask(Tensor mask) {
    long bytes = Math.ceilDiv(columns(), Byte.SIZE);
    if (mask.rank() != 2
        || mask.type() != DType.U8
        || mask.dim(0) != rows()
        || mask.dim(1) != bytes) {
      throw new IllegalArgumentException(
          name + ": mask: expected U8[" + rows() + ", " + bytes + "], got " + mask);
    }
    mask.hostMemory();
  }

  /** A byte of a U8 tensor of at least one dimension. */
  static int byteAt(Tensor tensor, long row, long column) {
    return tensor.hostMemory().get(JAVA_BYTE, row * tensor.rowStride() + column) & 0xff;
  }

  /** The bit of a column in a mask. */
  static boolean isPruned(Tensor mask, long row, int column) {
    return (byteAt(mask, row, column / Byte.SIZE) >> column % Byte.SIZE & 1) != 0;
  }

  static void requireFloating(String what, Tensor tensor) {
    switch (tensor.type()) {
      case F32, F16, BF16 -> {}
      default ->
          throw new IllegalArgumentException(what + ": expected F32, F16 or BF16, got " + tensor);
    }
  }

  /** The first of {@code n} floats that is not finite, or -1. */
  static int firstNotFinite(MemorySegment memory, long offset, int n) {
    MemorySegment view = NativeViews.exact(memory.asSlice(offset, (long) Float.BYTES * n));
    int largest = 0;
    for (int i = 0; i < n; i++) {
      largest = Math.max(largest, view.getAtIndex(JAVA_INT, i) & Integer.MAX_VALUE);
    }
    if (largest < INFINITY) {
      return -1;
    }
    int i = 0;
    while ((view.getAtIndex(JAVA_INT, i) & Integer.MAX_VALUE) < INFINITY) {
      i++;
    }
    return i;
  }
}
