package org.quern.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.quern.runtime.Device;

class TensorTest {
  private final Arena arena = Arena.ofConfined();

  @AfterEach
  void close() {
    arena.close();
  }

  @Test
  void allocationIsAlignedZeroedAndContiguous() {
    Tensor tensor = Tensor.allocate(arena, DType.F32, 2, 3, 5);
    assertEquals(0, tensor.memory().address() % Tensor.ALIGNMENT);
    assertEquals(30, tensor.size());
    assertEquals(6, tensor.rows());
    assertEquals(5, tensor.rowLength());
    assertEquals(3, tensor.rank());
    assertEquals(3, tensor.dim(1));
    assertTrue(tensor.isContiguous());
    assertArrayEquals(new float[30], tensor.toFloatArray());
    assertEquals("F32[2, 3, 5] on cpu", tensor.toString());
  }

  @Test
  void theShapeIsCopiedInAndOut() {
    long[] shape = {2, 3};
    Tensor tensor = Tensor.allocate(arena, DType.F32, shape);
    shape[0] = 9;
    tensor.shape()[1] = 9;
    assertArrayEquals(new long[] {2, 3}, tensor.shape());
  }

  @ParameterizedTest
  @EnumSource
  void elementsOfEveryTypeAreReadAndWritten(DType type) {
    Tensor tensor = Tensor.allocate(arena, type, 3, 4);
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 4; j++) {
        if (j % 2 == 0) {
          tensor.setLong(10 * i + j, i, j);
        } else {
          tensor.setDouble(10 * i + j, i, j);
        }
      }
    }
    for (int i = 0; i < 3; i++) {
      for (int j = 0; j < 4; j++) {
        assertEquals(10 * i + j, tensor.getLong(i, j));
        assertEquals(10 * i + j, tensor.getDouble(i, j));
      }
    }
    float[] expected = {0, 1, 2, 3, 10, 11, 12, 13, 20, 21, 22, 23};
    assertArrayEquals(expected, tensor.toFloatArray());
    assertEquals(
        type == DType.I8 || type == DType.U8 ? 12 : 12L * type.bytes(), tensor.memory().byteSize());
  }

  @Test
  void integersDropTheFractionAndClamp() {
    Object[][] cases = {
      {DType.I8, 127L, -128L},
      {DType.U8, 255L, 0L},
      {DType.I16, 32767L, -32768L},
      {DType.I32, 2147483647L, -2147483648L},
      {DType.I64, Long.MAX_VALUE, Long.MIN_VALUE},
    };
    for (Object[] row : cases) {
      Tensor one = Tensor.allocate(arena, (DType) row[0], 1);
      one.setDouble(1e30, 0);
      assertEquals(row[1], one.getLong(0));
      one.setLong(Long.MAX_VALUE, 0);
      assertEquals(row[1], one.getLong(0));
      one.setDouble(Double.NEGATIVE_INFINITY, 0);
      assertEquals(row[2], one.getLong(0));
      one.setLong(Long.MIN_VALUE, 0);
      assertEquals(row[2], one.getLong(0));
      one.setDouble(Double.NaN, 0);
      assertEquals(0, one.getLong(0));
      one.setDouble(2.9, 0);
      assertEquals(2, one.getLong(0));
      one.setDouble(-0.9, 0);
      assertEquals(0, one.getLong(0));
    }
  }

  @Test
  void longsBeyondDoublesStayExactBetweenIntegers() {
    long value = (1L << 53) + 1;
    Tensor longs = Tensor.copyOf(arena, new long[] {value, -value}, 2);
    assertEquals(value, longs.to(DType.I64, arena).getLong(0));
    assertEquals(Integer.MAX_VALUE, longs.to(DType.I32, arena).getLong(0));
    // One rounding: through a double this tie of floats would lose its last bit first.
    Tensor tie = Tensor.copyOf(arena, new long[] {(1L << 60) + (1L << 36) + 1}, 1);
    assertEquals((float) ((1L << 60) + (1L << 37)), tie.toFloatArray()[0]);
  }

  @Test
  void copiesKeepThePayload() {
    assertArrayEquals(
        new float[] {1, 2}, Tensor.copyOf(arena, new float[] {1, 2}, 2).toFloatArray());
    assertArrayEquals(
        new double[] {0.1, 2}, Tensor.copyOf(arena, new double[] {0.1, 2}, 2).toDoubleArray());
    assertEquals(DType.I32, Tensor.copyOf(arena, new int[] {3}, 1).type());
    assertArrayEquals(
        new float[] {1, -2},
        Tensor.copyOf(arena, DType.F16, new short[] {0x3c00, (short) 0xc000}, 2).toFloatArray());
    assertArrayEquals(
        new float[] {1, -2},
        Tensor.copyOf(arena, DType.BF16, new short[] {0x3f80, (short) 0xc000}, 2).toFloatArray());
    assertArrayEquals(
        new double[] {200},
        Tensor.copyOf(arena, DType.U8, new byte[] {(byte) 200}, 1).toDoubleArray());
    refuses("values: expected 3", () -> Tensor.copyOf(arena, new float[2], 3));
    refuses("type: expected", () -> Tensor.copyOf(arena, DType.F32, new short[2], 2));
    refuses("type: expected", () -> Tensor.copyOf(arena, DType.I16, new byte[2], 2));
  }

  private Tensor strided() {
    MemorySegment memory = arena.allocate(4 * 11, 64);
    Tensor tensor = Tensor.of(memory, DType.F32, 4, new long[] {3, 3});
    tensor.fill(9);
    for (int i = 0; i < 9; i++) {
      tensor.setDouble(i, i / 3, i % 3);
    }
    return tensor;
  }

  @Test
  void rowsWithAStrideAreReadViewedAndConverted() {
    Tensor tensor = strided();
    assertFalse(tensor.isContiguous());
    assertArrayEquals(new float[] {0, 1, 2, 3, 4, 5, 6, 7, 8}, tensor.toFloatArray());
    assertArrayEquals(new double[] {0, 1, 2, 3, 4, 5, 6, 7, 8}, tensor.toDoubleArray());
    assertArrayEquals(new float[] {3, 4, 5}, tensor.row(1).toFloatArray());
    Tensor last = tensor.rows(1, 3);
    assertArrayEquals(new long[] {2, 3}, last.shape());
    assertEquals(4, last.rowStride());
    assertArrayEquals(new float[] {3, 4, 5, 6, 7, 8}, last.toFloatArray());
    last.setDouble(42, 0, 0);
    assertEquals(42, tensor.getDouble(1, 0));
    Tensor half = tensor.to(DType.F16, arena);
    assertTrue(half.isContiguous());
    assertArrayEquals(tensor.toFloatArray(), half.toFloatArray());
    assertEquals(0, tensor.rows(3, 3).size());
    assertThrows(IndexOutOfBoundsException.class, () -> tensor.row(3));
    assertThrows(IndexOutOfBoundsException.class, () -> tensor.rows(2, 4));
  }

  @Test
  void fillLeavesTheGapsAlone() {
    MemorySegment memory = arena.allocate(2 * 14, 64);
    Tensor whole = Tensor.of(memory, DType.BF16, 14);
    whole.fill(1);
    Tensor.of(memory, DType.BF16, 5, new long[] {3, 3}).fill(-0.5);
    float[] expected = {-.5f, -.5f, -.5f, 1, 1, -.5f, -.5f, -.5f, 1, 1, -.5f, -.5f, -.5f, 1};
    assertArrayEquals(expected, whole.toFloatArray());
    Tensor.allocate(arena, DType.I8, 0, 4).fill(3);
  }

  @Test
  void scalarsAndEmptyTensorsWork() {
    Tensor scalar = Tensor.allocate(arena, DType.F64);
    scalar.setDouble(2.5);
    assertEquals(2.5, scalar.getDouble());
    assertEquals(1, scalar.size());
    assertArrayEquals(new double[] {2.5}, scalar.row(0).toDoubleArray());
    Tensor empty = Tensor.allocate(arena, DType.F16, 4, 0);
    assertEquals(4, empty.rows());
    assertEquals(0, empty.size());
    assertEquals(0, empty.row(3).size());
    assertArrayEquals(new float[0], empty.toFloatArray());
  }

  @Test
  void badMemoryShapesAndIndicesAreRefused() {
    MemorySegment memory = arena.allocate(64, 64);
    refuses("heap", () -> Tensor.of(MemorySegment.ofArray(new float[4]), DType.F32, 4));
    refuses("alignment", () -> Tensor.of(memory.asSlice(2), DType.F32, 4));
    refuses("at least 68 bytes", () -> Tensor.of(memory, DType.F32, 17));
    refuses("at least 68 bytes", () -> Tensor.of(memory, DType.F32, 15, new long[] {2, 2}));
    refuses("rowStride", () -> Tensor.of(memory, DType.F32, 1, new long[] {2, 2}));
    refuses("extents", () -> Tensor.allocate(arena, DType.F32, 3, -1));
    refuses("2^63", () -> Tensor.allocate(arena, DType.F32, 1L << 31, 1L << 31));
    refuses("2^63", () -> Tensor.allocate(arena, DType.I8, 1L << 40, 1L << 40, 1));
    refuses("2^63", () -> Tensor.of(memory, DType.F32, Long.MAX_VALUE, new long[] {3, 2}));
    Tensor tensor = Tensor.of(memory, DType.F32, 4, 4);
    refuses("index: expected 2 numbers", () -> tensor.getDouble(1));
    for (long[] index : List.of(new long[] {4, 0}, new long[] {0, 4}, new long[] {-1, 0})) {
      assertThrows(IndexOutOfBoundsException.class, () -> tensor.getDouble(index));
    }
  }

  @Test
  void hostAccessToDeviceMemoryNamesTheDevice() {
    Tensor tensor =
        Tensor.of(arena.allocate(64, 64), Device.cuda(1), DType.F32, 4, new long[] {2, 4});
    for (Executable access :
        List.<Executable>of(
            tensor::hostMemory,
            tensor::toFloatArray,
            tensor::toDoubleArray,
            () -> tensor.getDouble(0, 0),
            () -> tensor.getLong(0, 0),
            () -> tensor.setDouble(1, 0, 0),
            () -> tensor.setLong(1, 0, 0),
            () -> tensor.fill(0),
            () -> tensor.to(DType.F16, arena),
            () -> tensor.row(1).toFloatArray())) {
      refuses("cuda:1", access);
    }
    assertEquals(Device.cuda(1), tensor.rows(0, 1).device());
  }

  private static void refuses(String words, Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.contains(words), message);
  }
}
