package org.quern.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.runtime.Device;

/**
 * A dense array in native memory: an element type, a shape, contiguous rows at a fixed stride, and a device. Rows run
 * along the last dimension. The lifetime is that of the {@link Arena} that gave the memory.
 */
public final class Tensor {
  /** Alignment in bytes of memory that {@link #allocate} gives: one cache line, one 512-bit vector. */
  public static final int ALIGNMENT = 64;

  private final MemorySegment memory;
  private final DType type;
  private final long[] shape;
  private final long rowStride;
  private final Device device;

  private Tensor(MemorySegment memory, DType type, long[] shape, long rowStride, Device device) {
    this.memory = memory;
    this.type = type;
    this.shape = shape;
    this.rowStride = rowStride;
    this.device = device;
  }

  /** A zeroed, contiguous tensor in 64-byte aligned native memory of {@code arena}. */
  public static Tensor allocate(Arena arena, DType type, long... shape) {
    long size = size(shape);
    MemorySegment memory = arena.allocate(Math.max(1, Math.multiplyExact(size, (long) type.bytes())), ALIGNMENT);
    return new Tensor(memory, type, shape.clone(), rowLength(shape), Device.CPU);
  }

  /**
   * A contiguous tensor over native memory that the caller owns.
   *
   * @throws IllegalArgumentException where the memory is on the heap, misaligned for the type, or too small
   */
  public static Tensor of(MemorySegment memory, DType type, long... shape) {
    return of(memory, type, rowLength(shape), shape);
  }

  /**
   * A tensor over native memory with an explicit row stride.
   *
   * @param rowStride elements from the start of a row to the start of the next, at least the length of a row
   */
  public static Tensor of(MemorySegment memory, DType type, long rowStride, long[] shape) {
    if (!memory.isNative()) {
      throw new IllegalArgumentException("memory: expected a native segment, got one on the heap; copy it with copyOf");
    }
    if (memory.address() % type.bytes() != 0) {
      throw new IllegalArgumentException(
          "memory: expected alignment to " + type.bytes() + " bytes for " + type + ", got address % " + type.bytes() + " = " + memory.address() % type.bytes());
    }
    long size = size(shape);
    long row = rowLength(shape);
    if (rowStride < row) {
      throw new IllegalArgumentException("rowStride: expected at least the row length " + row + ", got " + rowStride);
    }
    long rows = row == 0 ? 0 : size / row;
    long needed = rows == 0 ? 0 : Math.multiplyExact(Math.addExact(Math.multiplyExact(rows - 1, rowStride), row), (long) type.bytes());
    if (memory.byteSize() < needed) {
      throw new IllegalArgumentException(
          "memory: expected at least " + needed + " bytes for " + type + " " + Arrays.toString(shape) + ", got " + memory.byteSize());
    }
    return new Tensor(memory, type, shape.clone(), rowStride, Device.CPU);
  }

  /** A contiguous F32 tensor with a copy of {@code values}. */
  public static Tensor copyOf(Arena arena, float[] values, long... shape) {
    if (size(shape) != values.length) {
      throw new IllegalArgumentException("values: expected " + size(shape) + " for shape " + Arrays.toString(shape) + ", got " + values.length);
    }
    Tensor tensor = allocate(arena, DType.F32, shape);
    MemorySegment.copy(values, 0, tensor.memory, java.lang.foreign.ValueLayout.JAVA_FLOAT, 0, values.length);
    return tensor;
  }

  /** Element type. */
  public DType type() {
    return type;
  }

  /** Number of dimensions. */
  public int rank() {
    return shape.length;
  }

  /** Extent of dimension {@code i}. */
  public long dim(int i) {
    return shape[i];
  }

  /** A copy of the shape. */
  public long[] shape() {
    return shape.clone();
  }

  /** Number of elements. */
  public long size() {
    return size(shape);
  }

  /** Elements from the start of a row to the start of the next. */
  public long rowStride() {
    return rowStride;
  }

  /** True when rows follow one another without a gap. */
  public boolean isContiguous() {
    return rowStride == rowLength(shape);
  }

  /** The memory; for a CUDA device a pointer that the host must not dereference. */
  public MemorySegment memory() {
    return memory;
  }

  /** Where the memory lives. */
  public Device device() {
    return device;
  }

  @Override
  public String toString() {
    return type + Arrays.toString(shape) + (isContiguous() ? "" : " stride " + rowStride) + " on " + device;
  }

  private static long rowLength(long[] shape) {
    return shape.length == 0 ? 1 : shape[shape.length - 1];
  }

  private static long size(long[] shape) {
    long size = 1;
    for (long extent : shape) {
      if (extent < 0) {
        throw new IllegalArgumentException("shape: expected extents >= 0, got " + Arrays.toString(shape));
      }
      size = Math.multiplyExact(size, extent);
    }
    return size;
  }
}
