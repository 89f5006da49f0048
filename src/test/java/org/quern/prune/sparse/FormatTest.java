package org.quern.prune.sparse;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Packed matrices against their dense ones, and parts that contradict each other. */
class FormatTest {
  private static final List<DType> TYPES = List.of(DType.F32, DType.F16, DType.BF16);

  private final Arena arena = Arena.ofConfined();

  @AfterEach
  void close() {
    arena.close();
  }

  private static Random random() {
    long seed = new Random().nextLong();
    System.out.println("FormatTest seed " + seed);
    return new Random(seed);
  }

  private static void assertSameBits(Tensor expected, Tensor got) {
    assertArrayEquals(expected.shape(), got.shape());
    assertEquals(expected.type(), got.type());
    long bytes = expected.size() * expected.type().bytes();
    assertEquals(-1, expected.memory().asSlice(0, bytes).mismatch(got.memory().asSlice(0, bytes)));
  }

  private BitmaskMatrix again(BitmaskMatrix packed) {
    return BitmaskMatrix.of(
        shape(packed), packed.compressed(), packed.bitmask(), packed.rowOffsets(), arena);
  }

  private Tensor shape(SparseMatrix packed) {
    return Tensor.copyOf(arena, new long[] {packed.rows(), packed.columns()}, 2);
  }

  @Test
  void everyMatrixComesBack() {
    Random random = random();
    for (DType type : TYPES) {
      for (int columns : new int[] {0, 1, 7, 8, 9, 63, 64, 65, 130}) {
        for (double density : new double[] {0, 0.1, 0.5, 1}) {
          int rows = random.nextInt(6);
          Tensor dense = SampleWeights.unstructured(arena, random, type, rows, columns, density);
          BitmaskMatrix packed = BitmaskMatrix.pack(dense, arena);
          assertSameBits(dense, packed.unpack(arena));
          assertSameBits(dense, again(packed).unpack(arena));
          long kept = packed.valueCount();
          assertEquals(
              kept * type.bytes() + rows * ((columns + 7L) / 8) + 8L * rows, packed.bytes());
        }
        if (columns % 4 == 0) {
          Tensor dense = SampleWeights.twoOfFour(arena, random, type, 5, columns);
          TwoOfFourMatrix packed = TwoOfFourMatrix.pack(dense, arena);
          assertSameBits(dense, packed.unpack(arena));
          assertSameBits(
              dense,
              TwoOfFourMatrix.of(shape(packed), packed.compressed(), packed.bitmask(), arena)
                  .unpack(arena));
        }
      }
    }
  }

  @Test
  void rowsMayHaveAStride() {
    Random random = random();
    Tensor wide = SampleWeights.twoOfFour(arena, random, DType.BF16, 4, 24);
    Tensor part = Tensor.of(wide.memory(), DType.BF16, 24, new long[] {4, 16});
    Tensor dense = Tensor.allocate(arena, DType.BF16, 4, 16);
    for (int i = 0; i < 4; i++) {
      for (int j = 0; j < 16; j++) {
        dense.setDouble(part.getDouble(i, j), i, j);
      }
    }
    assertSameBits(dense, BitmaskMatrix.pack(part, arena).unpack(arena));
    assertSameBits(dense, TwoOfFourMatrix.pack(part, arena).unpack(arena));
  }

  /** The layout by hand: 3 x 10 with an empty and a full row. */
  @Test
  void theBitmaskIsLittleEndianAndRowsArePadded() {
    float[] values = new float[30];
    values[0] = 1;
    values[9] = 2;
    for (int j = 20; j < 30; j++) {
      values[j] = j;
    }
    BitmaskMatrix packed = BitmaskMatrix.pack(Tensor.copyOf(arena, values, 3, 10), arena);
    assertArrayEquals(new double[] {1, 2, 0, 0, 255, 3}, packed.bitmask().toDoubleArray());
    assertArrayEquals(new double[] {0, 2, 2}, packed.rowOffsets().toDoubleArray());
    assertEquals(12, packed.valueCount());
    assertEquals(29, packed.compressed().getDouble(11));
  }

  @Test
  void negativeZerosBecomeZerosAndPayloadsStay() {
    for (DType type : TYPES) {
      boolean wide = type == DType.F32;
      int negativeZero = wide ? 0x80000000 : 0x8000;
      int payload = wide ? 0xffa12345 : type == DType.F16 ? 0xfd23 : 0xffa3;
      int subnormal = 1;
      Tensor dense = Tensor.allocate(arena, type, 2, 8);
      SampleWeights.setBits(dense, 0, 0, negativeZero);
      SampleWeights.setBits(dense, 0, 3, payload);
      SampleWeights.setBits(dense, 1, 5, subnormal);
      SampleWeights.setBits(dense, 1, 6, negativeZero);
      for (SparseMatrix packed :
          List.of(BitmaskMatrix.pack(dense, arena), TwoOfFourMatrix.pack(dense, arena))) {
        Tensor expected = Tensor.allocate(arena, type, 2, 8);
        SampleWeights.setBits(expected, 0, 3, payload);
        SampleWeights.setBits(expected, 1, 5, subnormal);
        assertSameBits(expected, packed.unpack(arena));
      }
      assertEquals(2, BitmaskMatrix.pack(dense, arena).valueCount());
    }
  }

  @Test
  void groupsWithFewValuesStoreTheZerosOfCutlass() {
    float[] values = new float[24];
    values[4] = 1; // only 0
    values[9] = 2; // only 1
    values[14] = 3; // only 2
    values[19] = 4; // only 3
    values[20] = 5;
    values[22] = 6;
    TwoOfFourMatrix packed = TwoOfFourMatrix.pack(Tensor.copyOf(arena, values, 1, 24), arena);
    assertArrayEquals(
        new double[] {0b1001_1100, 0b1100_1010, 0b0101_1100}, packed.bitmask().toDoubleArray());
    assertArrayEquals(
        new double[] {0, 0, 1, 0, 2, 0, 3, 0, 0, 4, 5, 6}, packed.compressed().toDoubleArray());
  }

  @Test
  void metadataComesBack() {
    Random random = random();
    Tensor dense = SampleWeights.twoOfFour(arena, random, DType.F16, 64, 96);
    TwoOfFourMatrix packed = TwoOfFourMatrix.pack(dense, arena);
    Tensor words = CutlassMetadata.logical(packed, arena);
    Tensor reordered = CutlassMetadata.reorder(words, arena);
    assertSameBits(words, CutlassMetadata.restore(reordered, arena));
    assertSameBits(
        dense, CutlassMetadata.ofLogical(packed.compressed(), words, arena).unpack(arena));
    words.setLong(0, 3, 2);
    assertMessage(
        "words: expected two ascending places in every group of four, got 0 and 0 in row 3, word"
            + " 2",
        () -> CutlassMetadata.ofLogical(packed.compressed(), words, arena));
    assertMessage(
        "matrix: expected multiples of 32 rows and 32 columns",
        () -> CutlassMetadata.reorder(Tensor.allocate(arena, DType.I16, 16, 2), arena));
    assertMessage(
        "matrix: expected multiples of 1 rows and 16 columns",
        () ->
            CutlassMetadata.logical(
                TwoOfFourMatrix.pack(Tensor.allocate(arena, DType.F16, 1, 8), arena), arena));
  }

  @Test
  void whatCannotBePackedIsRefused() {
    Tensor dense = Tensor.allocate(arena, DType.F32, 3, 8);
    for (int j = 4; j < 7; j++) {
      dense.setDouble(1, 2, j);
    }
    assertMessage(
        "dense: expected at most 2 of every 4 elements of a row other than zero, got more in row 2"
            + " from column 4",
        () -> TwoOfFourMatrix.pack(dense, arena));
    assertMessage(
        "dense: expected a multiple of 4 columns, got 7",
        () -> TwoOfFourMatrix.pack(Tensor.allocate(arena, DType.F32, 3, 7), arena));
    for (Tensor other :
        List.of(Tensor.allocate(arena, DType.F64, 3, 8), Tensor.allocate(arena, DType.F32, 8))) {
      assertMessage(
          "dense: expected a matrix of F32, F16 or BF16", () -> BitmaskMatrix.pack(other, arena));
    }
  }

  @Test
  void partsThatContradictEachOtherAreRefused() {
    Tensor dense = SampleWeights.unstructured(arena, random(), DType.F32, 4, 20, 1);
    BitmaskMatrix p = BitmaskMatrix.pack(dense, arena);
    Tensor offsets = Tensor.copyOf(arena, new long[] {0, 20, 41, 60}, 4);
    assertMessage(
        "row_offsets: expected 40 for row 2, the bits set in the rows before, got 41",
        () -> BitmaskMatrix.of(shape(p), p.compressed(), p.bitmask(), offsets, arena));
    assertMessage(
        "compressed: expected 80 values, as bits are set, got 79",
        () ->
            BitmaskMatrix.of(
                shape(p),
                Tensor.of(p.compressed().memory(), DType.F32, 79),
                p.bitmask(),
                p.rowOffsets(),
                arena));
    Tensor stray = p.bitmask();
    stray.setLong(0x1f, 3, 2);
    assertMessage(
        "bitmask: expected the bits beyond column 19 to be 0, got others in row 3",
        () -> BitmaskMatrix.of(shape(p), p.compressed(), stray, p.rowOffsets(), arena));
    Tensor shape = Tensor.copyOf(arena, new long[] {-1, 20}, 2);
    assertMessage(
        "shape: expected at most", () -> BitmaskMatrix.of(shape, stray, stray, stray, arena));
    assertMessage(
        "shape: expected two I64 numbers",
        () -> BitmaskMatrix.of(offsets, stray, stray, stray, arena));
    assertMessage(
        "compressed: expected F32, F16 or BF16",
        () -> BitmaskMatrix.of(shape(p), offsets, stray, offsets, arena));
    assertMessage(
        "bitmask: expected a contiguous U8[4, 3]",
        () ->
            BitmaskMatrix.of(
                shape(p),
                p.compressed(),
                Tensor.allocate(arena, DType.U8, 4, 2),
                p.rowOffsets(),
                arena));
    assertMessage(
        "row_offsets: expected a contiguous I64[4]",
        () ->
            BitmaskMatrix.of(
                shape(p),
                p.compressed(),
                p.bitmask(),
                Tensor.allocate(arena, DType.I64, 5),
                arena));
  }

  @Test
  void masksThatAreNotTwoOfFourAreRefused() {
    TwoOfFourMatrix p = TwoOfFourMatrix.pack(Tensor.allocate(arena, DType.F32, 2, 12), arena);
    p.bitmask().setLong(0b0111, 1, 1);
    assertMessage(
        "bitmask: expected 2 bits of every 4 set, got 3 in row 1 from column 8 on",
        () -> TwoOfFourMatrix.of(shape(p), p.compressed(), p.bitmask(), arena));
    assertMessage(
        "compressed: expected a contiguous tensor[2, 6]",
        () ->
            TwoOfFourMatrix.of(
                shape(p), Tensor.allocate(arena, DType.F32, 12), p.bitmask(), arena));
  }

  private static void assertMessage(String start, Runnable action) {
    IllegalArgumentException refused = assertThrows(IllegalArgumentException.class, action::run);
    assertTrue(refused.getMessage().startsWith(start), refused.getMessage());
  }
}
