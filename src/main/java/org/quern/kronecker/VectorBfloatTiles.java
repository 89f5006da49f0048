package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static org.quern.kronecker.VectorSymmetricKernels.BYTES;
import static org.quern.kronecker.VectorSymmetricKernels.F;
import static org.quern.kronecker.VectorSymmetricKernels.ORDER;

import java.lang.foreign.MemorySegment;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.ShortVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShape;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;

/**
 * Panels of four vectors of a tile of BF16, which is read, widened, rounded to nearest, ties to
 * even, and multiplied without a copy in floats. A NaN stays one as long as the lower half of its
 * bits is zero, as it is in those that arithmetic makes.
 */
final class VectorBfloatTiles {
  private static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, F.vectorShape());
  private static final VectorSpecies<Short> S =
      VectorSpecies.of(short.class, VectorShape.forBitSize(F.vectorBitSize() / 2));

  /** Bytes of one vector in memory. */
  private static final long NARROW = BYTES / 2;

  private static final int UPPER = 0xffff0000;

  private VectorBfloatTiles() {}

  private static IntVector widened(MemorySegment t, long at) {
    return (IntVector)
        ShortVector.fromMemorySegment(S, t, at, ORDER).convertShape(VectorOperators.S2I, I, 0);
  }

  /** {@link SymmetricKernels#multiply} of one panel; {@code stride} in bytes. */
  static void multiply(
      MemorySegment matrix,
      long tile,
      long stride,
      MemorySegment work,
      long rows,
      long columns,
      long sums,
      long partials) {
    MemorySegment t = NativeViews.base(matrix);
    MemorySegment m = NativeViews.base(work);
    FloatVector v0 = FloatVector.fromMemorySegment(F, m, columns, ORDER);
    FloatVector v1 = FloatVector.fromMemorySegment(F, m, columns + BYTES, ORDER);
    FloatVector v2 = FloatVector.fromMemorySegment(F, m, columns + 2 * BYTES, ORDER);
    FloatVector v3 = FloatVector.fromMemorySegment(F, m, columns + 3 * BYTES, ORDER);
    FloatVector s0 = FloatVector.fromMemorySegment(F, m, sums, ORDER);
    FloatVector s1 = FloatVector.fromMemorySegment(F, m, sums + BYTES, ORDER);
    FloatVector s2 = FloatVector.fromMemorySegment(F, m, sums + 2 * BYTES, ORDER);
    FloatVector s3 = FloatVector.fromMemorySegment(F, m, sums + 3 * BYTES, ORDER);
    for (int r = 0; r < SymmetricKernels.TILE; r++) {
      long at = tile + r * stride;
      long partial = partials + BYTES * r;
      FloatVector w =
          FloatVector.broadcast(F, m.get(JAVA_FLOAT_UNALIGNED, rows + (long) Float.BYTES * r));
      FloatVector sum = FloatVector.fromMemorySegment(F, m, partial, ORDER);
      FloatVector t0 = widened(t, at).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
      FloatVector t1 =
          widened(t, at + NARROW).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
      FloatVector t2 =
          widened(t, at + 2 * NARROW).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
      FloatVector t3 =
          widened(t, at + 3 * NARROW).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
      s0 = t0.fma(w, s0);
      s1 = t1.fma(w, s1);
      s2 = t2.fma(w, s2);
      s3 = t3.fma(w, s3);
      sum = t0.fma(v0, sum);
      sum = t1.fma(v1, sum);
      sum = t2.fma(v2, sum);
      sum = t3.fma(v3, sum);
      sum.intoMemorySegment(m, partial, ORDER);
    }
    s0.intoMemorySegment(m, sums, ORDER);
    s1.intoMemorySegment(m, sums + BYTES, ORDER);
    s2.intoMemorySegment(m, sums + 2 * BYTES, ORDER);
    s3.intoMemorySegment(m, sums + 3 * BYTES, ORDER);
  }

  /**
   * {@link SymmetricKernels#addAndMultiply} of half a panel, for a whole one is more than C2 takes;
   * {@code stride} in bytes.
   */
  static void addAndMultiply(
      MemorySegment matrix,
      long tile,
      long stride,
      MemorySegment work,
      long signed,
      long plain,
      long rows,
      long columns,
      long sums,
      long partials) {
    MemorySegment t = NativeViews.base(matrix);
    MemorySegment m = NativeViews.base(work);
    FloatVector z0 = FloatVector.fromMemorySegment(F, m, plain, ORDER);
    FloatVector z1 = FloatVector.fromMemorySegment(F, m, plain + BYTES, ORDER);
    FloatVector v0 = FloatVector.fromMemorySegment(F, m, columns, ORDER);
    FloatVector v1 = FloatVector.fromMemorySegment(F, m, columns + BYTES, ORDER);
    FloatVector s0 = FloatVector.fromMemorySegment(F, m, sums, ORDER);
    FloatVector s1 = FloatVector.fromMemorySegment(F, m, sums + BYTES, ORDER);
    for (int r = 0; r < SymmetricKernels.TILE; r++) {
      long at = tile + r * stride;
      long element = (long) Float.BYTES * r;
      long partial = partials + BYTES * r;
      FloatVector x = FloatVector.broadcast(F, m.get(JAVA_FLOAT_UNALIGNED, signed + element));
      FloatVector w = FloatVector.broadcast(F, m.get(JAVA_FLOAT_UNALIGNED, rows + element));
      FloatVector t0 = widened(t, at).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
      FloatVector t1 =
          widened(t, at + NARROW).lanewise(VectorOperators.LSHL, 16).reinterpretAsFloats();
      IntVector b0 = x.fma(z0, t0).reinterpretAsInts();
      IntVector b1 = x.fma(z1, t1).reinterpretAsInts();
      // Half a unit less one, plus the lowest kept bit: a tie rounds up only from an odd value.
      b0 = b0.add(b0.lanewise(VectorOperators.LSHR, 16).and(1)).add(0x7fff);
      b1 = b1.add(b1.lanewise(VectorOperators.LSHR, 16).and(1)).add(0x7fff);
      ((ShortVector) b0.lanewise(VectorOperators.LSHR, 16).convertShape(VectorOperators.I2S, S, 0))
          .intoMemorySegment(t, at, ORDER);
      ((ShortVector) b1.lanewise(VectorOperators.LSHR, 16).convertShape(VectorOperators.I2S, S, 0))
          .intoMemorySegment(t, at + NARROW, ORDER);
      t0 = b0.and(UPPER).reinterpretAsFloats();
      t1 = b1.and(UPPER).reinterpretAsFloats();
      s0 = t0.fma(w, s0);
      s1 = t1.fma(w, s1);
      FloatVector sum = FloatVector.fromMemorySegment(F, m, partial, ORDER);
      t1.fma(v1, t0.fma(v0, sum)).intoMemorySegment(m, partial, ORDER);
    }
    s0.intoMemorySegment(m, sums, ORDER);
    s1.intoMemorySegment(m, sums + BYTES, ORDER);
  }
}
