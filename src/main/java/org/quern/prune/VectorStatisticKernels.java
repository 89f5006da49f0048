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
  private static final int INFINITY_BITS = 0x7f800000;

  /** Elements worked on at a time: with their sums they fit the first-level cache. */
  private static final int PIECE = 1024;

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
      for (long row = 0; row < rows; row++) {
        addSquares(x, offset + row * rowBytes, columns, sums, at);
      }
      return;
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment piece = arena.allocate(PIECE * Float.BYTES, Tensor.ALIGNMENT);
      for (int j = 0; j < columns; j += PIECE) {
        int n = Math.min(PIECE, columns - j);
        for (long row = 0; row < rows; row++) {
          long from = offset + row * rowBytes + (long) j * type.bytes();
          Conversions.toFloat(Tier.VECTOR, x, from, type, piece, 0, n);
          addSquares(piece, 0, n, sums, at + j);
        }
      }
    }
  }

  /** One row of F32. */
  private static void addSquares(MemorySegment xIn, long offset, int n, double[] sums, int at) {
    MemorySegment x = NativeViews.base(xIn);
    long from = NativeViews.at(xIn, offset, (long) n * Float.BYTES);
    int bound = D.loopBound(n);
    for (int j = 0; j < bound; j += DOUBLES) {
      DoubleVector value =
          (DoubleVector)
              FloatVector.fromMemorySegment(HALF, x, from + (long) j * Float.BYTES, LE)
                  .convertShape(VectorOperators.F2D, D, 0);
      value.fma(value, DoubleVector.fromArray(D, sums, at + j)).intoArray(sums, at + j);
    }
    for (int j = bound; j < n; j++) {
      double value = x.get(JAVA_FLOAT_UNALIGNED, from + (long) j * Float.BYTES);
      sums[at + j] += value * value;
    }
  }

  @Override
  public int addMagnitudes(
      MemorySegment g,
      long gOffset,
      DType type,
      float scale,
      int n,
      @Nullable MemorySegment l1,
      @Nullable MemorySegment l2,
      long sumOffset) {
    if (type == DType.F32) {
      return addPieces(g, gOffset, scale, n, l1, l2, sumOffset);
    }
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment piece = arena.allocate(PIECE * Float.BYTES, Tensor.ALIGNMENT);
      for (int i = 0; i < n; i += PIECE) {
        int length = Math.min(PIECE, n - i);
        long from = gOffset + (long) i * type.bytes();
        Conversions.toFloat(Tier.VECTOR, g, from, type, piece, 0, length);
        long at = sumOffset + (long) i * Float.BYTES;
        int bad = addPieces(piece, 0, scale, length, l1, l2, at);
        if (bad != ALL_FINITE) {
          return i + bad;
        }
      }
    }
    return ALL_FINITE;
  }

  /** F32; both sums of a piece are taken before the next is read from memory. */
  private static int addPieces(
      MemorySegment g,
      long gOffset,
      float scale,
      int n,
      @Nullable MemorySegment l1,
      @Nullable MemorySegment l2,
      long sumOffset) {
    int step = l1 == null || l2 == null ? n : PIECE;
    for (int i = 0; i < n; i += step) {
      int length = Math.min(step, n - i);
      long from = gOffset + (long) i * Float.BYTES;
      long at = sumOffset + (long) i * Float.BYTES;
      int largest = 0;
      if (l1 != null) {
        largest = addMagnitudes(g, from, scale, length, l1, at);
      }
      if (l2 != null) {
        largest = Math.max(largest, addSquares(g, from, scale, length, l2, at));
      }
      if (largest >= INFINITY_BITS) {
        return i + firstInfinite(length, l1, l2, at);
      }
    }
    return ALL_FINITE;
  }

  private static int firstInfinite(
      int n, @Nullable MemorySegment l1, @Nullable MemorySegment l2, long offset) {
    for (int i = 0; i < n; i++) {
      long at = offset + (long) i * Float.BYTES;
      if ((l1 != null && !Float.isFinite(l1.get(JAVA_FLOAT_UNALIGNED, at)))
          || (l2 != null && !Float.isFinite(l2.get(JAVA_FLOAT_UNALIGNED, at)))) {
        return i;
      }
    }
    throw new IllegalStateException("expected a sum that is not finite, found none");
  }

  /**
   * Returns the largest bits of a sum; sums are not negative, so their bits order like integers.
   */
  private static int addMagnitudes(
      MemorySegment gIn, long gOffset, float scale, int n, MemorySegment sumsIn, long sumOffset) {
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment sums = NativeViews.base(sumsIn);
    long from = NativeViews.at(gIn, gOffset, (long) n * Float.BYTES);
    long at = NativeViews.at(sumsIn, sumOffset, (long) n * Float.BYTES);
    IntVector largest = IntVector.zero(VectorCells.I);
    int bound = F.loopBound(n);
    for (int i = 0; i < bound; i += LANES) {
      long step = (long) i * Float.BYTES;
      FloatVector sum =
          magnitude(FloatVector.fromMemorySegment(F, g, from + step, LE).mul(scale))
              .add(FloatVector.fromMemorySegment(F, sums, at + step, LE));
      largest = largest.max(sum.reinterpretAsInts());
      sum.intoMemorySegment(sums, at + step, LE);
    }
    int most = largest(largest);
    for (int i = bound; i < n; i++) {
      long step = (long) i * Float.BYTES;
      float scaled = Math.abs(scale * g.get(JAVA_FLOAT_UNALIGNED, from + step));
      float sum = sums.get(JAVA_FLOAT_UNALIGNED, at + step) + scaled;
      sums.set(JAVA_FLOAT_UNALIGNED, at + step, sum);
      most = Math.max(most, Float.floatToRawIntBits(sum));
    }
    return most;
  }

  /** Returns the largest bits of a sum. */
  private static int addSquares(
      MemorySegment gIn, long gOffset, float scale, int n, MemorySegment sumsIn, long sumOffset) {
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment sums = NativeViews.base(sumsIn);
    long from = NativeViews.at(gIn, gOffset, (long) n * Float.BYTES);
    long at = NativeViews.at(sumsIn, sumOffset, (long) n * Float.BYTES);
    IntVector largest = IntVector.zero(VectorCells.I);
    int bound = F.loopBound(n);
    for (int i = 0; i < bound; i += LANES) {
      long step = (long) i * Float.BYTES;
      // Without its sign, so that a NaN orders above all numbers.
      FloatVector scaled =
          magnitude(FloatVector.fromMemorySegment(F, g, from + step, LE).mul(scale));
      FloatVector sum =
          scaled.mul(scaled).add(FloatVector.fromMemorySegment(F, sums, at + step, LE));
      largest = largest.max(sum.reinterpretAsInts());
      sum.intoMemorySegment(sums, at + step, LE);
    }
    int most = largest(largest);
    for (int i = bound; i < n; i++) {
      long step = (long) i * Float.BYTES;
      float scaled = Math.abs(scale * g.get(JAVA_FLOAT_UNALIGNED, from + step));
      float sum = sums.get(JAVA_FLOAT_UNALIGNED, at + step) + scaled * scaled;
      sums.set(JAVA_FLOAT_UNALIGNED, at + step, sum);
      most = Math.max(most, Float.floatToRawIntBits(sum));
    }
    return most;
  }

  // Not abs(), whose mask C2 reads from memory in every turn.
  private static FloatVector magnitude(FloatVector value) {
    return value.reinterpretAsInts().and(Integer.MAX_VALUE).reinterpretAsFloats();
  }

  private static int largest(IntVector largest) {
    return largest.compare(VectorOperators.GE, INFINITY_BITS).anyTrue() ? INFINITY_BITS : 0;
  }
}
