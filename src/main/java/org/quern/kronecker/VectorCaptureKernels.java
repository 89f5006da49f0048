package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;

/**
 * The Vector API tier. Wide rows go eight at a time, one vector of sums after the other: eight
 * streams run along their rows, where going down all the rows would touch a page for each. Of
 * narrow rows, as many as fill half of the first-level cache, two vectors of sums stay in registers
 * while they go down. Rows of 16-bit types, and those that a limit changes, are first brought to
 * scratch as floats, eight short pieces at a time.
 */
final class VectorCaptureKernels implements CaptureKernels {
  static final VectorCaptureKernels INSTANCE = new VectorCaptureKernels();

  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Float> FLOATS = FloatVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Short> SHORTS = ShortVector.SPECIES_PREFERRED;

  /** As many floats as {@link #D} has doubles. */
  private static final VectorSpecies<Float> F =
      VectorSpecies.of(float.class, VectorShape.forBitSize(D.vectorBitSize() / 2));

  private static final int LANES = D.length();
  private static final long PIECE = (long) LANES * Float.BYTES;

  /** Rows of a block of wide rows. */
  private static final int ROWS = 8;

  /** Bytes of a block. */
  private static final int BLOCK = 1 << 14;

  /** Columns that are brought to scratch at a time; the pieces of eight rows are a block. */
  private static final int STRIP = BLOCK / ROWS / Float.BYTES;

  private VectorCaptureKernels() {}

  @Override
  public long scratchBytes() {
    return BLOCK;
  }

  @Override
  public void addRows(
      MemorySegment x,
      long offset,
      long stride,
      DType type,
      long rows,
      int columns,
      float limit,
      double[] sums,
      int at,
      MemorySegment scratch) {
    boolean direct = type == DType.F32;
    boolean limited = limit < Float.POSITIVE_INFINITY;
    int block = direct ? Math.max(ROWS, BLOCK / Float.BYTES / Math.max(1, columns)) : ROWS;
    for (long r = 0; r < rows; r += block) {
      int count = (int) Math.min(block, rows - r);
      long from = offset + r * stride;
      // The block is in the cache when it is added.
      boolean clamps = limited && !(magnitude(x, from, stride, type, count, columns) <= limit);
      if (direct && !clamps) {
        addBlock(x, from, stride, count, columns, sums, at);
      } else {
        float bound = clamps ? limit : Float.POSITIVE_INFINITY;
        for (int i = 0; i < count; i += ROWS) {
          int some = Math.min(ROWS, count - i);
          addStaged(x, from + i * stride, stride, type, some, columns, bound, sums, at, scratch);
        }
      }
    }
  }

  private static void addStaged(
      MemorySegment x,
      long offset,
      long stride,
      DType type,
      int rows,
      int columns,
      float limit,
      double[] sums,
      int at,
      MemorySegment scratch) {
    long row = (long) STRIP * Float.BYTES;
    for (int from = 0; from < columns; from += STRIP) {
      int count = Math.min(STRIP, columns - from);
      for (int r = 0; r < rows; r++) {
        long piece = offset + r * stride + (long) from * type.bytes();
        if (type == DType.F32) {
          clamp(x, piece, scratch, r * row, limit, count);
        } else {
          Conversions.toFloat(Tier.VECTOR, x, piece, type, scratch, r * row, count);
          if (limit < Float.POSITIVE_INFINITY) {
            clamp(scratch, r * row, scratch, r * row, limit, count);
          }
        }
      }
      addBlock(scratch, 0, row, rows, count, sums, at + from);
    }
  }

  /** Writes n clamped floats. Comparisons, unlike min and max, let a NaN through. */
  private static void clamp(
      MemorySegment x, long offset, MemorySegment to, long toOffset, float limit, int n) {
    MemorySegment from = NativeViews.base(x);
    long source = NativeViews.at(x, offset, (long) n * Float.BYTES);
    MemorySegment into = NativeViews.base(to);
    long target = NativeViews.at(to, toOffset, (long) n * Float.BYTES);
    FloatVector most = FloatVector.broadcast(FLOATS, limit);
    FloatVector least = FloatVector.broadcast(FLOATS, -limit);
    int bound = FLOATS.loopBound(Math.min(n, STRIP));
    for (int i = 0; i < bound; i += FLOATS.length()) {
      long at = (long) i * Float.BYTES;
      FloatVector value = FloatVector.fromMemorySegment(FLOATS, from, source + at, LITTLE_ENDIAN);
      value
          .blend(most, value.compare(VectorOperators.GT, most))
          .blend(least, value.compare(VectorOperators.LT, least))
          .intoMemorySegment(into, target + at, LITTLE_ENDIAN);
    }
    for (int i = bound; i < n; i++) {
      float value = from.get(JAVA_FLOAT_UNALIGNED, source + (long) i * Float.BYTES);
      value = value > limit ? limit : value < -limit ? -limit : value;
      into.set(JAVA_FLOAT_UNALIGNED, target + (long) i * Float.BYTES, value);
    }
  }

  private static void addBlock(
      MemorySegment x, long offset, long stride, int rows, int columns, double[] sums, int at) {
    MemorySegment base = NativeViews.base(x);
    long row = NativeViews.at(x, offset, (rows - 1) * stride + (long) columns * Float.BYTES);
    int n = Math.min(columns, 1 << 24);
    int j = 0;
    if (rows == ROWS) {
      j = addEight(base, row, stride, n, sums, at);
    } else {
      for (; j <= n - 2 * LANES; j += 2 * LANES) {
        addTwo(base, row + (long) j * Float.BYTES, stride, rows, sums, at + j);
      }
    }
    for (; j < n; j += LANES) {
      int width = Math.min(LANES, n - j);
      addColumns(base, row + (long) j * Float.BYTES, stride, rows, width, sums, at + j);
    }
  }

  private static int addEight(
      MemorySegment x, long row, long stride, int columns, double[] sums, int at) {
    int bound = columns / LANES * LANES;
    for (int j = 0; j < bound; j += LANES) {
      long from = row + (long) j * Float.BYTES;
      DoubleVector sum = DoubleVector.fromArray(D, sums, at + j);
      sum = sum.add(load(x, from));
      sum = sum.add(load(x, from + stride));
      sum = sum.add(load(x, from + 2 * stride));
      sum = sum.add(load(x, from + 3 * stride));
      sum = sum.add(load(x, from + 4 * stride));
      sum = sum.add(load(x, from + 5 * stride));
      sum = sum.add(load(x, from + 6 * stride));
      sum = sum.add(load(x, from + 7 * stride));
      sum.intoArray(sums, at + j);
    }
    return bound;
  }

  private static void addTwo(
      MemorySegment x, long row, long stride, int rows, double[] sums, int at) {
    DoubleVector s0 = DoubleVector.fromArray(D, sums, at);
    DoubleVector s1 = DoubleVector.fromArray(D, sums, at + LANES);
    long from = row;
    for (int r = 0; r < rows; r++) {
      s0 = s0.add(load(x, from));
      s1 = s1.add(load(x, from + PIECE));
      from += stride;
    }
    s0.intoArray(sums, at);
    s1.intoArray(sums, at + LANES);
  }

  private static DoubleVector load(MemorySegment x, long at) {
    return (DoubleVector) FloatVector.fromMemorySegment(F, x, at, LITTLE_ENDIAN).castShape(D, 0);
  }

  /** Columns of one vector, or of a part of it. */
  private static void addColumns(
      MemorySegment x, long row, long stride, int rows, int width, double[] sums, int at) {
    VectorMask<Float> floats = F.indexInRange(0, width);
    VectorMask<Double> doubles = D.indexInRange(0, width);
    DoubleVector sum = DoubleVector.fromArray(D, sums, at, doubles);
    long from = row;
    for (int r = 0; r < rows; r++) {
      FloatVector value = FloatVector.fromMemorySegment(F, x, from, LITTLE_ENDIAN, floats);
      sum = sum.add(value.castShape(D, 0));
      from += stride;
    }
    sum.intoArray(sums, at, doubles);
  }

  @Override
  public float magnitude(
      MemorySegment x, long offset, long stride, DType type, long rows, int columns) {
    int largest = 0;
    for (long r = 0; r < rows && columns > 0; r++) {
      long from = offset + r * stride;
      MemorySegment base = NativeViews.base(x);
      long row = NativeViews.at(x, from, (long) columns * type.bytes());
      int n = Math.min(columns, 1 << 24);
      int lanes = type == DType.F32 ? INTS.length() : SHORTS.length();
      int whole = n / lanes * lanes;
      largest =
          Math.max(
              largest,
              type == DType.F32 ? largestInt(base, row, whole) : largestShort(base, row, whole));
      for (int j = whole; j < n; j++) {
        largest = Math.max(largest, ScalarCaptureKernels.magnitudeBits(base, row, type, j));
      }
    }
    return ScalarCaptureKernels.value(largest, type);
  }

  private static int largestInt(MemorySegment x, long row, int columns) {
    IntVector largest = IntVector.zero(INTS);
    for (int j = 0; j < columns; j += INTS.length()) {
      largest =
          largest.max(
              IntVector.fromMemorySegment(INTS, x, row + (long) j * Integer.BYTES, LITTLE_ENDIAN)
                  .and(Integer.MAX_VALUE));
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }

  private static int largestShort(MemorySegment x, long row, int columns) {
    ShortVector largest = ShortVector.zero(SHORTS);
    for (int j = 0; j < columns; j += SHORTS.length()) {
      largest =
          largest.max(
              ShortVector.fromMemorySegment(SHORTS, x, row + (long) j * Short.BYTES, LITTLE_ENDIAN)
                  .and(Short.MAX_VALUE));
    }
    return largest.reduceLanes(VectorOperators.MAX);
  }
}
