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

  /** {@link Method#RIA}: (|w| / columnSum + |w| / rowSum) c. */
  static long ria(
      MemorySegment wIn,
      long wOffset,
      MemorySegment cIn,
      long cOffset,
      MemorySegment sumsIn,
      long sumsOffset,
      float rowSum,
      int vectors,
      MemorySegment outIn,
      long outOffset) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment c = NativeViews.base(cIn);
    MemorySegment sums = NativeViews.base(sumsIn);
    MemorySegment out = NativeViews.base(outIn);
    long wAt = NativeViews.at(wIn, wOffset, bytes);
    long cAt = NativeViews.at(cIn, cOffset, bytes);
    long sumsAt = NativeViews.at(sumsIn, sumsOffset, bytes);
    long outAt = NativeViews.at(outIn, outOffset, bytes);
    IntVector largest = IntVector.zero(VectorCells.I);
    FloatVector ofRow = FloatVector.broadcast(VectorCells.F, rowSum);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector bits = magnitude(w, wAt + at);
      largest = largest.lanewise(UMAX, bits);
      FloatVector weight = bits.reinterpretAsFloats();
      weight
          .div(load(sums, sumsAt + at))
          .add(weight.div(ofRow))
          .mul(load(c, cAt + at))
          .intoMemorySegment(out, outAt + at, VectorCells.LE);
    }
    return VectorScores.finite(largest);
  }

  /** {@link Method#PRUNER_ZERO}: w^2 ((|g| - least) / range). */
  static long prunerZero(
      MemorySegment wIn,
      long wOffset,
      MemorySegment gIn,
      long gOffset,
      float least,
      float range,
      int vectors,
      MemorySegment outIn,
      long outOffset) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment out = NativeViews.base(outIn);
    long wAt = NativeViews.at(wIn, wOffset, bytes);
    long gAt = NativeViews.at(gIn, gOffset, bytes);
    long outAt = NativeViews.at(outIn, outOffset, bytes);
    IntVector largest = IntVector.zero(VectorCells.I);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector weightBits = magnitude(w, wAt + at);
      IntVector gradientBits = magnitude(g, gAt + at);
      largest = largest.lanewise(UMAX, weightBits).lanewise(UMAX, gradientBits);
      FloatVector weight = weightBits.reinterpretAsFloats();
      FloatVector share = gradientBits.reinterpretAsFloats().sub(least).div(range);
      orZero(weight.mul(weight).mul(share)).intoMemorySegment(out, outAt + at, VectorCells.LE);
    }
    return VectorScores.finite(largest);
  }

  /** {@link Method#WANDA_PLUS_PLUS}: (scale |g| + c) |w|. */
  static long wandaPlusPlus(
      MemorySegment wIn,
      long wOffset,
      MemorySegment gIn,
      long gOffset,
      MemorySegment cIn,
      long cOffset,
      float scale,
      int vectors,
      MemorySegment outIn,
      long outOffset) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment c = NativeViews.base(cIn);
    MemorySegment out = NativeViews.base(outIn);
    long wAt = NativeViews.at(wIn, wOffset, bytes);
    long gAt = NativeViews.at(gIn, gOffset, bytes);
    long cAt = NativeViews.at(cIn, cOffset, bytes);
    long outAt = NativeViews.at(outIn, outOffset, bytes);
    IntVector largest = IntVector.zero(VectorCells.I);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector weightBits = magnitude(w, wAt + at);
      IntVector gradientBits = magnitude(g, gAt + at);
      largest = largest.lanewise(UMAX, weightBits).lanewise(UMAX, gradientBits);
      FloatVector both = gradientBits.reinterpretAsFloats().mul(scale).add(load(c, cAt + at));
      orZero(both.mul(weightBits.reinterpretAsFloats()))
          .intoMemorySegment(out, outAt + at, VectorCells.LE);
    }
    return VectorScores.finite(largest);
  }

  /** Scores of weights that are zero become 0, all others at least 2^-149, the bits 1. */
  static void zerosFirst(
      MemorySegment wIn, long wOffset, int vectors, MemorySegment outIn, long outOffset) {
    long bytes = (long) vectors * VectorCells.BYTES;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment out = NativeViews.base(outIn);
    long wAt = NativeViews.at(wIn, wOffset, bytes);
    long outAt = NativeViews.at(outIn, outOffset, bytes);
    for (int i = 0, count = Math.min(vectors, VectorCells.MOST); i < count; i++) {
      long at = (long) i * VectorCells.BYTES;
      IntVector bits = magnitude(w, wAt + at);
      IntVector score = load(out, outAt + at).reinterpretAsInts().lanewise(MAX, 1);
      score.blend(0, bits.compare(EQ, 0)).intoMemorySegment(out, outAt + at, VectorCells.LE);
    }
  }

  /**
   * Adds |w| to sums in F64.
   *
   * @param first column of the first weight in the strip that the sums begin with
   * @param columns weights to add; this and {@code first} are multiples of the lanes of F32
   * @param mask selects the sums of vector i, those of vector {@code i & mask}: -1 for one sum for
   *     each column, or one less than a power of two
   */
  static void addMagnitudes(
      MemorySegment wIn,
      long wOffset,
      int first,
      int columns,
      MemorySegment sumsIn,
      long sumsOffset,
      int mask) {
    int vectors = Math.min(columns / WIDE_LANES, VectorCells.MOST);
    int skipped = first / WIDE_LANES;
    int written = mask < 0 ? skipped + vectors : mask + 1;
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment sums = NativeViews.base(sumsIn);
    long wAt = NativeViews.at(wIn, wOffset, (long) columns * Float.BYTES);
    long sumsAt = NativeViews.at(sumsIn, sumsOffset, (long) written * WIDE_LANES * Double.BYTES);
    for (int i = 0; i < vectors; i++) {
      long at = sumsAt + (long) (skipped + i & mask) * WIDE_LANES * Double.BYTES;
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
