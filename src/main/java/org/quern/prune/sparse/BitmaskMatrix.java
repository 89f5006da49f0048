package org.quern.prune.sparse;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Any sparse matrix: the elements that are not zero, row after row, a bit for every element, and
 * for every row the number of elements before it. The layout is that of {@code sparse-bitmask} of
 * compressed-tensors: 2.125 bytes per element of F32, 1.125 per one of 16 bits, where half of them
 * are zero.
 *
 * <p>An element is zero where it equals zero: -0.0 is not stored and comes back as +0.0. All other
 * elements keep their bits, NaN payloads among them.
 */
public final class BitmaskMatrix extends SparseMatrix {
  /** The word by which compressed-tensors names the format. */
  public static final String FORMAT = "sparse-bitmask";

  /** {@link #rows} numbers. */
  private final MemorySegment rowOffsets;

  private BitmaskMatrix(
      DType type,
      int rows,
      int columns,
      long valueCount,
      MemorySegment values,
      MemorySegment mask,
      MemorySegment rowOffsets) {
    super(type, rows, columns, valueCount, values, mask);
    this.rowOffsets = rowOffsets;
  }

  /**
   * Packs a dense matrix.
   *
   * @param dense F32, F16 or BF16 [rows, columns] on the host, with any row stride
   * @param arena gives the memory
   */
  public static BitmaskMatrix pack(Tensor dense, Arena arena) {
    checkDense(dense);
    DType type = dense.type();
    int rows = (int) dense.dim(0);
    int columns = (int) dense.dim(1);
    long stride = dense.rowStride() * type.bytes();
    MemorySegment offsets = arena.allocate(Math.max(1, rows) * 8L, Tensor.ALIGNMENT);
    long count = 0;
    for (int row = 0; row < rows; row++) {
      offsets.setAtIndex(JAVA_LONG, row, count);
      count += MaskedRows.countNonZeros(dense.memory(), row * stride, type, columns);
    }
    long maskBytes = MaskedRows.maskBytes(columns);
    MemorySegment mask = allocate(arena, rows * maskBytes);
    MemorySegment values = allocate(arena, count * type.bytes());
    for (int row = 0; row < rows; row++) {
      MaskedRows.pack(
          dense.memory(),
          row * stride,
          type,
          columns,
          mask,
          row * maskBytes,
          values,
          offsets.getAtIndex(JAVA_LONG, row) * type.bytes());
    }
    return new BitmaskMatrix(type, rows, columns, count, values, mask, offsets);
  }

  /**
   * The matrix of four tensors as stored. Copies them.
   *
   * @param shape I64, two numbers: rows and columns
   * @param compressed F32, F16 or BF16 [values]
   * @param bitmask U8 [rows, ceil(columns / 8)], the bits beyond the last column 0
   * @param rowOffsets I64 [rows]: the number of bits set in all rows before
   * @param arena gives the memory
   * @throws IllegalArgumentException where they do not fit together; the message names the tensor
   *     and the first row that does not
   */
  public static BitmaskMatrix of(
      Tensor shape, Tensor compressed, Tensor bitmask, Tensor rowOffsets, Arena arena) {
    return of(0, 0, shape, compressed, bitmask, rowOffsets, arena);
  }

  /**
   * Some rows of a larger matrix.
   *
   * @param firstRow the row of the whole that is the first of these
   * @param firstValue the number of bits set in the rows before it
   */
  static BitmaskMatrix of(
      int firstRow,
      long firstValue,
      Tensor shape,
      Tensor compressed,
      Tensor bitmask,
      Tensor rowOffsets,
      Arena arena) {
    int[] extents = checkShape(shape);
    int rows = extents[0];
    int columns = extents[1];
    long maskBytes = MaskedRows.maskBytes(columns);
    checkValues(compressed);
    checkPart("compressed", compressed, null, -1);
    checkPart("bitmask", bitmask, DType.U8, rows, maskBytes);
    checkPart("row_offsets", rowOffsets, DType.I64, rows);
    checkStrayBits(firstRow, bitmask, rows, columns);
    MemorySegment offsets = arena.allocate(Math.max(1, rows) * 8L, Tensor.ALIGNMENT);
    long count = 0;
    for (int row = 0; row < rows; row++) {
      if (rowOffsets.getLong(row) != firstValue + count) {
        throw new IllegalArgumentException(
            "row_offsets: expected "
                + (firstValue + count)
                + " for row "
                + (firstRow + row)
                + ", the bits set in the rows before, got "
                + rowOffsets.getLong(row));
      }
      offsets.setAtIndex(JAVA_LONG, row, count);
      count += MaskedRows.countBits(bitmask.hostMemory(), row * maskBytes, maskBytes);
    }
    if (compressed.size() != count) {
      throw new IllegalArgumentException(
          "compressed: expected " + count + " values, as bits are set, got " + compressed.size());
    }
    return new BitmaskMatrix(
        compressed.type(),
        rows,
        columns,
        count,
        copy(arena, compressed),
        copy(arena, bitmask),
        offsets);
  }

  @Override
  public String format() {
    return FORMAT;
  }

  /** The stored elements, [values]. */
  @Override
  public Tensor compressed() {
    return Tensor.of(values, type, valueCount);
  }

  /** Number of stored elements before each row, I64 [rows]. */
  public Tensor rowOffsets() {
    return Tensor.of(rowOffsets, DType.I64, rows);
  }

  @Override
  public long bytes() {
    return super.bytes() + (long) rows * Long.BYTES;
  }

  @Override
  long valuesBefore(int row) {
    return rowOffsets.getAtIndex(JAVA_LONG, row);
  }
}
