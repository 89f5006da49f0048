package org.quern.tensor;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Objects;
import org.quern.runtime.Device;

/**
 * A dense array in native memory: an element type, a shape, contiguous rows at a fixed stride, and
 * a device. Rows run along the last dimension; all dimensions before it together count the rows.
 * The lifetime is that of the {@link Arena} that gave the memory.
 *
 * <p>Values are read and written as {@code double} or {@code long} whatever the type, by the rule
 * of {@link Conversions}. All such access needs host memory and throws {@link
 * IllegalArgumentException}, naming the device, where the tensor lives elsewhere.
 */
public final class Tensor {
  /**
   * Alignment in bytes of memory that {@link #allocate} gives: one cache line, one 512-bit vector.
   */
  public static final int ALIGNMENT = 64;

  /** Elements that one call of a conversion takes: its counter is an int. */
  private static final int CONVERSION_RUN = 1 << 30;

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

  /**
   * A zeroed, contiguous tensor in 64-byte aligned native memory of {@code arena}.
   *
   * @throws IllegalArgumentException where an extent is negative or the size overflows
   */
  public static Tensor allocate(Arena arena, DType type, long... shape) {
    long[] extents = shape.clone();
    long bytes = byteSize(type, rows(extents), rowLength(extents), rowLength(extents), extents);
    MemorySegment memory = arena.allocate(Math.max(1, bytes), ALIGNMENT);
    return new Tensor(memory, type, extents, rowLength(extents), Device.CPU);
  }

  /**
   * A contiguous tensor over native memory that the caller owns.
   *
   * @throws IllegalArgumentException where the memory is on the heap, misaligned for the type, or
   *     too small
   */
  public static Tensor of(MemorySegment memory, DType type, long... shape) {
    return of(memory, type, rowLength(shape), shape);
  }

  /**
   * A tensor over native memory with an explicit row stride.
   *
   * @param rowStride elements from the start of a row to the start of the next, at least the length
   *     of a row
   * @throws IllegalArgumentException where the memory is on the heap, misaligned for the type, or
   *     too small, or the stride is shorter than a row
   */
  public static Tensor of(MemorySegment memory, DType type, long rowStride, long[] shape) {
    return of(memory, Device.CPU, type, rowStride, shape);
  }

  /**
   * A tensor over memory of any device.
   *
   * @param memory native memory, or for a CUDA device a zero-based segment whose address is the
   *     device pointer and whose size is that of the allocation
   * @param device where the memory lives
   * @param rowStride elements from the start of a row to the start of the next, at least the length
   *     of a row
   * @throws IllegalArgumentException where the memory is on the heap, misaligned for the type, or
   *     too small, or the stride is shorter than a row
   */
  public static Tensor of(
      MemorySegment memory, Device device, DType type, long rowStride, long[] shape) {
    if (!memory.isNative()) {
      throw new IllegalArgumentException(
          "memory: expected a native segment, got one on the heap; copy it with copyOf");
    }
    long misalignment = memory.address() % type.bytes();
    if (misalignment != 0) {
      throw new IllegalArgumentException(
          "memory: expected alignment to "
              + type.bytes()
              + " bytes for "
              + type
              + ", got address % "
              + type.bytes()
              + " = "
              + misalignment);
    }
    long[] extents = shape.clone();
    long row = rowLength(extents);
    long needed = byteSize(type, rows(extents), rowStride, row, extents);
    if (rowStride < row) {
      throw new IllegalArgumentException(
          "rowStride: expected at least the row length " + row + ", got " + rowStride);
    }
    if (memory.byteSize() < needed) {
      throw new IllegalArgumentException(
          "memory: expected at least "
              + needed
              + " bytes for "
              + type
              + " "
              + Arrays.toString(extents)
              + ", got "
              + memory.byteSize());
    }
    return new Tensor(memory, type, extents, rowStride, device);
  }

  /** A contiguous F32 tensor with a copy of {@code values}. */
  public static Tensor copyOf(Arena arena, float[] values, long... shape) {
    return copyOf(arena, DType.F32, Elements.F32, values, values.length, shape);
  }

  /** A contiguous F64 tensor with a copy of {@code values}. */
  public static Tensor copyOf(Arena arena, double[] values, long... shape) {
    return copyOf(arena, DType.F64, Elements.F64, values, values.length, shape);
  }

  /** A contiguous I64 tensor with a copy of {@code values}. */
  public static Tensor copyOf(Arena arena, long[] values, long... shape) {
    return copyOf(arena, DType.I64, Elements.I64, values, values.length, shape);
  }

  /** A contiguous I32 tensor with a copy of {@code values}. */
  public static Tensor copyOf(Arena arena, int[] values, long... shape) {
    return copyOf(arena, DType.I32, Elements.I32, values, values.length, shape);
  }

  /**
   * A contiguous tensor with a copy of 16-bit payloads.
   *
   * @param type F16, BF16 or I16, whose bits {@code values} holds
   */
  public static Tensor copyOf(Arena arena, DType type, short[] values, long... shape) {
    requireWidth(type, Short.BYTES);
    return copyOf(arena, type, Elements.I16, values, values.length, shape);
  }

  /**
   * A contiguous tensor with a copy of 8-bit payloads.
   *
   * @param type I8 or U8, whose bits {@code values} holds
   */
  public static Tensor copyOf(Arena arena, DType type, byte[] values, long... shape) {
    requireWidth(type, Byte.BYTES);
    return copyOf(arena, type, Elements.I8, values, values.length, shape);
  }

  private static Tensor copyOf(
      Arena arena, DType type, ValueLayout layout, Object array, int length, long[] shape) {
    Tensor tensor = allocate(arena, type, shape);
    if (tensor.size() != length) {
      throw new IllegalArgumentException(
          "values: expected "
              + tensor.size()
              + " for shape "
              + Arrays.toString(shape)
              + ", got "
              + length);
    }
    MemorySegment.copy(array, 0, tensor.memory, layout, 0, length);
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
    return rows() * rowLength();
  }

  /** Number of rows: the product of all extents but the last; 1 for a scalar or a vector. */
  public long rows() {
    return rows(shape);
  }

  /** Elements of a row: the last extent; 1 for a scalar. */
  public long rowLength() {
    return rowLength(shape);
  }

  /** Elements from the start of a row to the start of the next. */
  public long rowStride() {
    return rowStride;
  }

  /** True when rows follow one another without a gap. */
  public boolean isContiguous() {
    return rowStride == rowLength();
  }

  /** The memory; for a CUDA device a pointer that the host must not dereference. */
  public MemorySegment memory() {
    return memory;
  }

  /**
   * The memory, for access by the host.
   *
   * @throws IllegalArgumentException where the tensor does not live in host memory
   */
  public MemorySegment hostMemory() {
    if (device.kind() != Device.Kind.CPU) {
      throw new IllegalArgumentException(
          "tensor: expected one in host memory, got " + this + "; copy it to the cpu first");
    }
    return memory;
  }

  /** Where the memory lives. */
  public Device device() {
    return device;
  }

  /**
   * One row, as a vector over the same memory.
   *
   * @param row number of the row, from 0 to {@code rows() - 1}
   */
  public Tensor row(long row) {
    Objects.checkIndex(row, rows());
    return view(row, 1, new long[] {rowLength()});
  }

  /**
   * The rows {@code [from, to)}, as a matrix over the same memory with the same stride.
   *
   * @param from first row
   * @param to one past the last row
   */
  public Tensor rows(long from, long to) {
    Objects.checkFromToIndex(from, to, rows());
    return view(from, to - from, new long[] {to - from, rowLength()});
  }

  private Tensor view(long from, long count, long[] viewShape) {
    long bytes = byteSize(type, count, rowStride, rowLength(), viewShape);
    long offset = bytes == 0 ? 0 : from * rowStride * type.bytes();
    return new Tensor(memory.asSlice(offset, bytes), type, viewShape, rowStride, device);
  }

  /** The element at {@code index}, one number per dimension; an I64 is rounded to nearest. */
  public double getDouble(long... index) {
    return Elements.getDouble(hostMemory(), offset(index), type);
  }

  /** The element at {@code index}, one number per dimension; a fraction is dropped. */
  public long getLong(long... index) {
    return Elements.getLong(hostMemory(), offset(index), type);
  }

  /** Stores {@code value}, rounded to the type, at {@code index}, one number per dimension. */
  public void setDouble(double value, long... index) {
    Elements.setDouble(hostMemory(), offset(index), type, value);
  }

  /** Stores {@code value}, rounded to the type, at {@code index}, one number per dimension. */
  public void setLong(long value, long... index) {
    Elements.setLong(hostMemory(), offset(index), type, value);
  }

  private long offset(long[] index) {
    if (index.length != shape.length) {
      throw new IllegalArgumentException(
          "index: expected "
              + shape.length
              + " numbers for "
              + this
              + ", got "
              + Arrays.toString(index));
    }
    long row = 0;
    long column = 0;
    for (int i = 0; i < shape.length; i++) {
      if (index[i] < 0 || index[i] >= shape[i]) {
        throw new IndexOutOfBoundsException(
            "index: expected one inside " + this + ", got " + Arrays.toString(index));
      }
      if (i < shape.length - 1) {
        row = row * shape[i] + index[i];
      } else {
        column = index[i];
      }
    }
    return (row * rowStride + column) * type.bytes();
  }

  /** Stores {@code value}, rounded to the type, in every element; gaps between rows stay. */
  public void fill(double value) {
    if (size() == 0) {
      return;
    }
    Elements.setDouble(hostMemory(), 0, type, value);
    long row = rowLength() * type.bytes();
    for (long done = type.bytes(); done < row; done *= 2) {
      MemorySegment.copy(memory, 0, memory, done, Math.min(done, row - done));
    }
    for (long i = 1; i < rows(); i++) {
      MemorySegment.copy(memory, 0, memory, i * rowStride * type.bytes(), row);
    }
  }

  /** A contiguous copy in another element type, or in the same, in memory of {@code arena}. */
  public Tensor to(DType target, Arena arena) {
    MemorySegment source = hostMemory();
    Tensor copy = allocate(arena, target, shape);
    // Rows without gaps are one long run.
    long runs = isContiguous() ? 1 : rows();
    long length = isContiguous() ? size() : rowLength();
    for (long run = 0; run < runs; run++) {
      for (long i = 0; i < length; i += CONVERSION_RUN) {
        Conversions.convert(
            null,
            source,
            (run * rowStride + i) * type.bytes(),
            type,
            copy.memory,
            (run * length + i) * target.bytes(),
            target,
            (int) Math.min(CONVERSION_RUN, length - i));
      }
    }
    return copy;
  }

  /**
   * The elements in order, without gaps, converted to {@code float}.
   *
   * @throws IllegalArgumentException where there are more than an array can hold
   */
  public float[] toFloatArray() {
    float[] values = new float[arrayLength()];
    copyTo(DType.F32, Elements.F32, values);
    return values;
  }

  /**
   * The elements in order, without gaps, converted to {@code double}.
   *
   * @throws IllegalArgumentException where there are more than an array can hold
   */
  public double[] toDoubleArray() {
    double[] values = new double[arrayLength()];
    copyTo(DType.F64, Elements.F64, values);
    return values;
  }

  private void copyTo(DType target, ValueLayout layout, Object array) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor packed = type == target && isContiguous() ? this : to(target, arena);
      MemorySegment.copy(packed.hostMemory(), layout, 0, array, 0, arrayLength());
    }
  }

  private int arrayLength() {
    if (size() > Integer.MAX_VALUE - 8) {
      throw new IllegalArgumentException(
          "tensor: expected fewer than 2^31 elements for an array, got " + this);
    }
    return (int) size();
  }

  @Override
  public String toString() {
    return type
        + Arrays.toString(shape)
        + (isContiguous() ? "" : " stride " + rowStride)
        + " on "
        + device;
  }

  private static void requireWidth(DType type, int bytes) {
    if (type.bytes() != bytes) {
      throw new IllegalArgumentException(
          "type: expected one of " + bytes + " bytes per element, got " + type);
    }
  }

  private static long rowLength(long[] shape) {
    return shape.length == 0 ? 1 : shape[shape.length - 1];
  }

  private static long rows(long[] shape) {
    long rows = 1;
    for (int i = 0; i < shape.length; i++) {
      if (shape[i] < 0) {
        throw new IllegalArgumentException(
            "shape: expected extents >= 0, got " + Arrays.toString(shape));
      }
      if (i < shape.length - 1) {
        if (Math.multiplyHigh(rows, shape[i]) != 0 || rows * shape[i] < 0) {
          throw tooLarge(shape);
        }
        rows *= shape[i];
      }
    }
    return rows;
  }

  /** Bytes from the first element to the end of the last. */
  private static long byteSize(DType type, long rows, long stride, long row, long[] shape) {
    if (rows == 0 || row == 0) {
      return 0;
    }
    try {
      long elements = Math.addExact(Math.multiplyExact(rows - 1, stride), row);
      return Math.multiplyExact(elements, (long) type.bytes());
    } catch (ArithmeticException e) {
      throw tooLarge(shape);
    }
  }

  private static IllegalArgumentException tooLarge(long[] shape) {
    return new IllegalArgumentException(
        "shape: expected fewer than 2^63 bytes, got " + Arrays.toString(shape));
  }
}
