package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.NativeViews;
import org.quern.runtime.Tier;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The sums on the Vector API. 16-bit elements are widened piece by piece into memory that stays in
 * the first-level cache.
 */
final class VectorStatisticKernels implements StatisticKernels {
  static final VectorStatisticKernels INSTANCE = new VectorStatisticKernels();

  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;

  /** As many floats as D has doubles. */
  private static final VectorSpecies<Float> HALF =
      VectorSpecies.of(float.class, VectorShape.forBitSize(D.vectorBitSize() / 2));

  private static final int DOUBLES = D.length();
  private static final int LANES = F.length();
  private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

  /** Elements worked on at a time: with their sums they fit the first-level cache. */
  private static final int PIECE = 1024;

  /** Rows whose squares are summed in one pass; eight were no faster. */
  private static final int ROWS = 4;

  private VectorStatisticKernels() {}

  @Override
  public void addSquares(
      MemorySegment x,
      long offset,
      long rowBytes,
      DType type,
      long rows,
      int columns,
      double[] sums,
      int at) {
    if (type == DType.F32) {
      addSquares(x, offset, rowBytes, rows, columns, sums, at);
      return;
    }
    long pieceBytes = (long) PIECE * Float.BYTES;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment pieces = arena.allocate(ROWS * pieceBytes, Tensor.ALIGNMENT);
      for (long row = 0; row < rows; row += ROWS) {
        int height = (int) Math.min(ROWS, rows - row);
        for (int j = 0; j < columns; j += PIECE) {
          int n = Math.min(PIECE, columns - j);
          for (int i = 0; i < height; i++) {
            long from = offset + (row + i) * rowBytes + (long) j * type.bytes();
            Conversions.toFloat(Tier.VECTOR, x, from, type, pieces, i * pieceBytes, n);
          }
          addSquares(pieces, 0, pieceBytes, height, n, sums, at + j);
        }
      }
    }
  }

  /** Rows of F32. */
  private static void addSquares(
      MemorySegment x, long offset, long rowBytes, long rows, int n, double[] sums, int at) {
    long row = 0;
    for (; row <= rows - ROWS; row += ROWS) {
      addSquaresOfRows(x, offset + row * rowBytes, rowBytes, n, sums, at);
    }
    for (; row < rows; row++) {
      addSquaresOfRow(x, offset + row * rowBytes, n, sums, at);
    }
  }

  /** {@link #ROWS} rows of F32, so that a sum is loaded and stored once for all of them. */
  private static void addSquaresOfRows(
      MemorySegment xIn, long offset, long rowBytes, int n, double[] sums, int at) {
    MemorySegment x = NativeViews.base(xIn);
    long row0 = NativeViews.at(xIn, offset, bytes(ROWS, n, rowBytes));
    long row1 = row0 + rowBytes;
    long row2 = row1 + rowBytes;
    long row3 = row2 + rowBytes;
    int vectors = Math.min(n / DOUBLES, VectorCells.MOST);
    for (int i = 0; i < vectors; i++) {
      int j = at + i * DOUBLES;
      long step = (long) i * DOUBLES * Float.BYTES;
      DoubleVector sum = DoubleVector.fromArray(D, sums, j);
      DoubleVector value = widened(x, row0 + step);
      sum = value.fma(value, sum);
      value = widened(x, row1 + step);
      sum = value.fma(value, sum);
      value = widened(x, row2 + step);
      sum = value.fma(value, sum);
      value = widened(x, row3 + step);
      value.fma(value, sum).intoArray(sums, j);
    }
    for (int j = vectors * DOUBLES; j < n; j++) {
      for (int row = 0; row < ROWS; row++) {
        double value = x.get(JAVA_FLOAT_UNALIGNED, row0 + row * rowBytes + (long) j * Float.BYTES);
        sums[at + j] += value * value;
      }
    }
  }

  /** Small enough to be inlined always: a vector never leaves compiled code. */
  private static DoubleVector widened(MemorySegment x, long at) {
    return (DoubleVector)
        FloatVector.fromMemorySegment(HALF, x, at, LE).convertShape(VectorOperators.F2D, D, 0);
  }

  /** One row of F32. */
  private static void addSquaresOfRow(
      MemorySegment xIn, long offset, int n, double[] sums, int at) {
    MemorySegment x = NativeViews.base(xIn);
    long from = NativeViews.at(xIn, offset, (long) n * Float.BYTES);
    int vectors = Math.min(n / DOUBLES, VectorCells.MOST);
    for (int i = 0; i < vectors; i++) {
      int j = at + i * DOUBLES;
      DoubleVector value = widened(x, from + (long) i * DOUBLES * Float.BYTES);
      value.fma(value, DoubleVector.fromArray(D, sums, j)).intoArray(sums, j);
    }
    for (int j = vectors * DOUBLES; j < n; j++) {
      double value = x.get(JAVA_FLOAT_UNALIGNED, from + (long) j * Float.BYTES);
      sums[at + j] += value * value;
    }
  }

  @Override
  public long addMagnitudes(
      MemorySegment g,
      long gOffset,
      long gRowBytes,
      DType type,
      float scale,
      int rows,
      int n,
      @Nullable MemorySegment l1,
      @Nullable MemorySegment l2,
      long sumOffset,
      long sumRowBytes) {
    boolean finite = true;
    if (type != DType.F32) {
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment piece = arena.allocate(PIECE * Float.BYTES, Tensor.ALIGNMENT);
        for (int i = 0; i < rows; i++) {
          for (int j = 0; j < n; j += PIECE) {
            int length = Math.min(PIECE, n - j);
            long from = gOffset + i * gRowBytes + (long) j * type.bytes();
            long at = sumOffset + i * sumRowBytes + (long) j * Float.BYTES;
            Conversions.toFloat(Tier.VECTOR, g, from, type, piece, 0, length);
            finite &= l1 == null || addMagnitudes(piece, 0, 0, scale, 1, length, l1, at, 0);
            finite &= l2 == null || addSquares(piece, 0, 0, scale, 1, length, l2, at, 0);
          }
        }
      }
    } else if (l1 == null || l2 == null) {
      finite =
          (l1 == null
                  || addMagnitudes(
                      g, gOffset, gRowBytes, scale, rows, n, l1, sumOffset, sumRowBytes))
              && (l2 == null
                  || addSquares(g, gOffset, gRowBytes, scale, rows, n, l2, sumOffset, sumRowBytes));
    } else {
      // Both sums of a piece are taken before the next piece is read from memory.
      int band = Math.max(1, PIECE / Math.max(1, n));
      for (int i = 0; i < rows; i += band) {
        int height = Math.min(band, rows - i);
        for (int j = 0; j < n; j += PIECE) {
          int length = Math.min(PIECE, n - j);
          long from = gOffset + i * gRowBytes + (long) j * Float.BYTES;
          long at = sumOffset + i * sumRowBytes + (long) j * Float.BYTES;
          finite &= addMagnitudes(g, from, gRowBytes, scale, height, length, l1, at, sumRowBytes);
          finite &= addSquares(g, from, gRowBytes, scale, height, length, l2, at, sumRowBytes);
        }
      }
    }
    return finite ? ALL_FINITE : firstInfinite(rows, n, l1, l2, sumOffset, sumRowBytes);
  }

  private static long firstInfinite(
      int rows,
      int n,
      @Nullable MemorySegment l1,
      @Nullable MemorySegment l2,
      long sumOffset,
      long sumRowBytes) {
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < n; j++) {
        long at = sumOffset + i * sumRowBytes + (long) j * Float.BYTES;
        if ((l1 != null && !Float.isFinite(l1.get(JAVA_FLOAT_UNALIGNED, at)))
            || (l2 != null && !Float.isFinite(l2.get(JAVA_FLOAT_UNALIGNED, at)))) {
          return (long) i * n + j;
        }
      }
    }
    throw new IllegalStateException("expected a sum that is not finite, found none");
  }

  /**
   * Returns whether all sums are finite. They are not negative, and a NaN has no sign here, so that
   * their bits order like integers and the largest tells.
   */
  private static boolean addMagnitudes(
      MemorySegment gIn,
      long gOffset,
      long gRowBytes,
      float scale,
      int rows,
      int n,
      MemorySegment sumsIn,
      long sumOffset,
      long sumRowBytes) {
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment sums = NativeViews.base(sumsIn);
    long gAt = NativeViews.at(gIn, gOffset, bytes(rows, n, gRowBytes));
    long sumAt = NativeViews.at(sumsIn, sumOffset, bytes(rows, n, sumRowBytes));
    int vectors = Math.min(n / LANES, VectorCells.MOST);
    boolean finite = true;
    for (int row = 0; row < rows; row++) {
      long from = gAt + row * gRowBytes;
      long at = sumAt + row * sumRowBytes;
      IntVector largest = IntVector.zero(VectorCells.I);
      for (int i = 0; i < vectors; i++) {
        long step = (long) i * VectorCells.BYTES;
        FloatVector sum =
            VectorCells.magnitude(FloatVector.fromMemorySegment(F, g, from + step, LE).mul(scale))
                .add(FloatVector.fromMemorySegment(F, sums, at + step, LE));
        largest = largest.max(sum.reinterpretAsInts());
        sum.intoMemorySegment(sums, at + step, LE);
      }
      finite &= isFinite(largest);
      for (int i = vectors * LANES; i < n; i++) {
        long step = (long) i * Float.BYTES;
        float scaled = Math.abs(scale * g.get(JAVA_FLOAT_UNALIGNED, from + step));
        float sum = sums.get(JAVA_FLOAT_UNALIGNED, at + step) + scaled;
        sums.set(JAVA_FLOAT_UNALIGNED, at + step, sum);
        finite &= Float.isFinite(sum);
      }
    }
    return finite;
  }

  /** Returns whether all sums are finite. */
  private static boolean addSquares(
      MemorySegment gIn,
      long gOffset,
      long gRowBytes,
      float scale,
      int rows,
      int n,
      MemorySegment sumsIn,
      long sumOffset,
      long sumRowBytes) {
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment sums = NativeViews.base(sumsIn);
    long gAt = NativeViews.at(gIn, gOffset, bytes(rows, n, gRowBytes));
    long sumAt = NativeViews.at(sumsIn, sumOffset, bytes(rows, n, sumRowBytes));
    int vectors = Math.min(n / LANES, VectorCells.MOST);
    boolean finite = true;
    for (int row = 0; row < rows; row++) {
      long from = gAt + row * gRowBytes;
      long at = sumAt + row * sumRowBytes;
      IntVector largest = IntVector.zero(VectorCells.I);
      for (int i = 0; i < vectors; i++) {
        long step = (long) i * VectorCells.BYTES;
        FloatVector scaled =
            VectorCells.magnitude(FloatVector.fromMemorySegment(F, g, from + step, LE).mul(scale));
        FloatVector sum =
            scaled.mul(scaled).add(FloatVector.fromMemorySegment(F, sums, at + step, LE));
        largest = largest.max(sum.reinterpretAsInts());
        sum.intoMemorySegment(sums, at + step, LE);
      }
      finite &= isFinite(largest);
      for (int i = vectors * LANES; i < n; i++) {
        long step = (long) i * Float.BYTES;
        float scaled = Math.abs(scale * g.get(JAVA_FLOAT_UNALIGNED, from + step));
        float sum = sums.get(JAVA_FLOAT_UNALIGNED, at + step) + scaled * scaled;
        sums.set(JAVA_FLOAT_UNALIGNED, at + step, sum);
        finite &= Float.isFinite(sum);
      }
    }
    return finite;
  }

  /** Bytes from the first element of a matrix of F32 to its last. */
  private static long bytes(int rows, int n, long rowBytes) {
    return rows == 0 ? 0 : (rows - 1) * rowBytes + (long) n * Float.BYTES;
  }

  private static boolean isFinite(IntVector largest) {
    return !largest.compare(VectorOperators.GE, VectorCells.INFINITY_BITS).anyTrue();
  }
}
