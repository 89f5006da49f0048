package org.quern.kronecker;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Objects;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.IntVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.vector.VectorLanes;

/**
 * Low rank on the Vector API. A panel is one vector of 512 bits per column, or two of 256. The
 * passes over U hold one accumulator per column of a group; {@link #tile}, which does nearly all
 * work of a product, holds a tile of C in registers as the kernel of a matrix product does.
 *
 * <p>Memory is checked once at the entry; the kernels below take offsets in {@link
 * NativeViews#base}, which each of them asks for itself, because only there the compiler knows it.
 */
final class VectorLowRankKernels implements LowRankKernels {
  static final VectorLowRankKernels INSTANCE = new VectorLowRankKernels();

  private static final VectorSpecies<Float> SPECIES =
      FloatVector.SPECIES_PREFERRED.length() > PANEL
          ? FloatVector.SPECIES_512
          : FloatVector.SPECIES_PREFERRED;

  private static final VectorSpecies<Integer> INTS = SPECIES.withLanes(int.class);
  private static final int LANES = SPECIES.length();
  private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
  private static final ValueLayout.OfFloat FLOAT =
      ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(ORDER);

  private static final ValueLayout.OfLong PAIR = ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ORDER);

  /** The earlier float of a pair. */
  private static final long LOW = 0xFFFF_FFFFL;

  /** Bytes of a row of a tile. */
  private static final long LINE = Float.BYTES * (long) TILE;

  /** Rows of a group in one vector, or in two. */
  private static final VectorSpecies<Float> EIGHT =
      LANES >= GROUP ? FloatVector.SPECIES_256 : FloatVector.SPECIES_128;

  /** Bytes of one vector. */
  private static final long VECTOR = Float.BYTES * (long) LANES;

  /** Vectors of a column of a panel. */
  private static final int PARTS = PANEL / LANES;

  /** 512-bit vectors come with 32 registers: 16 accumulators leave room. With 16 registers 8 do. */
  private static final boolean WIDE = SPECIES.vectorBitSize() >= 512;

  /** Rows of a tile in registers. */
  private static final int ROWS = WIDE ? GROUP : GROUP / 2;

  /** Bytes of a row of a tile in registers: two vectors. */
  private static final long ROW_BYTES = 2 * VECTOR;

  /** Panels that {@link #subtract} finishes before the next: their part of x stays in the cache. */
  private static final int BLOCK = 32;

  /** Floats of a row whose products are summed in single precision. */
  private static final int RUN = 1024;

  /** No memory lies as far as this. */
  private static final long FAR = 1L << 62;

  /** No rows of operands lie as far apart as this: times an int, and with FAR, it is a long. */
  private static final long FAR_ROWS = 1L << 28;

  private VectorLowRankKernels() {}

  @Override
  public int magnitude(int n, MemorySegment v, long vAt) {
    return magnitude(v, NativeViews.at(v, vAt, (long) Float.BYTES * n), n);
  }

  private static int magnitude(MemorySegment v, long vAt, int n) {
    MemorySegment from = NativeViews.base(v);
    IntVector greatest = IntVector.zero(INTS);
    int i = 0;
    for (; i <= n - LANES; i += LANES) {
      IntVector bits = IntVector.fromMemorySegment(INTS, from, vAt + (long) Float.BYTES * i, ORDER);
      greatest = greatest.max(bits.and(Integer.MAX_VALUE));
    }
    int result = greatest.reduceLanes(VectorOperators.MAX);
    for (; i < n; i++) {
      float x = from.get(FLOAT, vAt + (long) Float.BYTES * i);
      result = Math.max(result, Float.floatToRawIntBits(x) & Integer.MAX_VALUE);
    }
    return result;
  }

  @Override
  public void scale(int n, float a, MemorySegment v, long vAt, MemorySegment out, long outAt) {
    long bytes = (long) Float.BYTES * n;
    scale(v, NativeViews.at(v, vAt, bytes), a, out, NativeViews.at(out, outAt, bytes), n);
  }

  private static void scale(
      MemorySegment v, long vAt, float a, MemorySegment out, long outAt, int n) {
    MemorySegment from = NativeViews.base(v);
    MemorySegment to = NativeViews.base(out);
    int i = 0;
    for (; i <= n - LANES; i += LANES) {
      long step = (long) Float.BYTES * i;
      FloatVector.fromMemorySegment(SPECIES, from, vAt + step, ORDER)
          .mul(a)
          .intoMemorySegment(to, outAt + step, ORDER);
    }
    for (; i < n; i++) {
      long step = (long) Float.BYTES * i;
      to.set(FLOAT, outAt + step, a * from.get(FLOAT, vAt + step));
    }
  }

  @Override
  public double dot(int n, MemorySegment x, long xAt, MemorySegment y, long yAt) {
    long bytes = (long) Float.BYTES * n;
    return dot(x, NativeViews.at(x, xAt, bytes), y, NativeViews.at(y, yAt, bytes), n);
  }

  private static double dot(MemorySegment x, long xAt, MemorySegment y, long yAt, int n) {
    MemorySegment left = NativeViews.base(x);
    MemorySegment right = NativeViews.base(y);
    FloatVector s0 = FloatVector.zero(SPECIES);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    int i = 0;
    for (; i <= n - 4 * LANES; i += 4 * LANES) {
      long l = xAt + (long) Float.BYTES * i;
      long r = yAt + (long) Float.BYTES * i;
      FloatVector a = FloatVector.fromMemorySegment(SPECIES, left, l, ORDER);
      s0 = a.fma(FloatVector.fromMemorySegment(SPECIES, right, r, ORDER), s0);
      a = FloatVector.fromMemorySegment(SPECIES, left, l + VECTOR, ORDER);
      s1 = a.fma(FloatVector.fromMemorySegment(SPECIES, right, r + VECTOR, ORDER), s1);
      a = FloatVector.fromMemorySegment(SPECIES, left, l + 2 * VECTOR, ORDER);
      s2 = a.fma(FloatVector.fromMemorySegment(SPECIES, right, r + 2 * VECTOR, ORDER), s2);
      a = FloatVector.fromMemorySegment(SPECIES, left, l + 3 * VECTOR, ORDER);
      s3 = a.fma(FloatVector.fromMemorySegment(SPECIES, right, r + 3 * VECTOR, ORDER), s3);
    }
    double sum = VectorLanes.sum(s0.add(s1).add(s2.add(s3)));
    for (; i < n; i++) {
      long step = (long) Float.BYTES * i;
      sum += (double) left.get(FLOAT, xAt + step) * right.get(FLOAT, yAt + step);
    }
    return sum;
  }

  @Override
  public void project(
      int panels,
      int groups,
      MemorySegment u,
      long uAt,
      MemorySegment v,
      long vAt,
      MemorySegment work,
      long workAt,
      double[] z) {
    long bytes = panels * PANEL_BYTES;
    long from = NativeViews.at(u, uAt, groups * bytes);
    long vector = NativeViews.at(v, vAt, panels * COLUMN_BYTES);
    long sums = NativeViews.at(work, workAt, PROJECT_BYTES);
    for (int g = 0; g < groups; g++) {
      projectGroup(panels, u, from + g * bytes, v, vector, work, sums);
      for (int j = 0; j < GROUP; j++) {
        z[GROUP * g + j] = sum(work, sums + j * VECTOR);
      }
    }
  }

  /** Leaves the lanes of the eight sums in {@code sums}. */
  private static void projectGroup(
      int panels,
      MemorySegment u,
      long uAt,
      MemorySegment v,
      long vAt,
      MemorySegment work,
      long sums) {
    MemorySegment matrix = NativeViews.base(u);
    MemorySegment vector = NativeViews.base(v);
    MemorySegment to = NativeViews.base(work);
    long from = Objects.checkIndex(uAt, FAR);
    long with = Objects.checkIndex(vAt, FAR);
    FloatVector s0 = FloatVector.zero(SPECIES);
    FloatVector s1 = s0;
    FloatVector s2 = s0;
    FloatVector s3 = s0;
    FloatVector s4 = s0;
    FloatVector s5 = s0;
    FloatVector s6 = s0;
    FloatVector s7 = s0;
    for (int p = 0; p < panels; p++) {
      for (int part = 0; part < PARTS; part++) {
        long at = from + p * PANEL_BYTES + part * VECTOR;
        FloatVector x =
            FloatVector.fromMemorySegment(
                SPECIES, vector, with + p * COLUMN_BYTES + part * VECTOR, ORDER);
        s0 = x.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), s0);
        at += COLUMN_BYTES;
        s1 = x.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), s1);
        at += COLUMN_BYTES;
        s2 = x.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), s2);
        at += COLUMN_BYTES;
        s3 = x.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), s3);
        at += COLUMN_BYTES;
        s4 = x.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), s4);
        at += COLUMN_BYTES;
        s5 = x.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), s5);
        at += COLUMN_BYTES;
        s6 = x.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), s6);
        at += COLUMN_BYTES;
        s7 = x.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), s7);
      }
    }
    s0.intoMemorySegment(to, sums, ORDER);
    s1.intoMemorySegment(to, sums + VECTOR, ORDER);
    s2.intoMemorySegment(to, sums + 2 * VECTOR, ORDER);
    s3.intoMemorySegment(to, sums + 3 * VECTOR, ORDER);
    s4.intoMemorySegment(to, sums + 4 * VECTOR, ORDER);
    s5.intoMemorySegment(to, sums + 5 * VECTOR, ORDER);
    s6.intoMemorySegment(to, sums + 6 * VECTOR, ORDER);
    s7.intoMemorySegment(to, sums + 7 * VECTOR, ORDER);
  }

  /** The lanes of a stored vector, joined in double in a fixed order. */
  private static double sum(MemorySegment work, long at) {
    MemorySegment from = NativeViews.base(work);
    double even = 0;
    double odd = 0;
    for (int lane = 0; lane < LANES; lane += 2) {
      even += from.get(FLOAT, at + (long) Float.BYTES * lane);
      odd += from.get(FLOAT, at + (long) Float.BYTES * (lane + 1));
    }
    return even + odd;
  }

  @Override
  public void subtract(
      int panels,
      int groups,
      MemorySegment u,
      long uAt,
      MemorySegment w,
      long wAt,
      MemorySegment x,
      long xAt) {
    long bytes = panels * PANEL_BYTES;
    long from = NativeViews.at(u, uAt, groups * bytes);
    long weights = NativeViews.at(w, wAt, (long) Float.BYTES * GROUP * groups);
    long vector = NativeViews.at(x, xAt, panels * COLUMN_BYTES);
    for (int last = panels; last > 0; last -= BLOCK) {
      int first = Math.max(0, last - BLOCK);
      for (int g = groups - 1; g >= 0; g--) {
        subtractGroup(
            last - first,
            u,
            from + g * bytes + first * PANEL_BYTES,
            w,
            weights + (long) Float.BYTES * GROUP * g,
            x,
            vector + first * COLUMN_BYTES);
      }
    }
  }

  private static void subtractGroup(
      int panels, MemorySegment u, long uAt, MemorySegment w, long wAt, MemorySegment x, long xAt) {
    MemorySegment matrix = NativeViews.base(u);
    MemorySegment weights = NativeViews.base(w);
    MemorySegment vector = NativeViews.base(x);
    long from = Objects.checkIndex(uAt, FAR);
    long into = Objects.checkIndex(xAt, FAR);
    FloatVector w0 = FloatVector.broadcast(SPECIES, -weights.get(FLOAT, wAt));
    FloatVector w1 = FloatVector.broadcast(SPECIES, -weights.get(FLOAT, wAt + 1 * Float.BYTES));
    FloatVector w2 = FloatVector.broadcast(SPECIES, -weights.get(FLOAT, wAt + 2 * Float.BYTES));
    FloatVector w3 = FloatVector.broadcast(SPECIES, -weights.get(FLOAT, wAt + 3 * Float.BYTES));
    FloatVector w4 = FloatVector.broadcast(SPECIES, -weights.get(FLOAT, wAt + 4 * Float.BYTES));
    FloatVector w5 = FloatVector.broadcast(SPECIES, -weights.get(FLOAT, wAt + 5 * Float.BYTES));
    FloatVector w6 = FloatVector.broadcast(SPECIES, -weights.get(FLOAT, wAt + 6 * Float.BYTES));
    FloatVector w7 = FloatVector.broadcast(SPECIES, -weights.get(FLOAT, wAt + 7 * Float.BYTES));
    for (int p = panels - 1; p >= 0; p--) {
      for (int part = 0; part < PARTS; part++) {
        long at = from + p * PANEL_BYTES + part * VECTOR;
        long to = into + p * COLUMN_BYTES + part * VECTOR;
        FloatVector sum = FloatVector.fromMemorySegment(SPECIES, vector, to, ORDER);
        sum = w0.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), sum);
        at += COLUMN_BYTES;
        sum = w1.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), sum);
        at += COLUMN_BYTES;
        sum = w2.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), sum);
        at += COLUMN_BYTES;
        sum = w3.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), sum);
        at += COLUMN_BYTES;
        sum = w4.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), sum);
        at += COLUMN_BYTES;
        sum = w5.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), sum);
        at += COLUMN_BYTES;
        sum = w6.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), sum);
        at += COLUMN_BYTES;
        sum = w7.fma(FloatVector.fromMemorySegment(SPECIES, matrix, at, ORDER), sum);
        sum.intoMemorySegment(vector, to, ORDER);
      }
    }
  }

  @Override
  public void putColumn(int panels, MemorySegment x, long xAt, MemorySegment u, long uAt) {
    long read = NativeViews.at(x, xAt, panels * COLUMN_BYTES);
    long write = NativeViews.at(u, uAt, (panels - 1) * PANEL_BYTES + COLUMN_BYTES);
    putColumn(x, read, panels, u, write);
  }

  private static void putColumn(MemorySegment x, long xAt, int panels, MemorySegment u, long uAt) {
    MemorySegment from = NativeViews.base(x);
    MemorySegment to = NativeViews.base(u);
    for (int p = 0; p < panels; p++) {
      for (int part = 0; part < PARTS; part++) {
        FloatVector.fromMemorySegment(SPECIES, from, xAt + p * COLUMN_BYTES + part * VECTOR, ORDER)
            .intoMemorySegment(to, uAt + p * PANEL_BYTES + part * VECTOR, ORDER);
      }
    }
  }

  @Override
  public void recombine(
      int panels,
      int groups,
      int outGroups,
      MemorySegment u,
      long uAt,
      MemorySegment t,
      long tAt,
      MemorySegment work,
      long workAt) {
    long bytes = panels * PANEL_BYTES;
    long blockBytes = (long) Float.BYTES * GROUP * GROUP * groups;
    long matrix = NativeViews.at(u, uAt, groups * bytes);
    long factor = NativeViews.at(t, tAt, outGroups * blockBytes);
    long results = NativeViews.at(work, workAt, outGroups * RECOMBINE_BYTES);
    // Two vectors at a time: those of two panels, or of one where it has more than one.
    long other = PARTS == 1 ? PANEL_BYTES : VECTOR;
    for (int p = 0; p < panels; p += PARTS == 1 ? 2 : 1) {
      for (int part = 0; part < PARTS; part += 2) {
        long at = matrix + p * PANEL_BYTES + part * VECTOR;
        for (int m = 0; m < outGroups; m++) {
          combine(
              groups,
              u,
              at,
              bytes,
              other,
              t,
              factor + m * blockBytes,
              work,
              results + m * RECOMBINE_BYTES);
        }
        for (int m = 0; m < outGroups; m++) {
          spread(work, results + m * RECOMBINE_BYTES, u, at + m * bytes, other);
        }
      }
    }
  }

  /** Two vectors of each of eight columns of U T. */
  private static void combine(
      int groups,
      MemorySegment u,
      long uAt,
      long groupBytes,
      long other,
      MemorySegment t,
      long tAt,
      MemorySegment work,
      long workAt) {
    MemorySegment a = NativeViews.base(t);
    MemorySegment b = NativeViews.base(u);
    MemorySegment c = NativeViews.base(work);
    long aFrom = Objects.checkIndex(tAt, FAR);
    long bFrom = Objects.checkIndex(uAt, FAR);
    long right = Objects.checkIndex(other, FAR_ROWS);
    FloatVector l0 = FloatVector.zero(SPECIES);
    FloatVector r0 = l0;
    FloatVector l1 = l0;
    FloatVector r1 = l0;
    FloatVector l2 = l0;
    FloatVector r2 = l0;
    FloatVector l3 = l0;
    FloatVector r3 = l0;
    FloatVector l4 = l0;
    FloatVector r4 = l0;
    FloatVector l5 = l0;
    FloatVector r5 = l0;
    FloatVector l6 = l0;
    FloatVector r6 = l0;
    FloatVector l7 = l0;
    FloatVector r7 = l0;
    for (int g = 0; g < groups; g++) {
      long group = bFrom + g * groupBytes;
      for (int j = 0; j < GROUP; j++) {
        long at = aFrom + (long) Float.BYTES * GROUP * (GROUP * g + j);
        long column = group + j * COLUMN_BYTES;
        FloatVector x = FloatVector.fromMemorySegment(SPECIES, b, column, ORDER);
        FloatVector y = FloatVector.fromMemorySegment(SPECIES, b, column + right, ORDER);
        FloatVector f = FloatVector.broadcast(SPECIES, a.get(FLOAT, at));
        l0 = f.fma(x, l0);
        r0 = f.fma(y, r0);
        f = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 1 * Float.BYTES));
        l1 = f.fma(x, l1);
        r1 = f.fma(y, r1);
        f = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 2 * Float.BYTES));
        l2 = f.fma(x, l2);
        r2 = f.fma(y, r2);
        f = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 3 * Float.BYTES));
        l3 = f.fma(x, l3);
        r3 = f.fma(y, r3);
        f = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 4 * Float.BYTES));
        l4 = f.fma(x, l4);
        r4 = f.fma(y, r4);
        f = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 5 * Float.BYTES));
        l5 = f.fma(x, l5);
        r5 = f.fma(y, r5);
        f = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 6 * Float.BYTES));
        l6 = f.fma(x, l6);
        r6 = f.fma(y, r6);
        f = FloatVector.broadcast(SPECIES, a.get(FLOAT, at + 7 * Float.BYTES));
        l7 = f.fma(x, l7);
        r7 = f.fma(y, r7);
      }
    }
    l0.intoMemorySegment(c, workAt, ORDER);
    r0.intoMemorySegment(c, workAt + VECTOR, ORDER);
    l1.intoMemorySegment(c, workAt + 2 * VECTOR, ORDER);
    r1.intoMemorySegment(c, workAt + 3 * VECTOR, ORDER);
    l2.intoMemorySegment(c, workAt + 4 * VECTOR, ORDER);
    r2.intoMemorySegment(c, workAt + 5 * VECTOR, ORDER);
    l3.intoMemorySegment(c, workAt + 6 * VECTOR, ORDER);
    r3.intoMemorySegment(c, workAt + 7 * VECTOR, ORDER);
    l4.intoMemorySegment(c, workAt + 8 * VECTOR, ORDER);
    r4.intoMemorySegment(c, workAt + 9 * VECTOR, ORDER);
    l5.intoMemorySegment(c, workAt + 10 * VECTOR, ORDER);
    r5.intoMemorySegment(c, workAt + 11 * VECTOR, ORDER);
    l6.intoMemorySegment(c, workAt + 12 * VECTOR, ORDER);
    r6.intoMemorySegment(c, workAt + 13 * VECTOR, ORDER);
    l7.intoMemorySegment(c, workAt + 14 * VECTOR, ORDER);
    r7.intoMemorySegment(c, workAt + 15 * VECTOR, ORDER);
  }

  /** Writes the result of {@link #combine} over its operand. */
  private static void spread(
      MemorySegment work, long workAt, MemorySegment u, long uAt, long other) {
    MemorySegment from = NativeViews.base(work);
    MemorySegment to = NativeViews.base(u);
    for (int j = 0; j < GROUP; j++) {
      long read = workAt + 2L * j * VECTOR;
      long write = uAt + j * COLUMN_BYTES;
      FloatVector.fromMemorySegment(SPECIES, from, read, ORDER).intoMemorySegment(to, write, ORDER);
      FloatVector.fromMemorySegment(SPECIES, from, read + VECTOR, ORDER)
          .intoMemorySegment(to, write + other, ORDER);
    }
  }

  @Override
  public void dots(
      int pieces,
      int length,
      MemorySegment memory,
      long xAt,
      long yAt,
      long row,
      long step,
      MemorySegment work,
      long workAt,
      double[] out) {
    long bytes = 3 * row + (pieces - 1) * step + (long) Float.BYTES * length;
    long left = NativeViews.at(memory, xAt, bytes);
    long right = NativeViews.at(memory, yAt, bytes);
    long sums = NativeViews.at(work, workAt, DOTS_BYTES);
    for (int i = 0; i < 16; i++) {
      out[i] = 0;
    }
    int run = Math.max(1, RUN / length);
    for (int p = 0; p < pieces; p += run) {
      int count = Math.min(run, pieces - p);
      dotsRun(count, length, memory, left + p * step, right + p * step, row, step, work, sums);
      for (int i = 0; i < 16; i++) {
        out[i] += sum(work, sums + i * VECTOR);
      }
    }
  }

  private static void dotsRun(
      int pieces,
      int length,
      MemorySegment memory,
      long xAt,
      long yAt,
      long row,
      long step,
      MemorySegment work,
      long sums) {
    MemorySegment m = NativeViews.base(memory);
    MemorySegment to = NativeViews.base(work);
    long left = Objects.checkIndex(xAt, FAR);
    long right = Objects.checkIndex(yAt, FAR);
    long stride = Objects.checkIndex(row, FAR_ROWS);
    FloatVector s00 = FloatVector.zero(SPECIES);
    FloatVector s01 = s00;
    FloatVector s02 = s00;
    FloatVector s03 = s00;
    FloatVector s10 = s00;
    FloatVector s11 = s00;
    FloatVector s12 = s00;
    FloatVector s13 = s00;
    FloatVector s20 = s00;
    FloatVector s21 = s00;
    FloatVector s22 = s00;
    FloatVector s23 = s00;
    FloatVector s30 = s00;
    FloatVector s31 = s00;
    FloatVector s32 = s00;
    FloatVector s33 = s00;
    for (int p = 0; p < pieces; p++) {
      for (int c = 0; c < length; c += LANES) {
        long l = left + p * step + (long) Float.BYTES * c;
        long r = right + p * step + (long) Float.BYTES * c;
        FloatVector y0 = FloatVector.fromMemorySegment(SPECIES, m, r, ORDER);
        FloatVector y1 = FloatVector.fromMemorySegment(SPECIES, m, r + stride, ORDER);
        FloatVector y2 = FloatVector.fromMemorySegment(SPECIES, m, r + 2 * stride, ORDER);
        FloatVector y3 = FloatVector.fromMemorySegment(SPECIES, m, r + 3 * stride, ORDER);
        FloatVector x = FloatVector.fromMemorySegment(SPECIES, m, l, ORDER);
        s00 = x.fma(y0, s00);
        s01 = x.fma(y1, s01);
        s02 = x.fma(y2, s02);
        s03 = x.fma(y3, s03);
        x = FloatVector.fromMemorySegment(SPECIES, m, l + stride, ORDER);
        s10 = x.fma(y0, s10);
        s11 = x.fma(y1, s11);
        s12 = x.fma(y2, s12);
        s13 = x.fma(y3, s13);
        x = FloatVector.fromMemorySegment(SPECIES, m, l + 2 * stride, ORDER);
        s20 = x.fma(y0, s20);
        s21 = x.fma(y1, s21);
        s22 = x.fma(y2, s22);
        s23 = x.fma(y3, s23);
        x = FloatVector.fromMemorySegment(SPECIES, m, l + 3 * stride, ORDER);
        s30 = x.fma(y0, s30);
        s31 = x.fma(y1, s31);
        s32 = x.fma(y2, s32);
        s33 = x.fma(y3, s33);
      }
    }
    s00.intoMemorySegment(to, sums, ORDER);
    s01.intoMemorySegment(to, sums + VECTOR, ORDER);
    s02.intoMemorySegment(to, sums + 2 * VECTOR, ORDER);
    s03.intoMemorySegment(to, sums + 3 * VECTOR, ORDER);
    s10.intoMemorySegment(to, sums + 4 * VECTOR, ORDER);
    s11.intoMemorySegment(to, sums + 5 * VECTOR, ORDER);
    s12.intoMemorySegment(to, sums + 6 * VECTOR, ORDER);
    s13.intoMemorySegment(to, sums + 7 * VECTOR, ORDER);
    s20.intoMemorySegment(to, sums + 8 * VECTOR, ORDER);
    s21.intoMemorySegment(to, sums + 9 * VECTOR, ORDER);
    s22.intoMemorySegment(to, sums + 10 * VECTOR, ORDER);
    s23.intoMemorySegment(to, sums + 11 * VECTOR, ORDER);
    s30.intoMemorySegment(to, sums + 12 * VECTOR, ORDER);
    s31.intoMemorySegment(to, sums + 13 * VECTOR, ORDER);
    s32.intoMemorySegment(to, sums + 14 * VECTOR, ORDER);
    s33.intoMemorySegment(to, sums + 15 * VECTOR, ORDER);
  }

  @Override
  public void multiplyAdd(
      int groups,
      int tiles,
      int depth,
      MemorySegment a,
      long aAt,
      long aGroup,
      long aStep,
      MemorySegment b,
      long bAt,
      long bStep,
      long bTile,
      MemorySegment c,
      long cAt,
      long cRow,
      long cTile,
      float scale) {
    if (groups == 0 || tiles == 0 || depth == 0) {
      return;
    }
    long column = (long) Float.BYTES * GROUP;
    long from = NativeViews.at(a, aAt, (groups - 1) * aGroup + (depth - 1) * aStep + column);
    long with = NativeViews.at(b, bAt, (tiles - 1) * bTile + (depth - 1) * bStep + LINE);
    long into = NativeViews.at(c, cAt, cBytes(groups, tiles, cRow, cTile));
    for (int g = 0; g < groups; g++) {
      for (int t = 0; t < tiles; t++) {
        for (int r = 0; r < GROUP; r += ROWS) {
          for (long part = 0; part < LINE; part += ROW_BYTES) {
            long left = from + g * aGroup + (long) Float.BYTES * r;
            long right = with + t * bTile + part;
            long to = into + (g * GROUP + r) * cRow + t * cTile + part;
            tile(depth, a, left, aStep, b, right, bStep, c, to, cRow);
            if (scale != 1) {
              scaleTile(scale, c, to, cRow);
            }
          }
        }
      }
    }
  }

  @Override
  public void multiplyAddBlock(
      int groups,
      int tiles,
      int depth,
      MemorySegment block,
      long blockAt,
      MemorySegment b,
      long bAt,
      long bStep,
      long bTile,
      MemorySegment c,
      long cAt,
      long cRow,
      long cTile) {
    if (groups == 0 || tiles == 0 || depth == 0) {
      return;
    }
    long rows = (long) GROUP * groups - 1;
    long from = NativeViews.at(block, blockAt, rows * BLOCK_ROW + (long) Float.BYTES * depth);
    long with = NativeViews.at(b, bAt, (tiles - 1) * bTile + (depth - 1) * bStep + LINE);
    long into = NativeViews.at(c, cAt, cBytes(groups, tiles, cRow, cTile));
    for (int i = 0; i <= rows; i += ROWS) {
      for (int t = 0; t < tiles; t++) {
        for (long part = 0; part < LINE; part += ROW_BYTES) {
          long right = with + t * bTile + part;
          long to = into + i * cRow + t * cTile + part;
          tileOfBlock(depth, block, from + i * BLOCK_ROW, b, right, bStep, c, to, cRow);
        }
      }
    }
  }

  /** Bytes from the first element of C to the end of the last. */
  private static long cBytes(int groups, int tiles, long cRow, long cTile) {
    return ((long) GROUP * groups - 1) * cRow + (tiles - 1) * cTile + LINE;
  }

  /** {@code C += A B} for {@link #ROWS} rows and two vectors of columns, held in registers. */
  private static void tile(
      int depth,
      MemorySegment aMemory,
      long aAt,
      long aStep,
      MemorySegment bMemory,
      long bAt,
      long bStep,
      MemorySegment cMemory,
      long cAt,
      long cRow) {
    MemorySegment a = NativeViews.base(aMemory);
    MemorySegment b = NativeViews.base(bMemory);
    MemorySegment c = NativeViews.base(cMemory);
    // Bounds that the compiler knows spare the loop its checks, as no sum below overflows.
    long a0 = Objects.checkIndex(aAt, FAR);
    long aNext = Objects.checkIndex(aStep, FAR_ROWS);
    long b0 = Objects.checkIndex(bAt, FAR);
    long bNext = Objects.checkIndex(bStep, FAR_ROWS);
    FloatVector l0 = FloatVector.fromMemorySegment(SPECIES, c, cAt, ORDER);
    FloatVector r0 = FloatVector.fromMemorySegment(SPECIES, c, cAt + VECTOR, ORDER);
    long at = cAt + cRow;
    FloatVector l1 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
    FloatVector r1 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
    at += cRow;
    FloatVector l2 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
    FloatVector r2 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
    at += cRow;
    FloatVector l3 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
    FloatVector r3 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
    FloatVector l4 = l0;
    FloatVector r4 = l0;
    FloatVector l5 = l0;
    FloatVector r5 = l0;
    FloatVector l6 = l0;
    FloatVector r6 = l0;
    FloatVector l7 = l0;
    FloatVector r7 = l0;
    if (WIDE) {
      at += cRow;
      l4 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
      r4 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
      at += cRow;
      l5 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
      r5 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
      at += cRow;
      l6 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
      r6 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
      at += cRow;
      l7 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
      r7 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
    }
    for (int p = 0; p < depth; p++) {
      long step = a0 + p * aNext;
      long row = b0 + p * bNext;
      FloatVector left = FloatVector.fromMemorySegment(SPECIES, b, row, ORDER);
      FloatVector right = FloatVector.fromMemorySegment(SPECIES, b, row + VECTOR, ORDER);
      FloatVector x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step));
      l0 = x.fma(left, l0);
      r0 = x.fma(right, r0);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 1 * Float.BYTES));
      l1 = x.fma(left, l1);
      r1 = x.fma(right, r1);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 2 * Float.BYTES));
      l2 = x.fma(left, l2);
      r2 = x.fma(right, r2);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 3 * Float.BYTES));
      l3 = x.fma(left, l3);
      r3 = x.fma(right, r3);
      if (WIDE) {
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 4 * Float.BYTES));
        l4 = x.fma(left, l4);
        r4 = x.fma(right, r4);
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 5 * Float.BYTES));
        l5 = x.fma(left, l5);
        r5 = x.fma(right, r5);
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 6 * Float.BYTES));
        l6 = x.fma(left, l6);
        r6 = x.fma(right, r6);
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 7 * Float.BYTES));
        l7 = x.fma(left, l7);
        r7 = x.fma(right, r7);
      }
    }
    l0.intoMemorySegment(c, cAt, ORDER);
    r0.intoMemorySegment(c, cAt + VECTOR, ORDER);
    at = cAt + cRow;
    l1.intoMemorySegment(c, at, ORDER);
    r1.intoMemorySegment(c, at + VECTOR, ORDER);
    at += cRow;
    l2.intoMemorySegment(c, at, ORDER);
    r2.intoMemorySegment(c, at + VECTOR, ORDER);
    at += cRow;
    l3.intoMemorySegment(c, at, ORDER);
    r3.intoMemorySegment(c, at + VECTOR, ORDER);
    if (WIDE) {
      at += cRow;
      l4.intoMemorySegment(c, at, ORDER);
      r4.intoMemorySegment(c, at + VECTOR, ORDER);
      at += cRow;
      l5.intoMemorySegment(c, at, ORDER);
      r5.intoMemorySegment(c, at + VECTOR, ORDER);
      at += cRow;
      l6.intoMemorySegment(c, at, ORDER);
      r6.intoMemorySegment(c, at + VECTOR, ORDER);
      at += cRow;
      l7.intoMemorySegment(c, at, ORDER);
      r7.intoMemorySegment(c, at + VECTOR, ORDER);
    }
  }

  /** {@link #tile} for a block, but for where the elements of A are. */
  private static void tileOfBlock(
      int depth,
      MemorySegment aMemory,
      long aAt,
      MemorySegment bMemory,
      long bAt,
      long bStep,
      MemorySegment cMemory,
      long cAt,
      long cRow) {
    MemorySegment a = NativeViews.base(aMemory);
    MemorySegment b = NativeViews.base(bMemory);
    MemorySegment c = NativeViews.base(cMemory);
    // Bounds that the compiler knows spare the loop its checks, as no sum below overflows.
    long a0 = Objects.checkIndex(aAt, FAR);
    long b0 = Objects.checkIndex(bAt, FAR);
    long bNext = Objects.checkIndex(bStep, FAR_ROWS);
    FloatVector l0 = FloatVector.fromMemorySegment(SPECIES, c, cAt, ORDER);
    FloatVector r0 = FloatVector.fromMemorySegment(SPECIES, c, cAt + VECTOR, ORDER);
    long at = cAt + cRow;
    FloatVector l1 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
    FloatVector r1 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
    at += cRow;
    FloatVector l2 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
    FloatVector r2 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
    at += cRow;
    FloatVector l3 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
    FloatVector r3 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
    FloatVector l4 = l0;
    FloatVector r4 = l0;
    FloatVector l5 = l0;
    FloatVector r5 = l0;
    FloatVector l6 = l0;
    FloatVector r6 = l0;
    FloatVector l7 = l0;
    FloatVector r7 = l0;
    if (WIDE) {
      at += cRow;
      l4 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
      r4 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
      at += cRow;
      l5 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
      r5 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
      at += cRow;
      l6 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
      r6 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
      at += cRow;
      l7 = FloatVector.fromMemorySegment(SPECIES, c, at, ORDER);
      r7 = FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER);
    }
    for (int p = 0; p < depth; p++) {
      long step = a0 + (long) Float.BYTES * p;
      long row = b0 + p * bNext;
      FloatVector left = FloatVector.fromMemorySegment(SPECIES, b, row, ORDER);
      FloatVector right = FloatVector.fromMemorySegment(SPECIES, b, row + VECTOR, ORDER);
      FloatVector x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step));
      l0 = x.fma(left, l0);
      r0 = x.fma(right, r0);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 1 * BLOCK_ROW));
      l1 = x.fma(left, l1);
      r1 = x.fma(right, r1);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 2 * BLOCK_ROW));
      l2 = x.fma(left, l2);
      r2 = x.fma(right, r2);
      x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 3 * BLOCK_ROW));
      l3 = x.fma(left, l3);
      r3 = x.fma(right, r3);
      if (WIDE) {
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 4 * BLOCK_ROW));
        l4 = x.fma(left, l4);
        r4 = x.fma(right, r4);
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 5 * BLOCK_ROW));
        l5 = x.fma(left, l5);
        r5 = x.fma(right, r5);
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 6 * BLOCK_ROW));
        l6 = x.fma(left, l6);
        r6 = x.fma(right, r6);
        x = FloatVector.broadcast(SPECIES, a.get(FLOAT, step + 7 * BLOCK_ROW));
        l7 = x.fma(left, l7);
        r7 = x.fma(right, r7);
      }
    }
    l0.intoMemorySegment(c, cAt, ORDER);
    r0.intoMemorySegment(c, cAt + VECTOR, ORDER);
    at = cAt + cRow;
    l1.intoMemorySegment(c, at, ORDER);
    r1.intoMemorySegment(c, at + VECTOR, ORDER);
    at += cRow;
    l2.intoMemorySegment(c, at, ORDER);
    r2.intoMemorySegment(c, at + VECTOR, ORDER);
    at += cRow;
    l3.intoMemorySegment(c, at, ORDER);
    r3.intoMemorySegment(c, at + VECTOR, ORDER);
    if (WIDE) {
      at += cRow;
      l4.intoMemorySegment(c, at, ORDER);
      r4.intoMemorySegment(c, at + VECTOR, ORDER);
      at += cRow;
      l5.intoMemorySegment(c, at, ORDER);
      r5.intoMemorySegment(c, at + VECTOR, ORDER);
      at += cRow;
      l6.intoMemorySegment(c, at, ORDER);
      r6.intoMemorySegment(c, at + VECTOR, ORDER);
      at += cRow;
      l7.intoMemorySegment(c, at, ORDER);
      r7.intoMemorySegment(c, at + VECTOR, ORDER);
    }
  }

  /** Not in {@link #tile}, which is as large as the compiler takes. */
  private static void scaleTile(float scale, MemorySegment cMemory, long cAt, long cRow) {
    MemorySegment c = NativeViews.base(cMemory);
    for (int r = 0; r < ROWS; r++) {
      long at = cAt + r * cRow;
      FloatVector.fromMemorySegment(SPECIES, c, at, ORDER)
          .mul(scale)
          .intoMemorySegment(c, at, ORDER);
      FloatVector.fromMemorySegment(SPECIES, c, at + VECTOR, ORDER)
          .mul(scale)
          .intoMemorySegment(c, at + VECTOR, ORDER);
    }
  }

  @Override
  public void multiplyAddColumn(
      int groups,
      int depth,
      MemorySegment a,
      long aAt,
      long aGroup,
      MemorySegment x,
      long xAt,
      MemorySegment y,
      long yAt) {
    if (groups == 0 || depth == 0) {
      return;
    }
    long column = (long) Float.BYTES * GROUP;
    long from = NativeViews.at(a, aAt, (groups - 1) * aGroup + depth * column);
    long with = NativeViews.at(x, xAt, (long) Float.BYTES * depth);
    long into = NativeViews.at(y, yAt, groups * column);
    for (int g = 0; g < groups; g += 4) {
      // Four chains hide the latency of one; where there are fewer groups, the last is repeated.
      int last = groups - 1;
      for (long part = 0; part < column; part += EIGHT.vectorByteSize()) {
        column(
            depth,
            a,
            from + part,
            g * aGroup,
            Math.min(g + 1, last) * aGroup,
            Math.min(g + 2, last) * aGroup,
            Math.min(g + 3, last) * aGroup,
            x,
            with,
            y,
            into + part,
            g * column,
            Math.min(g + 1, last) * column,
            Math.min(g + 2, last) * column,
            Math.min(g + 3, last) * column);
      }
    }
  }

  private static void column(
      int depth,
      MemorySegment aMemory,
      long aAt,
      long a0,
      long a1,
      long a2,
      long a3,
      MemorySegment xMemory,
      long xAt,
      MemorySegment yMemory,
      long yAt,
      long y0,
      long y1,
      long y2,
      long y3) {
    MemorySegment a = NativeViews.base(aMemory);
    MemorySegment x = NativeViews.base(xMemory);
    MemorySegment y = NativeViews.base(yMemory);
    FloatVector s0 = FloatVector.fromMemorySegment(EIGHT, y, yAt + y0, ORDER);
    FloatVector s1 = FloatVector.fromMemorySegment(EIGHT, y, yAt + y1, ORDER);
    FloatVector s2 = FloatVector.fromMemorySegment(EIGHT, y, yAt + y2, ORDER);
    FloatVector s3 = FloatVector.fromMemorySegment(EIGHT, y, yAt + y3, ORDER);
    for (int p = 0; p < depth; p++) {
      long at = aAt + (long) Float.BYTES * GROUP * p;
      FloatVector f = FloatVector.broadcast(EIGHT, x.get(FLOAT, xAt + (long) Float.BYTES * p));
      s0 = f.fma(FloatVector.fromMemorySegment(EIGHT, a, at + a0, ORDER), s0);
      s1 = f.fma(FloatVector.fromMemorySegment(EIGHT, a, at + a1, ORDER), s1);
      s2 = f.fma(FloatVector.fromMemorySegment(EIGHT, a, at + a2, ORDER), s2);
      s3 = f.fma(FloatVector.fromMemorySegment(EIGHT, a, at + a3, ORDER), s3);
    }
    s0.intoMemorySegment(y, yAt + y0, ORDER);
    s1.intoMemorySegment(y, yAt + y1, ORDER);
    s2.intoMemorySegment(y, yAt + y2, ORDER);
    s3.intoMemorySegment(y, yAt + y3, ORDER);
  }

  @Override
  public void pack(
      int groups,
      int columns,
      MemorySegment rows,
      long rowsAt,
      long row,
      MemorySegment out,
      long outAt,
      long outGroup) {
    if (groups == 0 || columns == 0) {
      return;
    }
    long line = (long) Float.BYTES * columns;
    long read = NativeViews.at(rows, rowsAt, ((long) GROUP * groups - 1) * row + line);
    long write = NativeViews.at(out, outAt, (groups - 1) * outGroup + GROUP * line);
    for (int g = 0; g < groups; g++) {
      packGroup(columns, rows, read + (long) g * GROUP * row, row, out, write + g * outGroup);
    }
  }

  /** Two rows by two columns at a time: pairs move as one long, half the loads and stores. */
  private static void packGroup(
      int columns, MemorySegment rows, long rowsAt, long row, MemorySegment out, long outAt) {
    MemorySegment from = NativeViews.base(rows);
    MemorySegment to = NativeViews.base(out);
    long next = (long) Float.BYTES * GROUP;
    for (int r = 0; r < GROUP; r += 2) {
      long first = rowsAt + r * row;
      long second = first + row;
      long write = outAt + (long) Float.BYTES * r;
      for (int j = 0; j < columns; j += 2) {
        long x = from.get(PAIR, first + (long) Float.BYTES * j);
        long y = from.get(PAIR, second + (long) Float.BYTES * j);
        long at = write + j * next;
        to.set(PAIR, at, (x & LOW) | (y << Float.SIZE));
        to.set(PAIR, at + next, (x >>> Float.SIZE) | (y & ~LOW));
      }
    }
  }

  @Override
  public void clear(int rows, int columns, MemorySegment out, long outAt, long row) {
    if (rows == 0 || columns == 0) {
      return;
    }
    long write = NativeViews.at(out, outAt, (rows - 1) * row + (long) Float.BYTES * columns);
    for (int r = 0; r < rows; r++) {
      clearRow(columns, out, write + r * row);
    }
  }

  private static void clearRow(int n, MemorySegment out, long outAt) {
    MemorySegment to = NativeViews.base(out);
    FloatVector zero = FloatVector.zero(SPECIES);
    int i = 0;
    for (; i <= n - LANES; i += LANES) {
      zero.intoMemorySegment(to, outAt + (long) Float.BYTES * i, ORDER);
    }
    for (; i < n; i++) {
      to.set(FLOAT, outAt + (long) Float.BYTES * i, 0);
    }
  }

  @Override
  public void add(int n, MemorySegment x, long xAt, MemorySegment y, long yAt) {
    long bytes = (long) Float.BYTES * n;
    add(x, NativeViews.at(x, xAt, bytes), y, NativeViews.at(y, yAt, bytes), n);
  }

  private static void add(MemorySegment x, long xAt, MemorySegment y, long yAt, int n) {
    MemorySegment from = NativeViews.base(x);
    MemorySegment to = NativeViews.base(y);
    int i = 0;
    for (; i <= n - LANES; i += LANES) {
      long step = (long) Float.BYTES * i;
      FloatVector.fromMemorySegment(SPECIES, to, yAt + step, ORDER)
          .add(FloatVector.fromMemorySegment(SPECIES, from, xAt + step, ORDER))
          .intoMemorySegment(to, yAt + step, ORDER);
    }
    for (; i < n; i++) {
      long step = (long) Float.BYTES * i;
      to.set(FLOAT, yAt + step, to.get(FLOAT, yAt + step) + from.get(FLOAT, xAt + step));
    }
  }

  @Override
  public double copyRows(
      int rows,
      int columns,
      MemorySegment g,
      long gAt,
      long row,
      MemorySegment out,
      long outAt,
      long outRow) {
    if (rows == 0 || columns == 0) {
      return 0;
    }
    long line = (long) Float.BYTES * columns;
    long read = NativeViews.at(g, gAt, (rows - 1) * row + line);
    long write = NativeViews.at(out, outAt, (rows - 1) * outRow + line);
    double sum = 0;
    for (int r = 0; r < rows; r++) {
      sum += copyRow(columns, g, read + r * row, out, write + r * outRow);
    }
    return sum;
  }

  private static double copyRow(int n, MemorySegment g, long gAt, MemorySegment out, long outAt) {
    MemorySegment from = NativeViews.base(g);
    MemorySegment to = NativeViews.base(out);
    FloatVector even = FloatVector.zero(SPECIES);
    FloatVector odd = even;
    int j = 0;
    for (; j <= n - 2 * LANES; j += 2 * LANES) {
      long step = (long) Float.BYTES * j;
      FloatVector x = FloatVector.fromMemorySegment(SPECIES, from, gAt + step, ORDER);
      x.intoMemorySegment(to, outAt + step, ORDER);
      even = x.fma(x, even);
      x = FloatVector.fromMemorySegment(SPECIES, from, gAt + step + VECTOR, ORDER);
      x.intoMemorySegment(to, outAt + step + VECTOR, ORDER);
      odd = x.fma(x, odd);
    }
    double sum = VectorLanes.sum(even.add(odd));
    for (; j < n; j++) {
      long step = (long) Float.BYTES * j;
      float x = from.get(FLOAT, gAt + step);
      sum += (double) x * x;
      to.set(FLOAT, outAt + step, x);
    }
    return sum;
  }
}
