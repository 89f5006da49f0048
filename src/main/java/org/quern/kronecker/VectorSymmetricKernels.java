package org.quern.kronecker;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorShuffle;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.vector.VectorLanes;
import org.quern.tensor.DType;

/**
 * The tile on the Vector API, in panels of four vectors: the columns' parts of z, of v and of the
 * sums stay in registers while the rows go by, and a row's partial sum stays a whole vector in the
 * first-level cache. All sums over columns are chains of fused multiply-adds.
 */
final class VectorSymmetricKernels implements SymmetricKernels {
  static final VectorSymmetricKernels INSTANCE = new VectorSymmetricKernels();

  /** At most 512 bits: four vectors must fit a tile. */
  static final VectorSpecies<Float> F =
      FloatVector.SPECIES_PREFERRED.vectorBitSize() > 512
          ? FloatVector.SPECIES_512
          : FloatVector.SPECIES_PREFERRED;

  private static final VectorSpecies<Integer> I = VectorSpecies.of(int.class, F.vectorShape());
  private static final VectorSpecies<Float> QUARTET = FloatVector.SPECIES_128;

  private static final int LANES = F.length();

  private static final VectorShuffle<Float> NEIGHBOURS = VectorShuffle.fromOp(F, i -> i ^ 1);
  private static final VectorShuffle<Float> PAIRS = VectorShuffle.fromOp(F, i -> i ^ 2);
  private static final VectorMask<Float> SECOND = everyFourth(1);
  private static final VectorMask<Float> THIRD = everyFourth(2);
  private static final VectorMask<Float> FOURTH = everyFourth(3);

  /** From lane k of group g to lane k G + g, where G is the number of groups. */
  private static final VectorShuffle<Float> IN_ORDER =
      VectorShuffle.fromOp(F, i -> 4 * (i % (LANES / 4)) + i / (LANES / 4));

  private static final int PANEL = 4 * LANES;
  static final long BYTES = F.vectorByteSize();
  static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;

  /** Vectors are shorter than this, which spares the loops their checks. */
  private static final int MOST = 1 << 24;

  private VectorSymmetricKernels() {}

  private static VectorMask<Float> everyFourth(int first) {
    return VectorMask.fromLong(F, 0x1111_1111_1111_1111L << first);
  }

  @Override
  public int sumBytes() {
    return Float.BYTES;
  }

  @Override
  public int partialBytes() {
    return F.vectorByteSize();
  }

  @Override
  public boolean takes(DType type) {
    return type == DType.F32 || type == DType.BF16;
  }

  @Override
  public void update(
      MemorySegment matrix,
      long tile,
      long stride,
      long step,
      int count,
      double p,
      int terms,
      MemorySegment work,
      long signed,
      long plain,
      long termStride) {
    for (int panel = 0; panel < count * TILE; panel += PANEL) {
      long shift = (long) Float.BYTES * panel;
      long at = tile + Float.BYTES * (panel / TILE * step + panel % TILE);
      updatePanel(
          matrix,
          at,
          stride * Float.BYTES,
          (float) p,
          terms,
          work,
          signed,
          plain + shift,
          termStride);
    }
  }

  /** Two rows at a time, for which a term's part of the columns is read once. */
  private static void updatePanel(
      MemorySegment matrix,
      long tile,
      long stride,
      float p,
      int terms,
      MemorySegment work,
      long signed,
      long plain,
      long termStride) {
    MemorySegment t = NativeViews.base(matrix);
    MemorySegment m = NativeViews.base(work);
    FloatVector factor = FloatVector.broadcast(F, p);
    for (int r = 0; r < TILE; r += 2) {
      long upper = tile + r * stride;
      long lower = upper + stride;
      FloatVector a0 = FloatVector.fromMemorySegment(F, t, upper, ORDER).mul(factor);
      FloatVector a1 = FloatVector.fromMemorySegment(F, t, upper + BYTES, ORDER).mul(factor);
      FloatVector a2 = FloatVector.fromMemorySegment(F, t, upper + 2 * BYTES, ORDER).mul(factor);
      FloatVector a3 = FloatVector.fromMemorySegment(F, t, upper + 3 * BYTES, ORDER).mul(factor);
      FloatVector b0 = FloatVector.fromMemorySegment(F, t, lower, ORDER).mul(factor);
      FloatVector b1 = FloatVector.fromMemorySegment(F, t, lower + BYTES, ORDER).mul(factor);
      FloatVector b2 = FloatVector.fromMemorySegment(F, t, lower + 2 * BYTES, ORDER).mul(factor);
      FloatVector b3 = FloatVector.fromMemorySegment(F, t, lower + 3 * BYTES, ORDER).mul(factor);
      for (int term = 0; term < terms; term++) {
        long zs = signed + term * termStride + (long) Float.BYTES * r;
        long z = plain + term * termStride;
        FloatVector x = FloatVector.broadcast(F, m.get(JAVA_FLOAT_UNALIGNED, zs));
        FloatVector y = FloatVector.broadcast(F, m.get(JAVA_FLOAT_UNALIGNED, zs + Float.BYTES));
        FloatVector z0 = FloatVector.fromMemorySegment(F, m, z, ORDER);
        FloatVector z1 = FloatVector.fromMemorySegment(F, m, z + BYTES, ORDER);
        FloatVector z2 = FloatVector.fromMemorySegment(F, m, z + 2 * BYTES, ORDER);
        FloatVector z3 = FloatVector.fromMemorySegment(F, m, z + 3 * BYTES, ORDER);
        a0 = x.fma(z0, a0);
        a1 = x.fma(z1, a1);
        a2 = x.fma(z2, a2);
        a3 = x.fma(z3, a3);
        b0 = y.fma(z0, b0);
        b1 = y.fma(z1, b1);
        b2 = y.fma(z2, b2);
        b3 = y.fma(z3, b3);
      }
      a0.intoMemorySegment(t, upper, ORDER);
      a1.intoMemorySegment(t, upper + BYTES, ORDER);
      a2.intoMemorySegment(t, upper + 2 * BYTES, ORDER);
      a3.intoMemorySegment(t, upper + 3 * BYTES, ORDER);
      b0.intoMemorySegment(t, lower, ORDER);
      b1.intoMemorySegment(t, lower + BYTES, ORDER);
      b2.intoMemorySegment(t, lower + 2 * BYTES, ORDER);
      b3.intoMemorySegment(t, lower + 3 * BYTES, ORDER);
    }
  }

  @Override
  public void multiply(
      DType type,
      MemorySegment matrix,
      long tile,
      long stride,
      long step,
      int count,
      MemorySegment work,
      long rows,
      long columns,
      long sums,
      long partials) {
    for (int panel = 0; panel < count * TILE; panel += PANEL) {
      long shift = (long) Float.BYTES * panel;
      long at = tile + type.bytes() * (panel / TILE * step + panel % TILE);
      long bytes = stride * type.bytes();
      if (type == DType.BF16) {
        VectorBfloatTiles.multiply(
            matrix, at, bytes, work, rows, columns + shift, sums + shift, partials);
      } else {
        multiplyPanel(matrix, at, bytes, work, rows, columns + shift, sums + shift, partials);
      }
    }
  }

  private static void multiplyPanel(
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
    for (int r = 0; r < TILE; r++) {
      long at = tile + r * stride;
      long partial = partials + BYTES * r;
      FloatVector w =
          FloatVector.broadcast(F, m.get(JAVA_FLOAT_UNALIGNED, rows + (long) Float.BYTES * r));
      FloatVector sum = FloatVector.fromMemorySegment(F, m, partial, ORDER);
      FloatVector t0 = FloatVector.fromMemorySegment(F, t, at, ORDER);
      FloatVector t1 = FloatVector.fromMemorySegment(F, t, at + BYTES, ORDER);
      FloatVector t2 = FloatVector.fromMemorySegment(F, t, at + 2 * BYTES, ORDER);
      FloatVector t3 = FloatVector.fromMemorySegment(F, t, at + 3 * BYTES, ORDER);
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

  @Override
  public void addAndMultiply(
      DType type,
      MemorySegment matrix,
      long tile,
      long stride,
      long step,
      int count,
      MemorySegment work,
      long signed,
      long plain,
      long rows,
      long columns,
      long sums,
      long partials) {
    int columnsPerPanel = type == DType.BF16 ? PANEL / 2 : PANEL;
    for (int panel = 0; panel < count * TILE; panel += columnsPerPanel) {
      long shift = (long) Float.BYTES * panel;
      long at = tile + type.bytes() * (panel / TILE * step + panel % TILE);
      long bytes = stride * type.bytes();
      long z = plain + shift;
      long v = columns + shift;
      if (type == DType.BF16) {
        VectorBfloatTiles.addAndMultiply(
            matrix, at, bytes, work, signed, z, rows, v, sums + shift, partials);
      } else {
        fusedPanel(matrix, at, bytes, work, signed, z, rows, v, sums + shift, partials);
      }
    }
  }

  private static void fusedPanel(
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
    FloatVector z2 = FloatVector.fromMemorySegment(F, m, plain + 2 * BYTES, ORDER);
    FloatVector z3 = FloatVector.fromMemorySegment(F, m, plain + 3 * BYTES, ORDER);
    FloatVector v0 = FloatVector.fromMemorySegment(F, m, columns, ORDER);
    FloatVector v1 = FloatVector.fromMemorySegment(F, m, columns + BYTES, ORDER);
    FloatVector v2 = FloatVector.fromMemorySegment(F, m, columns + 2 * BYTES, ORDER);
    FloatVector v3 = FloatVector.fromMemorySegment(F, m, columns + 3 * BYTES, ORDER);
    FloatVector s0 = FloatVector.fromMemorySegment(F, m, sums, ORDER);
    FloatVector s1 = FloatVector.fromMemorySegment(F, m, sums + BYTES, ORDER);
    FloatVector s2 = FloatVector.fromMemorySegment(F, m, sums + 2 * BYTES, ORDER);
    FloatVector s3 = FloatVector.fromMemorySegment(F, m, sums + 3 * BYTES, ORDER);
    for (int r = 0; r < TILE; r++) {
      long at = tile + r * stride;
      long element = (long) Float.BYTES * r;
      long partial = partials + BYTES * r;
      FloatVector x = FloatVector.broadcast(F, m.get(JAVA_FLOAT_UNALIGNED, signed + element));
      FloatVector w = FloatVector.broadcast(F, m.get(JAVA_FLOAT_UNALIGNED, rows + element));
      FloatVector sum = FloatVector.fromMemorySegment(F, m, partial, ORDER);
      FloatVector t0 = FloatVector.fromMemorySegment(F, t, at, ORDER);
      FloatVector t1 = FloatVector.fromMemorySegment(F, t, at + BYTES, ORDER);
      FloatVector t2 = FloatVector.fromMemorySegment(F, t, at + 2 * BYTES, ORDER);
      FloatVector t3 = FloatVector.fromMemorySegment(F, t, at + 3 * BYTES, ORDER);
      t0 = x.fma(z0, t0);
      t1 = x.fma(z1, t1);
      t2 = x.fma(z2, t2);
      t3 = x.fma(z3, t3);
      t0.intoMemorySegment(t, at, ORDER);
      t1.intoMemorySegment(t, at + BYTES, ORDER);
      t2.intoMemorySegment(t, at + 2 * BYTES, ORDER);
      t3.intoMemorySegment(t, at + 3 * BYTES, ORDER);
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
   * Adds the quarters of every row, then the four lanes that are left: of as many rows as there are
   * lanes at a time, four to a vector, each of which its shuffled sums put into a lane of its own.
   */
  @Override
  public void fold(MemorySegment work, long partials, long sums) {
    MemorySegment m = NativeViews.base(work);
    for (int r = 0; r < TILE; r++) {
      long at = partials + BYTES * r;
      FloatVector sum = FloatVector.fromMemorySegment(QUARTET, m, at, ORDER);
      for (int i = 4; i < LANES; i += 4) {
        long next = at + (long) Float.BYTES * i;
        sum = sum.add(FloatVector.fromMemorySegment(QUARTET, m, next, ORDER));
      }
      // Behind all rows that are still to be read.
      sum.intoMemorySegment(m, partials + QUARTET.vectorByteSize() * (long) r, ORDER);
    }
    for (int r = 0; r < TILE; r += LANES) {
      long at = partials + QUARTET.vectorByteSize() * (long) r;
      FloatVector sum =
          quartets(m, at)
              .blend(quartets(m, at + BYTES), SECOND)
              .blend(quartets(m, at + 2 * BYTES), THIRD)
              .blend(quartets(m, at + 3 * BYTES), FOURTH)
              .rearrange(IN_ORDER);
      long to = sums + (long) Float.BYTES * r;
      FloatVector.fromMemorySegment(F, m, to, ORDER).add(sum).intoMemorySegment(m, to, ORDER);
    }
    clear(work, partials, TILE * LANES);
  }

  /** A vector in which every lane is the sum of its group of four. */
  private static FloatVector quartets(MemorySegment m, long at) {
    FloatVector x = FloatVector.fromMemorySegment(F, m, at, ORDER);
    x = x.add(x.rearrange(NEIGHBOURS));
    return x.add(x.rearrange(PAIRS));
  }

  @Override
  public void gather(MemorySegment work, long sums, long groupStride, int groups, long w, int n) {
    // Group by group: a vector carried through a loop that seldom turns would become an object.
    MemorySegment m = NativeViews.base(work);
    int bound = Math.min(n, MOST);
    for (int i = 0; i < bound; i += LANES) {
      long element = (long) Float.BYTES * i;
      FloatVector.fromMemorySegment(F, m, sums + element, ORDER)
          .intoMemorySegment(m, w + element, ORDER);
    }
    for (int group = 1; group < groups; group++) {
      for (int i = 0; i < bound; i += LANES) {
        long element = (long) Float.BYTES * i;
        FloatVector next =
            FloatVector.fromMemorySegment(F, m, sums + group * groupStride + element, ORDER);
        FloatVector.fromMemorySegment(F, m, w + element, ORDER)
            .add(next)
            .intoMemorySegment(m, w + element, ORDER);
      }
    }
  }

  @Override
  public void clear(MemorySegment work, long x, int n) {
    MemorySegment m = NativeViews.base(work);
    FloatVector zero = FloatVector.zero(F);
    int bound = Math.min(n, MOST);
    for (int i = 0; i < bound; i += LANES) {
      zero.intoMemorySegment(m, x + (long) Float.BYTES * i, ORDER);
    }
  }

  @Override
  public int magnitude(MemorySegment work, long x, int n) {
    MemorySegment m = NativeViews.base(work);
    IntVector max = IntVector.zero(I);
    int bound = Math.min(n, MOST);
    for (int i = 0; i < bound; i += LANES) {
      IntVector bits = IntVector.fromMemorySegment(I, m, x + (long) Float.BYTES * i, ORDER);
      max = max.max(bits.and(Integer.MAX_VALUE));
    }
    return max.reduceLanes(VectorOperators.MAX);
  }

  @Override
  public void absolute(MemorySegment work, long x, int n) {
    MemorySegment m = NativeViews.base(work);
    int bound = Math.min(n, MOST);
    for (int i = 0; i < bound; i += LANES) {
      long at = x + (long) Float.BYTES * i;
      IntVector.fromMemorySegment(I, m, at, ORDER)
          .and(Integer.MAX_VALUE)
          .intoMemorySegment(m, at, ORDER);
    }
  }

  @Override
  public void scale(MemorySegment work, float a, long x, long y, int n) {
    MemorySegment m = NativeViews.base(work);
    int bound = Math.min(n, MOST);
    for (int i = 0; i < bound; i += LANES) {
      long element = (long) Float.BYTES * i;
      FloatVector.fromMemorySegment(F, m, x + element, ORDER)
          .mul(a)
          .intoMemorySegment(m, y + element, ORDER);
    }
  }

  @Override
  public void combine(MemorySegment work, float a, long x, float b, long y, long out, int n) {
    MemorySegment m = NativeViews.base(work);
    FloatVector factor = FloatVector.broadcast(F, a);
    int bound = Math.min(n, MOST);
    for (int i = 0; i < bound; i += LANES) {
      long element = (long) Float.BYTES * i;
      FloatVector term = FloatVector.fromMemorySegment(F, m, y + element, ORDER).mul(b);
      FloatVector.fromMemorySegment(F, m, x + element, ORDER)
          .fma(factor, term)
          .intoMemorySegment(m, out + element, ORDER);
    }
  }

  @Override
  public double dot(MemorySegment work, long x, long y, int n, long lanes) {
    MemorySegment m = NativeViews.base(work);
    FloatVector s0 = FloatVector.zero(F);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    int bound = Math.min(n, MOST);
    for (int i = 0; i < bound; i += PANEL) {
      long left = x + (long) Float.BYTES * i;
      long right = y + (long) Float.BYTES * i;
      FloatVector a = FloatVector.fromMemorySegment(F, m, left, ORDER);
      s0 = FloatVector.fromMemorySegment(F, m, right, ORDER).fma(a, s0);
      a = FloatVector.fromMemorySegment(F, m, left + BYTES, ORDER);
      s1 = FloatVector.fromMemorySegment(F, m, right + BYTES, ORDER).fma(a, s1);
      a = FloatVector.fromMemorySegment(F, m, left + 2 * BYTES, ORDER);
      s2 = FloatVector.fromMemorySegment(F, m, right + 2 * BYTES, ORDER).fma(a, s2);
      a = FloatVector.fromMemorySegment(F, m, left + 3 * BYTES, ORDER);
      s3 = FloatVector.fromMemorySegment(F, m, right + 3 * BYTES, ORDER).fma(a, s3);
    }
    s0.add(s1).add(s2.add(s3)).intoMemorySegment(m, lanes, ORDER);
    return VectorLanes.sum(m, lanes, F.length());
  }
}
