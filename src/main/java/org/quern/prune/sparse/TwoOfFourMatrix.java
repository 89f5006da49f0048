package org.quern.prune.sparse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A matrix of which at most two of every four consecutive elements of a row are not zero: two
 * elements per group and a bit for every element. The layout is that of {@code sparse-24-bitmask}
 * of compressed-tensors: 2.125 bytes per element of F32, 1.125 per one of 16 bits.
 *
 * <p>A group with fewer than two elements that are not zero stores zeros, too, at the places that
 * the metadata of CUTLASS gives them: none stores places 2 and 3; one at 0 or 1 also 3; one at 2 or
 * 3 both of these. They are stored as +0.0. An element is zero where it equals zero: -0.0 comes
 * back as +0.0. All other elements keep their bits.
 */
public final class TwoOfFourMatrix extends SparseMatrix {
  /** The word by which compressed-tensors names the format. */
  public static final String FORMAT = "sparse-24-bitmask";

  /** Elements of a group. */
  static final int GROUP = 4;

  private static final int TOO_MANY = -1;

  /** The places that are stored, by the places that are not zero, a bit each. */
  private static final int[] STORED = {
    0b1100, 0b1001, 0b1010, 0b0011, 0b1100, 0b0101, 0b0110, TOO_MANY, 0b1100, 0b1001, 0b1010,
    TOO_MANY, 0b1100, TOO_MANY, TOO_MANY, TOO_MANY
  };

  private TwoOfFourMatrix(
      DType type, int rows, int columns, MemorySegment values, MemorySegment mask) {
    super(type, rows, columns, (long) rows * (columns / 2), values, mask);
  }

  /**
   * Packs a dense matrix.
   *
   * @param dense F32, F16 or BF16 [rows, columns] on the host, with any row stride
   * @param arena gives the memory
   * @throws IllegalArgumentException where the columns are no multiple of 4, or a group has more
   *     than two elements that are not zero; the message names the row and the column
   */
  public static TwoOfFourMatrix pack(Tensor dense, Arena arena) {
    checkDense(dense);
    checkColumns("dense", dense.dim(1));
    DType type = dense.type();
    int rows = (int) dense.dim(0);
    int columns = (int) dense.dim(1);
    long stride = dense.rowStride() * type.bytes();
    long maskBytes = MaskedRows.maskBytes(columns);
    MemorySegment mask = allocate(arena, rows * maskBytes);
    MemorySegment values = allocate(arena, (long) rows * (columns / 2) * type.bytes());
    for (int row = 0; row < rows; row++) {
      int bad =
          packRow(
              dense.memory(),
              row * stride,
              type,
              columns,
              mask,
              row * maskBytes,
              values,
              (long) row * (columns / 2) * type.bytes());
      if (bad >= 0) {
        throw new IllegalArgumentException("dense: " + tooMany(row, bad));
      }
    }
    return new TwoOfFourMatrix(type, rows, columns, values, mask);
  }

  /** What is wrong with a group of a matrix that is not 2:4. */
  static String tooMany(long row, int column) {
    return "expected at most 2 of every 4 elements of a row other than zero, got more in row "
        + row
        + " from column "
        + column
        + " on; prune it with the pattern 2:4, or use the format bitmask";
  }

  /**
   * True where every group of a checked dense matrix has at most two elements that are not zero.
   */
  static boolean isPatternOf(Tensor dense) {
    DType type = dense.type();
    int columns = (int) dense.dim(1);
    boolean fits = columns % GROUP == 0;
    for (long row = 0; fits && row < dense.dim(0); row++) {
      long at = row * dense.rowStride() * type.bytes();
      fits = findTooMany(dense.memory(), at, type, columns) < 0;
    }
    return fits;
  }

  /**
   * The first group of a dense row with more than two elements that are not zero, by its first
   * column; -1 where there is none.
   */
  static int findTooMany(MemorySegment dense, long denseOffset, DType type, int columns) {
    MemorySegment d = NativeViews.exact(dense);
    for (int group = 0; group < columns; group += GROUP) {
      int nonZeros = 0;
      for (int i = 0; i < GROUP; i++) {
        nonZeros += MaskedRows.nonZero(d, denseOffset, type, group + i);
      }
      if (nonZeros > 2) {
        return group;
      }
    }
    return -1;
  }

  /**
   * Packs one row.
   *
   * @return -1, or the column of the first group with more than two elements that are not zero
   */
  static int packRow(
      MemorySegment dense,
      long denseOffset,
      DType type,
      int columns,
      MemorySegment mask,
      long maskOffset,
      MemorySegment values,
      long valuesOffset) {
    MemorySegment d = NativeViews.exact(dense);
    MemorySegment b = NativeViews.exact(mask);
    MemorySegment v = NativeViews.exact(values);
    int width = type.bytes();
    long at = valuesOffset;
    for (int start = 0; start < columns; start += Byte.SIZE) {
      int bits = 0;
      for (int group = start; group < Math.min(start + Byte.SIZE, columns); group += GROUP) {
        int nonZeros = 0;
        for (int i = 0; i < GROUP; i++) {
          nonZeros |= MaskedRows.nonZero(d, denseOffset, type, group + i) << i;
        }
        int stored = STORED[nonZeros];
        if (stored == TOO_MANY) {
          return group;
        }
        int first = Integer.numberOfTrailingZeros(stored);
        int second = 31 - Integer.numberOfLeadingZeros(stored);
        store(d, denseOffset, type, group + first, nonZeros >> first & 1, v, at);
        store(d, denseOffset, type, group + second, nonZeros >> second & 1, v, at + width);
        at += 2L * width;
        bits |= stored << (group - start);
      }
      b.set(JAVA_BYTE, maskOffset + start / Byte.SIZE, (byte) bits);
    }
    return -1;
  }

  /** Copies an element, or stores +0.0 where {@code keep} is 0. */
  private static void store(
      MemorySegment dense,
      long denseOffset,
      DType type,
      int column,
      int keep,
      MemorySegment values,
      long at) {
    if (type == DType.F32) {
      int bits = dense.get(MaskedRows.INT, denseOffset + 4L * column);
      values.set(MaskedRows.INT, at, keep * bits);
    } else {
      int bits = dense.get(MaskedRows.SHORT, denseOffset + 2L * column);
      values.set(MaskedRows.SHORT, at, (short) (keep * bits));
    }
  }

  /**
   * The matrix of three tensors as stored. Copies them.
   *
   * @param shape I64, two numbers: rows and columns
   * @param compressed F32, F16 or BF16 [rows, columns / 2]
   * @param bitmask U8 [rows, ceil(columns / 8)], two bits of every four set
   * @param arena gives the memory
   * @throws IllegalArgumentException where they do not fit together; the message names the tensor
   *     and the first row that does not
   */
  public static TwoOfFourMatrix of(Tensor shape, Tensor compressed, Tensor bitmask, Arena arena) {
    return of(0, shape, compressed, bitmask, arena);
  }

  /**
   * Some rows of a larger matrix.
   *
   * @param firstRow the row of the whole that is the first of these
   */
  static TwoOfFourMatrix of(
      int firstRow, Tensor shape, Tensor compressed, Tensor bitmask, Arena arena) {
    int[] extents = checkShape(shape);
    int rows = extents[0];
    int columns = extents[1];
    checkColumns("shape", columns);
    long maskBytes = MaskedRows.maskBytes(columns);
    checkValues(compressed);
    checkPart("compressed", compressed, null, rows, columns / 2);
    checkPart("bitmask", bitmask, DType.U8, rows, maskBytes);
    checkStrayBits(firstRow, bitmask, rows, columns);
    for (int row = 0; row < rows; row++) {
      for (int column = 0; column < columns; column += GROUP) {
        int bits =
            bitmask.hostMemory().get(JAVA_BYTE, row * maskBytes + column / Byte.SIZE)
                    >> column % Byte.SIZE
                & 0xf;
        if (Integer.bitCount(bits) != 2) {
          throw new IllegalArgumentException(
              "bitmask: expected 2 bits of every 4 set, got "
                  + Integer.bitCount(bits)
                  + " in row "
                  + (firstRow + row)
                  + " from column "
                  + column
                  + " on");
        }
      }
    }
    return new TwoOfFourMatrix(
        compressed.type(), rows, columns, copy(arena, compressed), copy(arena, bitmask));
  }

  private static void checkColumns(String name, long columns) {
    if (columns % GROUP != 0) {
      throw new IllegalArgumentException(
          name + ": expected a multiple of 4 columns, got " + columns);
    }
  }

  @Override
  public String format() {
    return FORMAT;
  }

  /** The stored elements, [rows, columns / 2]. */
  @Override
  public Tensor compressed() {
    return Tensor.of(values, type, rows, columns / 2);
  }

  @Override
  long valuesBefore(int row) {
    return (long) row * (columns / 2);
  }
}
