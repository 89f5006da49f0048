package org.quern.prune;

import static jdk.incubator.vector.VectorOperators.EQ;
import static jdk.incubator.vector.VectorOperators.F2D;
import static jdk.incubator.vector.VectorOperators.MAX;
import static jdk.incubator.vector.VectorOperators.MIN;
import static jdk.incubator.vector.VectorOperators.NE;
import static jdk.incubator.vector.VectorOperators.UMAX;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;

/**
 * Scores that are not a sum of products, written for a strip of columns at a time: few enough that
 * the pass which compares them reads them from the first-level cache, so that no score reaches
 * memory. And what these scores take from the whole matrix.
 *
 * <p>The operations are those of {@link ScalarPruneKernels} in the same order; divisions and square
 * roots are exact to the last bit on every machine. All strips are whole vectors of F32; {@link
 * VectorScores#NOT_FINITE} is returned where an operand is not finite, else 0.
 */
final class VectorFormulas {
  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;

  /** As many F32 lanes as D has. */
  private static final VectorSpecies<Float> HALF =
      VectorSpecies.of(float.class, VectorShape.forBitSize(D.vectorBitSize() / 2));

  private static final int WIDE_LANES = D.length();

  private VectorFormulas() {}

  // Small enough to be inlined always: a vector never leaves compiled code.

  private static FloatVector load(MemorySegment memory, long at) {
    return FloatVector.fromMemorySegment(VectorCells.F, memory, at, VectorCells.LE);
  }

  private static IntVector magnitude(MemorySegment memory, long at) {
    return load(memory, at).reinterpretAsInts().and(Integer.MAX_VALUE);
  }

  /** 0 for NaN, which among finite factors is a product of 0 and an overflow. */
  private static FloatVector orZero(FloatVector product) {
    return product.blend(0f, product.compare(NE, product));
  }

  /**
   * {@link Method#RIA}: (|w| / columnSum + |w| / rowSum) c.
   *
   * @param wOffset where the strips of w, of c and of the scores are in scratch
   */
  static long ria(
      MemorySegment scratchIn,
      long wOffset,
      long cOffset,
      MemorySegment sumsIn,
      long sumsOffset,
      float rowSum,
      int vectors,
      long outOffset) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment scratch = NativeViews.base(scratchIn);
    MemorySegment sums = NativeViews.base(sumsIn);
    long wAt = NativeViews.at(scratchIn, wOffset, bytes);
    long cAt = NativeViews.at(scratchIn, cOffset, bytes);
    long outAt = NativeViews.at(scratchIn, outOffset, bytes);
    long sumsAt = NativeViews.at(sumsIn, sumsOffset, bytes);
    IntVector largest = IntVector.zero(VectorCells.I);
    FloatVector ofRow = FloatVector.broadcast(VectorCells.F, rowSum);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector bits = magnitude(scratch, wAt + at);
      largest = largest.lanewise(UMAX, bits);
      FloatVector w = bits.reinterpretAsFloats();
      w.div(load(sums, sumsAt + at))
          .add(w.div(ofRow))
          .mul(load(scratch, cAt + at))
          .intoMemorySegment(scratch, outAt + at, VectorCells.LE);
    }
    return VectorScores.finite(largest);
  }

  /** {@link Method#PRUNER_ZERO}: w^2 ((|g| - least) / range). */
  static long prunerZero(
      MemorySegment scratchIn,
      long wOffset,
      long gOffset,
      float least,
      float range,
      int vectors,
      long outOffset) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment scratch = NativeViews.base(scratchIn);
    long wAt = NativeViews.at(scratchIn, wOffset, bytes);
    long gAt = NativeViews.at(scratchIn, gOffset, bytes);
    long outAt = NativeViews.at(scratchIn, outOffset, bytes);
    IntVector largest = IntVector.zero(VectorCells.I);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector w = magnitude(scratch, wAt + at);
      IntVector g = magnitude(scratch, gAt + at);
      largest = largest.lanewise(UMAX, w).lanewise(UMAX, g);
      FloatVector weight = w.reinterpretAsFloats();
      FloatVector share = g.reinterpretAsFloats().sub(least).div(range);
      orZero(weight.mul(weight).mul(share)).intoMemorySegment(scratch, outAt + at, VectorCells.LE);
    }
    return VectorScores.finite(largest);
  }

  /** {@link Method#WANDA_PLUS_PLUS}: (scale |g| + c) |w|. */
  static long wandaPlusPlus(
      MemorySegment scratchIn,
      long wOffset,
      long gOffset,
      long cOffset,
      float scale,
      int vectors,
      long outOffset) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment scratch = NativeViews.base(scratchIn);
    long wAt = NativeViews.at(scratchIn, wOffset, bytes);
    long gAt = NativeViews.at(scratchIn, gOffset, bytes);
    long cAt = NativeViews.at(scratchIn, cOffset, bytes);
    long outAt = NativeViews.at(scratchIn, outOffset, bytes);
    IntVector largest = IntVector.zero(VectorCells.I);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector w = magnitude(scratch, wAt + at);
      IntVector g = magnitude(scratch, gAt + at);
      largest = largest.lanewise(UMAX, w).lanewise(UMAX, g);
      FloatVector both = g.reinterpretAsFloats().mul(scale).add(load(scratch, cAt + at));
      orZero(both.mul(w.reinterpretAsFloats()))
          .intoMemorySegment(scratch, outAt + at, VectorCells.LE);
    }
    return VectorScores.finite(largest);
  }

  /** Scores of weights that are zero become 0, all others at least 2^-149, the bits 1. */
  static void zerosFirst(MemorySegment scratchIn, long wOffset, int vectors, long outOffset) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment scratch = NativeViews.base(scratchIn);
    long wAt = NativeViews.at(scratchIn, wOffset, bytes);
    long outAt = NativeViews.at(scratchIn, outOffset, bytes);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector w = magnitude(scratch, wAt + at);
      IntVector score = load(scratch, outAt + at).reinterpretAsInts().lanewise(MAX, 1);
      score.blend(0, w.compare(EQ, 0)).intoMemorySegment(scratch, outAt + at, VectorCells.LE);
    }
  }

  /**
   * Adds |w| to sums in F64.
   *
   * @param columns a multiple of the lanes of F32
   * @param mask selects the sums of vector i, those of vector {@code i & mask}: -1 for one sum for
   *     each column, or one less than a power of two
   * @param sumsOffset where the sums begin
   */
  static void addMagnitudes(
      MemorySegment wIn,
      long wOffset,
      int columns,
      MemorySegment sumsIn,
      long sumsOffset,
      int mask) {
    int vectors = Math.min(columns / WIDE_LANES, VectorCells.MOST);
    int written = mask < 0 ? vectors : mask + 1;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment sums = NativeViews.base(sumsIn);
    long wAt = NativeViews.at(wIn, wOffset, (long) columns * Float.BYTES);
    long sumsAt = NativeViews.at(sumsIn, sumsOffset, (long) written * WIDE_LANES * Double.BYTES);
    for (int i = 0; i < vectors; i++) {
      long at = sumsAt + (long) (i & mask) * WIDE_LANES * Double.BYTES;
      widened(w, wAt + (long) i * WIDE_LANES * Float.BYTES)
          .abs()
          .add(DoubleVector.fromMemorySegment(D, sums, at, VectorCells.LE))
          .intoMemorySegment(sums, at, VectorCells.LE);
    }
  }

  private static DoubleVector widened(MemorySegment memory, long at) {
    FloatVector narrow = FloatVector.fromMemorySegment(HALF, memory, at, VectorCells.LE);
    return (DoubleVector) narrow.convertShape(F2D, D, 0);
  }

  /** The mask of {@link #addMagnitudes} for so many sums, a power of two. */
  static int maskOf(int sums) {
    return sums / WIDE_LANES - 1;
  }

  /** The smallest |g| in bits 0 to 31 and the largest in bits 32 to 63, as the bits of F32. */
  static long range(MemorySegment gIn, long gOffset, int vectors) {
    MemorySegment g = NativeViews.base(gIn);
    long gAt = NativeViews.at(gIn, gOffset, (long) vectors * VectorCells.BYTES);
    IntVector least = IntVector.broadcast(VectorCells.I, Integer.MAX_VALUE);
    IntVector most = IntVector.zero(VectorCells.I);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      IntVector bits = magnitude(g, gAt + (long) i * VectorCells.BYTES);
      least = least.lanewise(MIN, bits);
      most = most.lanewise(MAX, bits);
    }
    return (long) most.reduceLanes(MAX) << Integer.SIZE | least.reduceLanes(MIN);
  }
}
