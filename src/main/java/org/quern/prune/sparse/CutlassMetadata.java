package org.quern.prune.sparse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The places of the stored elements of a 2:4 matrix as CUTLASS and the semi-structured tensors of
 * PyTorch keep them, instead of a bitmask. In logical order, a group of four columns is a nibble:
 * the place of the first stored element, and that of the second times four; a 16-bit word holds
 * four groups from its low bits, so that word c of row r is for columns 16c to 16c + 15. Tensor
 * cores read the words in another order: row r goes to {@code r / 32 * 32 + r % 8 * 4 + r % 32 /
 * 8}, in every 2 x 2 block of words the two off the diagonal trade places, and word (r, c) lies at
 * {@code c / 2 * 2 rows + 2 r + c % 2}.
 *
 * <p>The order is that of NVIDIA CUTLASS for 16-bit elements ({@code reorder_meta}), and of {@code
 * torch.sparse.to_sparse_semi_structured} with the CUTLASS backend.
 */
public final class CutlassMetadata {
  private static final int COLUMNS_PER_WORD = 16;
  private static final int TILE_ROWS = 32;
  private static final int TILE_COLUMNS = 2 * COLUMNS_PER_WORD;

  private CutlassMetadata() {}

  /**
   * The words of a matrix in logical order.
   *
   * @return I16 [rows, columns / 16]
   * @throws IllegalArgumentException where the columns are no multiple of 16
   */
  public static Tensor logical(TwoOfFourMatrix matrix, Arena arena) {
    checkMultiples(matrix.rows(), matrix.columns(), 1, COLUMNS_PER_WORD);
    Tensor words =
        Tensor.allocate(arena, DType.I16, matrix.rows(), matrix.columns() / COLUMNS_PER_WORD);
    for (long at = 0; at < words.size(); at++) {
      int mask =
          matrix.mask.get(JAVA_BYTE, 2 * at) & 0xff
              | (matrix.mask.get(JAVA_BYTE, 2 * at + 1) & 0xff) << Byte.SIZE;
      int word = 0;
      for (int shift = 0; shift < COLUMNS_PER_WORD; shift += TwoOfFourMatrix.GROUP) {
        int places = mask >> shift & 0xf;
        int first = Integer.numberOfTrailingZeros(places);
        int second = 31 - Integer.numberOfLeadingZeros(places);
        word |= (first | second << 2) << shift;
      }
      words.memory().setAtIndex(JAVA_SHORT, at, (short) word);
    }
    return words;
  }

  /**
   * The matrix of values and words in logical order.
   *
   * @param compressed F32, F16 or BF16 [rows, columns / 2]
   * @param words I16 [rows, columns / 16]
   * @throws IllegalArgumentException where they do not fit together, or the places of a group do
   *     not ascend
   */
  public static TwoOfFourMatrix ofLogical(Tensor compressed, Tensor words, Arena arena) {
    SparseMatrix.checkPart("words", words, DType.I16, -1, -1);
    long rows = words.dim(0);
    long columns = words.dim(1) * COLUMNS_PER_WORD;
    try (Arena scratch = Arena.ofConfined()) {
      Tensor mask =
          Tensor.allocate(scratch, DType.U8, rows, Math.ceilDiv(columns, (long) Byte.SIZE));
      for (long at = 0; at < words.size(); at++) {
        int word = words.hostMemory().getAtIndex(JAVA_SHORT, at);
        for (int half = 0; half < 2; half++) {
          int low = places(word >> (Byte.SIZE * half), words, at);
          int high = places(word >> (Byte.SIZE * half + 4), words, at);
          mask.memory().set(JAVA_BYTE, 2 * at + half, (byte) (low | high << 4));
        }
      }
      Tensor shape = Tensor.copyOf(scratch, new long[] {rows, columns}, 2);
      return TwoOfFourMatrix.of(shape, compressed, mask, arena);
    }
  }

  private static int places(int nibble, Tensor words, long at) {
    int first = nibble & 3;
    int second = nibble >> 2 & 3;
    if (first >= second) {
      throw new IllegalArgumentException(
          "words: expected two ascending places in every group of four, got "
              + first
              + " and "
              + second
              + " in row "
              + at / words.dim(1)
              + ", word "
              + at % words.dim(1));
    }
    return 1 << first | 1 << second;
  }

  /**
   * Words in the order that tensor cores read.
   *
   * @param words I16 [rows, columns / 16] in logical order
   * @return I16 of the same shape
   * @throws IllegalArgumentException where the rows or the columns are no multiple of 32
   */
  public static Tensor reorder(Tensor words, Arena arena) {
    return permute(words, true, arena);
  }

  /**
   * The inverse of {@link #reorder}.
   *
   * @param words I16 [rows, columns / 16] in the order that tensor cores read
   * @return I16 of the same shape in logical order
   * @throws IllegalArgumentException where the rows or the columns are no multiple of 32
   */
  public static Tensor restore(Tensor words, Arena arena) {
    return permute(words, false, arena);
  }

  private static Tensor permute(Tensor words, boolean forward, Arena arena) {
    SparseMatrix.checkPart("words", words, DType.I16, -1, -1);
    long rows = words.dim(0);
    long width = words.dim(1);
    checkMultiples(rows, width * COLUMNS_PER_WORD, TILE_ROWS, TILE_COLUMNS);
    MemorySegment source = words.hostMemory();
    Tensor target = Tensor.allocate(arena, DType.I16, rows, width);
    for (long row = 0; row < rows; row++) {
      for (long column = 0; column < width; column++) {
        long logical = row * width + column;
        long place = place(row, column, rows);
        target
            .memory()
            .setAtIndex(
                JAVA_SHORT,
                forward ? place : logical,
                source.getAtIndex(JAVA_SHORT, forward ? logical : place));
      }
    }
    return target;
  }

  /** Where a word lies for tensor cores. */
  private static long place(long row, long column, long rows) {
    long r = row / TILE_ROWS * TILE_ROWS + row % 8 * 4 + row % TILE_ROWS / 8;
    long c = column;
    if (r % 2 == 0 && c % 2 == 1) {
      r++;
      c--;
    } else if (r % 2 == 1 && c % 2 == 0) {
      r--;
      c++;
    }
    return c / 2 * 2 * rows + 2 * r + c % 2;
  }

  private static void checkMultiples(long rows, long columns, int rowUnit, int columnUnit) {
    if (rows % rowUnit != 0 || columns % columnUnit != 0) {
      throw new IllegalArgumentException(
          "matrix: expected multiples of "
              + rowUnit
              + " rows and "
              + columnUnit
              + " columns, got ["
              + rows
              + ", "
              + columns
              + "]");
    }
  }
}
