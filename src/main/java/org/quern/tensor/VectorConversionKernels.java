package org.quern.tensor;

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

/**
 * The conversions on integer lanes: the Vector API has no half-precision type. C2 of JDK 25 does
 * not vectorise the scalar loops over two segments, for it cannot know that they do not overlap.
 * The tail is converted one element at a time, to the same bits.
 */
final class VectorConversionKernels implements ConversionKernels {
  static final VectorConversionKernels INSTANCE = new VectorConversionKernels();

  private static final VectorSpecies<Integer> INTS = IntVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Double> DOUBLES = DoubleVector.SPECIES_PREFERRED;

  /** Half as wide: as many shorts as there are ints, as many floats as there are doubles. */
  private static final VectorShape HALF = VectorShape.forBitSize(INTS.vectorBitSize() / 2);

  private static final VectorSpecies<Short> SHORTS = VectorSpecies.of(short.class, HALF);
  private static final VectorSpecies<Float> HALF_FLOATS = VectorSpecies.of(float.class, HALF);

  private static final int SIGN = 0x80000000;
  private static final int MAGNITUDE = 0x7fffffff;
  private static final int FLOAT_INFINITY = 0x7f800000;
  private static final int FLOAT_QUIET = 0x00400000;
  private static final int HALF_INFINITY = 0x7c00;
  private static final int HALF_NAN = 0x7e00;

  /** The exponents of binary32 and binary16 are 127 - 15 = 112 apart. */
  private static final int REBIAS = 112 << 23;

  /** Bits of 2<sup>-14</sup>, the smallest normal half. */
  private static final int MIN_NORMAL_HALF = 113 << 23;

  /** Bits of 0.5, whose last place 2<sup>-24</sup> is the smallest half. */
  private static final int ONE_HALF = 126 << 23;

  private VectorConversionKernels() {}

  @Override
  public void halfToFloat(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    int bound = INTS.loopBound(n);
    for (int i = 0; i < bound; i += INTS.length()) {
      IntVector half =
          (IntVector)
              ShortVector.fromMemorySegment(SHORTS, from, srcOffset + 2L * i, LITTLE_ENDIAN)
                  .convertShape(VectorOperators.S2I, INTS, 0);
      IntVector magnitude = half.and(0x7fff).lanewise(VectorOperators.LSHL, 13);
      VectorMask<Integer> special = magnitude.compare(VectorOperators.GE, HALF_INFINITY << 13);
      VectorMask<Integer> nan = magnitude.compare(VectorOperators.GT, HALF_INFINITY << 13);
      VectorMask<Integer> tiny = magnitude.compare(VectorOperators.LT, 1 << 23);
      // A subnormal half, put behind the leading one of 2^-14, is 2^-14 too large: the difference
      // is exact and never meets a subnormal float, which some CPUs handle a hundred times slower.
      IntVector subnormal =
          magnitude.add(MIN_NORMAL_HALF).reinterpretAsFloats().sub(0x1p-14f).reinterpretAsInts();
      IntVector bits =
          magnitude
              .add(REBIAS)
              .add(REBIAS, special)
              .lanewise(VectorOperators.OR, FLOAT_QUIET, nan)
              .blend(subnormal, tiny)
              .or(half.and(SIGN));
      bits.intoMemorySegment(to, dstOffset + 4L * i, LITTLE_ENDIAN);
    }
    for (int i = bound; i < n; i++) {
      float value = Elements.halfToFloat(from.get(Elements.I16, srcOffset + 2L * i));
      to.set(Elements.F32, dstOffset + 4L * i, value);
    }
  }

  @Override
  public void floatToHalf(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    int bound = INTS.loopBound(n);
    for (int i = 0; i < bound; i += INTS.length()) {
      IntVector bits = IntVector.fromMemorySegment(INTS, from, srcOffset + 4L * i, LITTLE_ENDIAN);
      IntVector magnitude = bits.and(MAGNITUDE);
      // Half a unit less one, plus the lowest kept bit: a tie rounds up only from an odd value. The
      // carry may run into the exponent; what passes the largest half is cut to infinity.
      IntVector lowestKept = magnitude.lanewise(VectorOperators.LSHR, 13).and(1);
      IntVector normal =
          magnitude
              .add(0xfff - REBIAS)
              .add(lowestKept)
              .lanewise(VectorOperators.LSHR, 13)
              .min(HALF_INFINITY);
      // Adding 0.5 makes the FPU round to a multiple of the smallest half, ties to even.
      IntVector subnormal =
          magnitude.reinterpretAsFloats().add(0.5f).reinterpretAsInts().sub(ONE_HALF);
      IntVector nan = magnitude.lanewise(VectorOperators.LSHR, 13).and(0x3ff).or(HALF_NAN);
      IntVector half =
          normal
              .blend(subnormal, magnitude.compare(VectorOperators.LT, MIN_NORMAL_HALF))
              .blend(nan, magnitude.compare(VectorOperators.GT, FLOAT_INFINITY))
              .or(bits.lanewise(VectorOperators.LSHR, 16).and(0x8000));
      ((ShortVector) half.convertShape(VectorOperators.I2S, SHORTS, 0))
          .intoMemorySegment(to, dstOffset + 2L * i, LITTLE_ENDIAN);
    }
    for (int i = bound; i < n; i++) {
      short half = Elements.floatToHalf(from.get(Elements.F32, srcOffset + 4L * i));
      to.set(Elements.I16, dstOffset + 2L * i, half);
    }
  }

  @Override
  public void bfloatToFloat(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    int bound = INTS.loopBound(n);
    for (int i = 0; i < bound; i += INTS.length()) {
      IntVector bits =
          (IntVector)
              ShortVector.fromMemorySegment(SHORTS, from, srcOffset + 2L * i, LITTLE_ENDIAN)
                  .convertShape(VectorOperators.S2I, INTS, 0)
                  .lanewise(VectorOperators.LSHL, 16);
      VectorMask<Integer> nan = bits.and(MAGNITUDE).compare(VectorOperators.GT, FLOAT_INFINITY);
      bits.lanewise(VectorOperators.OR, FLOAT_QUIET, nan)
          .intoMemorySegment(to, dstOffset + 4L * i, LITTLE_ENDIAN);
    }
    for (int i = bound; i < n; i++) {
      float value = Elements.bfloatToFloat(from.get(Elements.I16, srcOffset + 2L * i));
      to.set(Elements.F32, dstOffset + 4L * i, value);
    }
  }

  @Override
  public void floatToBfloat(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    int bound = INTS.loopBound(n);
    for (int i = 0; i < bound; i += INTS.length()) {
      IntVector bits = IntVector.fromMemorySegment(INTS, from, srcOffset + 4L * i, LITTLE_ENDIAN);
      IntVector lowestKept = bits.lanewise(VectorOperators.LSHR, 16).and(1);
      IntVector bfloat =
          bits.add(0x7fff)
              .add(lowestKept)
              .blend(
                  bits.or(FLOAT_QUIET),
                  bits.and(MAGNITUDE).compare(VectorOperators.GT, FLOAT_INFINITY))
              .lanewise(VectorOperators.LSHR, 16);
      ((ShortVector) bfloat.convertShape(VectorOperators.I2S, SHORTS, 0))
          .intoMemorySegment(to, dstOffset + 2L * i, LITTLE_ENDIAN);
    }
    for (int i = bound; i < n; i++) {
      short bfloat = Elements.floatToBfloat(from.get(Elements.F32, srcOffset + 4L * i));
      to.set(Elements.I16, dstOffset + 2L * i, bfloat);
    }
  }

  @Override
  public void doubleToFloat(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    int bound = DOUBLES.loopBound(n);
    for (int i = 0; i < bound; i += DOUBLES.length()) {
      ((FloatVector)
              DoubleVector.fromMemorySegment(DOUBLES, from, srcOffset + 8L * i, LITTLE_ENDIAN)
                  .convertShape(VectorOperators.D2F, HALF_FLOATS, 0))
          .intoMemorySegment(to, dstOffset + 4L * i, LITTLE_ENDIAN);
    }
    for (int i = bound; i < n; i++) {
      to.set(Elements.F32, dstOffset + 4L * i, (float) from.get(Elements.F64, srcOffset + 8L * i));
    }
  }

  @Override
  public void floatToDouble(
      MemorySegment src, long srcOffset, MemorySegment dst, long dstOffset, int n) {
    MemorySegment from = NativeViews.exact(src);
    MemorySegment to = NativeViews.exact(dst);
    int bound = DOUBLES.loopBound(n);
    for (int i = 0; i < bound; i += DOUBLES.length()) {
      ((DoubleVector)
              FloatVector.fromMemorySegment(HALF_FLOATS, from, srcOffset + 4L * i, LITTLE_ENDIAN)
                  .convertShape(VectorOperators.F2D, DOUBLES, 0))
          .intoMemorySegment(to, dstOffset + 8L * i, LITTLE_ENDIAN);
    }
    for (int i = bound; i < n; i++) {
      to.set(Elements.F64, dstOffset + 8L * i, from.get(Elements.F32, srcOffset + 4L * i));
    }
  }
}
