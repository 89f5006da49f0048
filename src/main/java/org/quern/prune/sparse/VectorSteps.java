package org.quern.prune.sparse;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;

/**
 * What the loops of the vector tier are made of: species, and loads of some columns of a row. All
 * methods are short, so that they are inlined wherever they are called and no vector becomes an
 * object. Memory is a base and offsets as {@link org.quern.runtime.NativeViews} gives them.
 */
final class VectorSteps {
  static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  static final int LANES = F.length();

  /** Bytes of a vector. */
  static final int VECTOR = LANES * Float.BYTES;

  /** Columns of four vectors. */
  static final int TURN = 4 * LANES;

  /**
   * More vectors than any row has: C2 folds the steps of a loop into addresses only where its index
   * provably cannot overflow.
   */
  static final int MOST = 1 << 22;

  /** More turns than any row has. */
  static final int MOST_TURNS = 1 << 22;

  static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;

  /** The bits of an address that a program on a 64-bit system has. */
  private static final long ADDRESS = (1L << 56) - 1;

  /** An int as it stands in the lower half of a long, without its sign. */
  private static final long UNSIGNED = 0xffffffffL;

  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(LE);
  private static final ValueLayout.OfShort SHORT = ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(LE);
  private static final ValueLayout.OfByte BYTE = ValueLayout.JAVA_BYTE;

  private static final VectorSpecies<Integer> I = IntVector.SPECIES_PREFERRED;

  /** Twice as many 16-bit lanes as F has lanes. */
  private static final VectorSpecies<Short> PAIRS = ShortVector.SPECIES_PREFERRED;

  /** As many 16-bit lanes as F has lanes. */
  private static final VectorSpecies<Short> SHORTS =
      VectorSpecies.of(short.class, VectorShape.forBitSize(F.vectorBitSize() / 2));

  /** The sign and the bits of an F16 where those of an F32 are. */
  private static final int HALF_BITS = 0x8fffe000;

  private static final int HALF_SHIFT = 3;

  /** The exponents of F32 and F16 are 127 - 15 apart. Exact, subnormal numbers included. */
  private static final float HALF_SCALE = 0x1p112f;

  private static final int UPPER = 0xffff0000;

  private VectorSteps() {}

  /**
   * Checks that an offset is what {@link #known} takes.
   *
   * @throws IllegalStateException where it has more bits
   */
  static long check(long at) {
    if (at >>> 56 != 0) {
      throw new IllegalStateException("address: expected one of 56 bits, got " + at);
    }
    return at;
  }

  /**
   * A checked offset as it is, of which the compiler now knows the range: the checks of accesses a
   * few bytes from it fold away.
   */
  static long known(long at) {
    return at & ADDRESS;
  }

  /** Bits of the mask of vector {@code i} of a row. */
  static int bits(MemorySegment mask, long maskAt, int i) {
    return switch (LANES) {
      case 16 -> mask.get(SHORT, maskAt + 2L * i) & 0xffff;
      case 8 -> mask.get(BYTE, maskAt + i) & 0xff;
      default -> mask.get(BYTE, maskAt + (i >> 1)) >> 4 * (i & 1) & 0xf;
    };
  }

  /** Bits of the mask of vectors {@code 2i} and {@code 2i + 1} of a row. */
  static int pairBits(MemorySegment mask, long maskAt, int i) {
    return switch (LANES) {
      case 16 -> mask.get(INT, maskAt + 4L * i);
      case 8 -> mask.get(SHORT, maskAt + 2L * i) & 0xffff;
      default -> mask.get(BYTE, maskAt + i) & 0xff;
    };
  }

  /** The bits of the first {@code count} columns, fewer than 32. */
  static int first(int count) {
    return (1 << count) - 1;
  }

  /** Columns of F32. */
  static FloatVector load(MemorySegment base, long at) {
    return FloatVector.fromMemorySegment(F, base, at, LE);
  }

  /** Columns {@code j} on of F32, those from {@code n} on zero and not read. */
  static FloatVector load(MemorySegment base, long at, int j, int n) {
    return FloatVector.fromMemorySegment(F, base, at, LE, F.indexInRange(j, n));
  }

  /** The values at {@code at + p}, spread over the columns whose bits are set, zero elsewhere. */
  static FloatVector expand(MemorySegment base, long at, int p, int bits) {
    return load(base, at + (p & UNSIGNED)).expand(VectorMask.fromLong(F, bits));
  }

  /** Columns of 16 bits, each sign-extended to a lane of 32. */
  static IntVector loadShorts(MemorySegment base, long at) {
    return (IntVector)
        ShortVector.fromMemorySegment(SHORTS, base, at, LE).convertShape(VectorOperators.S2I, I, 0);
  }

  /** Columns {@code j} on of 16 bits, those from {@code n} on zero and not read. */
  static IntVector loadShorts(MemorySegment base, long at, int j, int n) {
    VectorMask<Short> valid = SHORTS.indexInRange(j, n);
    return (IntVector)
        ShortVector.fromMemorySegment(SHORTS, base, at, LE, valid)
            .convertShape(VectorOperators.S2I, I, 0);
  }

  /** Values of 16 bits, spread as {@link #expand} does, each in a lane of 32. */
  static IntVector expandShorts(MemorySegment base, long at, int p, int bits) {
    return loadShorts(base, at + (p & UNSIGNED)).expand(VectorMask.fromLong(I, bits));
  }

  /** Columns of 16 bits, an even one in the lower and an odd one in the upper half of a lane. */
  static IntVector loadPairs(MemorySegment base, long at) {
    return ShortVector.fromMemorySegment(PAIRS, base, at, LE).reinterpretAsInts();
  }

  /** Columns {@code j} on, those from {@code n} on zero and not read. */
  static IntVector loadPairs(MemorySegment base, long at, int j, int n) {
    return ShortVector.fromMemorySegment(PAIRS, base, at, LE, PAIRS.indexInRange(j, n))
        .reinterpretAsInts();
  }

  /** Values of 16 bits, spread over pairs. */
  static IntVector expandPairs(MemorySegment base, long at, int p, int bits) {
    return shorts(base, at + (p & UNSIGNED)).expand(pairMask(bits)).reinterpretAsInts();
  }

  private static ShortVector shorts(MemorySegment base, long at) {
    return ShortVector.fromMemorySegment(PAIRS, base, at, LE);
  }

  private static VectorMask<Short> pairMask(int bits) {
    return VectorMask.fromLong(PAIRS, bits & UNSIGNED);
  }

  /** The F32 of a BF16 in the lower half of each lane. */
  static FloatVector lowerBfloat(IntVector pairs) {
    return pairs.lanewise(VectorOperators.LSHL, Short.SIZE).reinterpretAsFloats();
  }

  /** The F32 of a BF16 in the upper half of each lane. */
  static FloatVector upperBfloat(IntVector pairs) {
    return pairs.and(UPPER).reinterpretAsFloats();
  }

  /** The F32 of a finite F16 in the lower half of each lane. */
  static FloatVector lowerHalf(IntVector pairs) {
    return upperHalf(pairs.lanewise(VectorOperators.LSHL, Short.SIZE));
  }

  /** The F32 of a finite F16 in the upper half of each lane. */
  static FloatVector upperHalf(IntVector pairs) {
    return pairs
        .lanewise(VectorOperators.ASHR, HALF_SHIFT)
        .and(HALF_BITS)
        .reinterpretAsFloats()
        .mul(HALF_SCALE);
  }
}
