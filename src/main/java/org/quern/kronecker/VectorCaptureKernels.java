package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.nio.ByteOrder.LITTLE_ENDIAN;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;

/**
 * The Vector API tier: a vector of sums is loaded, takes the same columns of eight rows, and is
 * stored. Eight streams run along their rows, where going down the columns would touch a page for
 * every row. Rows of 16-bit types are converted to scratch, eight short pieces at a time.
 */
final class VectorCaptureKernels implements CaptureKernels {
  static final VectorCaptureKernels INSTANCE = new VectorCaptureKernels();

  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;

  /** As many floats as {@link #D} has doubles. */
  private static final VectorSpecies<Float> F =
      VectorSpecies.of(float.class, VectorShape.forBitSize(D.vectorBitSize() / 2));

  private static final int LANES = D.length();
  private static final int BLOCK = 8;

  /** Columns that are converted at a time; the pieces of eight rows fill half of the L1 cache. */
  private static final int STRIP = 512;

  private VectorCaptureKernels() {}

  @Override
  public long scratchBytes() {
    return (long) BLOCK * STRIP * Float.BYTES;
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
      MemorySegment sums,
      long sumsOffset,
      MemorySegment scratch) {
    if (rows == 0 || columns == 0) {
      return;
    }
    for (long r = 0; r < rows; r += BLOCK) {
      int count = (int) Math.min(BLOCK, rows - r);
      long at = offset + r * stride;
      if (type == DType.F32) {
        addBlock(x, at, stride, count, columns, limit, sums, sumsOffset);
      } else {
        addConverted(x, at, stride, type, count, columns, limit, sums, sumsOffset, scratch);
      }
    }
  }

  private static void addConverted(
      MemorySegment x,
      long offset,
      long stride,
      DType type,
      int rows,
      int columns,
      float limit,
      MemorySegment sums,
      long sumsOffset,
      MemorySegment scratch) {
    long piece = (long) STRIP * Float.BYTES;
    for (int from = 0; from < columns; from += STRIP) {
      int count = Math.min(STRIP, columns - from);
      for (int r = 0; r < rows; r++) {
        long at = offset + r * stride + (long) from * type.bytes();
        Conversions.toFloat(Tier.VECTOR, x, at, type, scratch, r * piece, count);
      }
      long sum = sumsOffset + (long) from * Double.BYTES;
      addBlock(scratch, 0, piece, rows, count, limit, sums, sum);
    }
  }

  /** Adds at most eight rows. */
  private static void addBlock(
      MemorySegment x,
      long offset,
      long stride,
      int rows,
      int columns,
      float limit,
      MemorySegment sums,
      long sumsOffset) {
    MemorySegment from = NativeViews.base(x);
    long row = NativeViews.at(x, offset, (rows - 1) * stride + (long) columns * Float.BYTES);
    MemorySegment to = NativeViews.base(sums);
    long sum = NativeViews.at(sums, sumsOffset, (long) columns * Double.BYTES);
    int whole = columns / LANES * LANES;
    boolean limited = limit < Float.POSITIVE_INFINITY;
    int done = 0;
    if (limited) {
      for (; done + BLOCK / 2 <= rows; done += BLOCK / 2) {
        addFourClamped(from, row + done * stride, stride, whole, limit, to, sum);
      }
    } else if (rows == BLOCK) {
      addEight(from, row, stride, whole, to, sum);
      done = BLOCK;
    }
    for (; done < rows; done++) {
      addOne(from, row + done * stride, whole, limit, to, sum);
    }
    addTail(from, row, stride, rows, whole, columns, limit, to, sum);
  }

  private static void addEight(
      MemorySegment x, long row, long stride, int columns, MemorySegment sums, long sum) {
    int n = Math.min(columns, 1 << 24);
    for (int j = 0; j < n; j += LANES) {
      long at = row + (long) j * Float.BYTES;
      long to = sum + (long) j * Double.BYTES;
      DoubleVector total = DoubleVector.fromMemorySegment(D, sums, to, LITTLE_ENDIAN);
      total = total.add(load(x, at));
      total = total.add(load(x, at + stride));
      total = total.add(load(x, at + 2 * stride));
      total = total.add(load(x, at + 3 * stride));
      total = total.add(load(x, at + 4 * stride));
      total = total.add(load(x, at + 5 * stride));
      total = total.add(load(x, at + 6 * stride));
      total = total.add(load(x, at + 7 * stride));
      total.intoMemorySegment(sums, to, LITTLE_ENDIAN);
    }
  }

  private static void addFourClamped(
      MemorySegment x,
      long row,
      long stride,
      int columns,
      float limit,
      MemorySegment sums,
      long sum) {
    int n = Math.min(columns, 1 << 24);
    FloatVector most = FloatVector.broadcast(F, limit);
    FloatVector least = FloatVector.broadcast(F, -limit);
    for (int j = 0; j < n; j += LANES) {
      long at = row + (long) j * Float.BYTES;
      long to = sum + (long) j * Double.BYTES;
      DoubleVector total = DoubleVector.fromMemorySegment(D, sums, to, LITTLE_ENDIAN);
      total = total.add(clamp(x, at, most, least));
      total = total.add(clamp(x, at + stride, most, least));
      total = total.add(clamp(x, at + 2 * stride, most, least));
      total = total.add(clamp(x, at + 3 * stride, most, least));
      total.intoMemorySegment(sums, to, LITTLE_ENDIAN);
    }
  }

  private static void addOne(
      MemorySegment x, long row, int columns, float limit, MemorySegment sums, long sum) {
    int n = Math.min(columns, 1 << 24);
    FloatVector most = FloatVector.broadcast(F, limit);
    FloatVector least = FloatVector.broadcast(F, -limit);
    for (int j = 0; j < n; j += LANES) {
      long to = sum + (long) j * Double.BYTES;
      DoubleVector.fromMemorySegment(D, sums, to, LITTLE_ENDIAN)
          .add(clamp(x, row + (long) j * Float.BYTES, most, least))
          .intoMemorySegment(sums, to, LITTLE_ENDIAN);
    }
  }

  /** Comparisons, unlike min and max, let a NaN through. */
  private static DoubleVector clamp(MemorySegment x, long at, FloatVector most, FloatVector least) {
    FloatVector value = FloatVector.fromMemorySegment(F, x, at, LITTLE_ENDIAN);
    value = value.blend(most, value.compare(VectorOperators.GT, most));
    value = value.blend(least, value.compare(VectorOperators.LT, least));
    return (DoubleVector) value.castShape(D, 0);
  }

  private static DoubleVector load(MemorySegment x, long at) {
    return (DoubleVector) FloatVector.fromMemorySegment(F, x, at, LITTLE_ENDIAN).castShape(D, 0);
  }

  /** Columns behind the last whole vector. */
  private static void addTail(
      MemorySegment x,
      long row,
      long stride,
      int rows,
      int whole,
      int columns,
      float limit,
      MemorySegment sums,
      long sum) {
    for (int j = whole; j < columns; j++) {
      long to = sum + (long) j * Double.BYTES;
      double total = sums.get(JAVA_DOUBLE_UNALIGNED, to);
      for (int r = 0; r < rows; r++) {
        float value = x.get(JAVA_FLOAT_UNALIGNED, row + r * stride + (long) j * Float.BYTES);
        total += value > limit ? limit : value < -limit ? -limit : value;
      }
      sums.set(JAVA_DOUBLE_UNALIGNED, to, total);
    }
  }
}
