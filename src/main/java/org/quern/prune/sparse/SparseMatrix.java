package org.quern.prune.sparse;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.io.Checkpoint;
import org.quern.io.FormatException;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A matrix [outputs, inputs] of F32, F16 or BF16 stored as a bit per element and the elements whose
 * bits are set. Immutable; its memory is that of the arena that it was made in.
 */
public abstract sealed class SparseMatrix permits BitmaskMatrix, TwoOfFourMatrix {
  /**
   * Readable bytes behind the last value and behind the last byte of the mask, so that kernels may
   * read whole vectors and words.
   */
  static final int SLACK = 128;

  private static final Set<DType> TYPES = Set.of(DType.F32, DType.F16, DType.BF16);

  final DType type;
  final int rows;
  final int columns;
  final long valueCount;

  /** The kept elements row by row, and slack. */
  final MemorySegment values;

  /** {@link #maskStride} bytes per row, and slack. */
  final MemorySegment mask;

  final long maskStride;

  SparseMatrix(
      DType type,
      int rows,
      int columns,
      long valueCount,
      MemorySegment values,
      MemorySegment mask) {
    this.type = type;
    this.rows = rows;
    this.columns = columns;
    this.valueCount = valueCount;
    this.values = values;
    this.mask = mask;
    this.maskStride = MaskedRows.maskBytes(columns);
  }

  /**
   * Reads a packed matrix of a checkpoint.
   *
   * @param name the name of the dense matrix: {@code NAME.weight} for the tensors {@code
   *     NAME.compressed} and those beside it
   * @param arena gives the memory
   * @throws FormatException where a part is missing or they do not fit together; the message names
   *     the file, the tensor and the row
   */
  public static SparseMatrix load(Checkpoint checkpoint, String name, Arena arena)
      throws IOException {
    PackedTensor packed = PackedTensor.open(checkpoint, name);
    try (Arena scratch = Arena.ofConfined()) {
      return packed.read(0, packed.rows, scratch, arena);
    }
  }

  /**
   * Packs a dense matrix as 2:4 where it has that pattern, else by bitmask.
   *
   * @param dense F32, F16 or BF16 [rows, columns] on the host, with any row stride
   * @param arena gives the memory
   */
  public static SparseMatrix pack(Tensor dense, Arena arena) {
    checkDense(dense);
    return TwoOfFourMatrix.isPatternOf(dense)
        ? TwoOfFourMatrix.pack(dense, arena)
        : BitmaskMatrix.pack(dense, arena);
  }

  /** Element type: F32, F16 or BF16. */
  public final DType type() {
    return type;
  }

  /** Number of rows: the outputs of a linear layer. */
  public final int rows() {
    return rows;
  }

  /** Number of columns: the inputs of a linear layer. */
  public final int columns() {
    return columns;
  }

  /** Number of stored elements. */
  public final long valueCount() {
    return valueCount;
  }

  /** Bytes of the stored elements, the mask and the offsets of the rows, if any. */
  public long bytes() {
    return valueCount * type.bytes() + rows * maskStride;
  }

  /** The mask, U8 [rows, ceil(columns / 8)]: bit b of byte a is column 8a + b, 1 for stored. */
  public final Tensor bitmask() {
    return Tensor.of(mask, DType.U8, rows, maskStride);
  }

  /** The stored elements in the order of rows and columns; the shape depends on the format. */
  public abstract Tensor compressed();

  /** The word by which compressed-tensors names the format. */
  public abstract String format();

  /** Number of stored elements before a row. */
  abstract long valuesBefore(int row);

  /** The dense matrix: the stored elements with the bits that they have, +0.0 elsewhere. */
  public final Tensor unpack(Arena arena) {
    Tensor dense = Tensor.allocate(arena, type, rows, columns);
    unpack(0, rows, dense.memory());
    return dense;
  }

  /** Writes rows {@code [from, to)} without gaps from the start of {@code dense}. */
  final void unpack(int from, int to, MemorySegment dense) {
    for (int row = from; row < to; row++) {
      MaskedRows.unpack(
          mask,
          row * maskStride,
          values,
          valuesBefore(row) * type.bytes(),
          type,
          columns,
          dense,
          (long) (row - from) * columns * type.bytes());
    }
  }

  @Override
  public String toString() {
    return format() + " " + type + "[" + rows + ", " + columns + "] with " + valueCount + " values";
  }

  /** Checks a dense matrix on the host. */
  static void checkDense(Tensor dense) {
    if (!TYPES.contains(dense.type()) || dense.rank() != 2) {
      throw new IllegalArgumentException(
          "dense: expected a matrix of F32, F16 or BF16, got " + dense);
    }
    checkShape("dense", dense.dim(0), dense.dim(1));
    dense.hostMemory();
  }

  /** Checks the type of the stored elements. */
  static void checkValues(Tensor compressed) {
    if (!TYPES.contains(compressed.type())) {
      throw new IllegalArgumentException(
          "compressed: expected F32, F16 or BF16, got " + compressed);
    }
  }

  /** Checks a shape as stored: two numbers in any arrangement; returns them. */
  static int[] checkShape(Tensor shape) {
    if (shape.type() != DType.I64 || shape.size() != 2 || !shape.isContiguous()) {
      throw new IllegalArgumentException(
          "shape: expected two I64 numbers, rows and columns, got " + shape);
    }
    Tensor numbers = Tensor.of(shape.hostMemory(), DType.I64, 2);
    return checkShape("shape", numbers.getLong(0), numbers.getLong(1));
  }

  private static int[] checkShape(String name, long rows, long columns) {
    // Bits of a row and elements of a row are counted in ints.
    if (rows < 0 || columns < 0 || rows > Integer.MAX_VALUE || columns > 1 << 24) {
      throw new IllegalArgumentException(
          name
              + ": expected at most 2^31 - 1 rows and 2^24 columns, got ["
              + rows
              + ", "
              + columns
              + "]");
    }
    return new int[] {(int) rows, (int) columns};
  }

  /** Checks the type and the shape of a part; -1 stands for any extent. */
  static void checkPart(String name, Tensor part, @Nullable DType type, long... shape) {
    boolean fits = (type == null || part.type() == type) && part.rank() == shape.length;
    for (int i = 0; fits && i < shape.length; i++) {
      fits = shape[i] == -1 || shape[i] == part.dim(i);
    }
    if (!fits || !part.isContiguous()) {
      throw new IllegalArgumentException(
          name
              + ": expected a contiguous "
              + (type == null ? "tensor" : type)
              + Arrays.toString(shape)
              + ", got "
              + part);
    }
  }

  /** Checks that no bit of the mask beyond the last column is set. */
  static void checkStrayBits(int firstRow, Tensor bitmask, int rows, int columns) {
    long stride = MaskedRows.maskBytes(columns);
    for (int row = 0; row < rows; row++) {
      if (MaskedRows.hasStrayBits(bitmask.hostMemory(), row * stride, columns)) {
        throw new IllegalArgumentException(
            "bitmask: expected the bits beyond column "
                + (columns - 1)
                + " to be 0, got others in row "
                + (firstRow + row));
      }
    }
  }

  /** Memory of {@code bytes} bytes and the slack. */
  static MemorySegment allocate(Arena arena, long bytes) {
    return arena.allocate(bytes + SLACK, Tensor.ALIGNMENT);
  }

  /** A copy with slack. */
  static MemorySegment copy(Arena arena, Tensor part) {
    long bytes = part.size() * part.type().bytes();
    MemorySegment copy = allocate(arena, bytes);
    MemorySegment.copy(part.hostMemory(), 0, copy, 0, bytes);
    return copy;
  }
}
