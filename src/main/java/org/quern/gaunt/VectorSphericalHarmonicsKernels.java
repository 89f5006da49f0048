package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static jdk.incubator.vector.VectorOperators.GT;
import static jdk.incubator.vector.VectorOperators.LT;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.DoubleVector;
import jdk.incubator.vector.LongVector;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;

/**
 * A block of vectors at a time, one in each lane. The scratch memory holds one row of lanes per
 * quantity: x, y, z, 1/|v|, three more, and then a row per component, which is written to or read
 * from the operands transposed.
 */
final class VectorSphericalHarmonicsKernels implements SphericalHarmonicsKernels {
  static final VectorSphericalHarmonicsKernels INSTANCE = new VectorSphericalHarmonicsKernels();

  private static final VectorSpecies<Double> D = DoubleVector.SPECIES_PREFERRED;
  private static final VectorSpecies<Long> I = LongVector.SPECIES_PREFERRED;
  private static final int LANES = D.length();
  private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
  private static final ValueLayout.OfDouble DOUBLE = JAVA_DOUBLE_UNALIGNED.withOrder(ORDER);
  private static final ValueLayout.OfFloat FLOAT = JAVA_FLOAT_UNALIGNED.withOrder(ORDER);

  /** Bytes of one row of lanes. */
  private static final int ROW = LANES * Double.BYTES;

  /** Bytes of the rows of lanes that make a tile. */
  private static final int TILE = VectorTiles.SIZE * ROW;

  private static final int X = 0;
  private static final int Y = ROW;
  private static final int Z = 2 * ROW;
  private static final int INVERSE = 3 * ROW;

  /** Three rows: directions of a pushforward, sums of a pullback. */
  private static final int THREE = 4 * ROW;

  /** Where the rows of the components begin. */
  private static final int COMPONENTS = 7 * ROW;

  private static final long SIGNLESS = Long.MAX_VALUE;

  /** The upper bits of an exponent: numbers that share them differ by a factor of 2^256 at most. */
  private static final long COARSE = 0x7000_0000_0000_0000L;

  /** Minus such a coarse exponent this is the exponent of a factor that brings numbers near 1. */
  private static final long LARGEST = 0x7fe0_0000_0000_0000L;

  private VectorSphericalHarmonicsKernels() {}

  @Override
  public long scratchBytes(SphereTables tables) {
    return COMPONENTS + 3L * tables.components * ROW;
  }

  @Override
  public long values(
      SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch) {
    for (long row = from; row < to; row += LANES) {
      int count = (int) Math.min(LANES, to - row);
      long zeros = directions(o, row, count, scratch);
      if (zeros < 0) {
        return row - 1 - zeros;
      }
      evaluate(tables, scratch);
      write(o, row, count, tables.components, COMPONENTS, scratch);
      blank(o, row, zeros, tables.components, tables.start[0]);
    }
    return ALL_GOOD;
  }

  @Override
  public long jacobian(
      SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch) {
    for (long row = from; row < to; row += LANES) {
      int count = (int) Math.min(LANES, to - row);
      long zeros = directions(o, row, count, scratch);
      if (zeros < 0) {
        return row - 1 - zeros;
      }
      differentiate(tables, scratch);
      write(o, row, count, 3 * tables.components, COMPONENTS, scratch);
      blank(o, row, zeros, 3 * tables.components, 0);
    }
    return ALL_GOOD;
  }

  @Override
  public long pullback(
      SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch) {
    for (long row = from; row < to; row += LANES) {
      int count = (int) Math.min(LANES, to - row);
      long zeros = directions(o, row, count, scratch);
      if (zeros < 0) {
        return row - 1 - zeros;
      }
      read(
          o.other,
          o.type,
          row * o.otherStride,
          o.otherStride,
          count,
          tables.components,
          COMPONENTS,
          scratch);
      pull(tables, scratch);
      write(o, row, count, 3, THREE, scratch);
      blank(o, row, zeros, 3, 0);
    }
    return ALL_GOOD;
  }

  @Override
  public long pushforward(
      SphereTables tables, SphereOperands o, long from, long to, MemorySegment scratch) {
    for (long row = from; row < to; row += LANES) {
      int count = (int) Math.min(LANES, to - row);
      long zeros = directions(o, row, count, scratch);
      if (zeros < 0) {
        return row - 1 - zeros;
      }
      readVectors(o.other, o.type, row * o.otherStride, o.otherStride, count, THREE, scratch);
      push(tables, scratch);
      write(o, row, count, tables.components, COMPONENTS, scratch);
      blank(o, row, zeros, tables.components, 0);
    }
    return ALL_GOOD;
  }

  /**
   * Writes unit vectors and 1/|v|; spare lanes repeat the last vector.
   *
   * @return a bit for every lane whose vector is zero, where that is allowed, or -1 - lane of the
   *     first bad vector
   */
  private static long directions(SphereOperands o, long row, int count, MemorySegment scratch) {
    readVectors(o.vectors, o.type, row * o.vectorStride, o.vectorStride, count, X, scratch);
    if (normalize(scratch)) {
      return 0;
    }
    readVectors(o.vectors, o.type, row * o.vectorStride, o.vectorStride, count, X, scratch);
    long zeros = 0;
    for (int lane = 0; lane < LANES; lane++) {
      long at = (long) lane * Double.BYTES;
      double x = scratch.get(DOUBLE, X + at);
      double y = scratch.get(DOUBLE, Y + at);
      double z = scratch.get(DOUBLE, Z + at);
      boolean zero = x == 0 && y == 0 && z == 0;
      if (zero && o.zeroAllowed) {
        zeros |= 1L << lane;
        scratch.set(DOUBLE, Y + at, 1);
      } else if (zero || !Double.isFinite(x) || !Double.isFinite(y) || !Double.isFinite(z)) {
        return -1L - lane;
      }
    }
    normalize(scratch);
    return zeros & ((1L << count) - 1);
  }

  /** False where some vector is zero or not finite. */
  private static boolean normalize(MemorySegment scratchIn) {
    MemorySegment scratch = NativeViews.base(scratchIn);
    long at = NativeViews.at(scratchIn, 0, COMPONENTS);
    DoubleVector x = DoubleVector.fromMemorySegment(D, scratch, at + X, ORDER);
    DoubleVector y = DoubleVector.fromMemorySegment(D, scratch, at + Y, ORDER);
    DoubleVector z = DoubleVector.fromMemorySegment(D, scratch, at + Z, ORDER);
    // Without their signs the bits of numbers order like the numbers, NaN above all.
    LongVector largest =
        x.reinterpretAsLongs()
            .and(SIGNLESS)
            .max(y.reinterpretAsLongs().and(SIGNLESS))
            .max(z.reinterpretAsLongs().and(SIGNLESS));
    DoubleVector scale =
        LongVector.broadcast(I, LARGEST).sub(largest.and(COARSE)).reinterpretAsDoubles();
    x = x.mul(scale);
    y = y.mul(scale);
    z = z.mul(scale);
    DoubleVector length = x.fma(x, y.fma(y, z.mul(z))).sqrt();
    x.div(length).intoMemorySegment(scratch, at + X, ORDER);
    y.div(length).intoMemorySegment(scratch, at + Y, ORDER);
    z.div(length).intoMemorySegment(scratch, at + Z, ORDER);
    scale.div(length).intoMemorySegment(scratch, at + INVERSE, ORDER);
    return largest.compare(GT, 0).and(largest.compare(LT, 0x7ff0_0000_0000_0000L)).allTrue();
  }

  /** Y of unit vectors. */
  private static void evaluate(SphereTables tables, MemorySegment scratchIn) {
    MemorySegment scratch = NativeViews.base(scratchIn);
    long at = NativeViews.at(scratchIn, 0, COMPONENTS + (long) tables.components * ROW);
    DoubleVector x = DoubleVector.fromMemorySegment(D, scratch, at + X, ORDER);
    DoubleVector y = DoubleVector.fromMemorySegment(D, scratch, at + Y, ORDER);
    DoubleVector z = DoubleVector.fromMemorySegment(D, scratch, at + Z, ORDER);
    int degree = tables.degree;
    DoubleVector c = DoubleVector.broadcast(D, 1);
    DoubleVector s = DoubleVector.zero(D);
    for (int m = 0; m <= degree; m++) {
      DoubleVector q = DoubleVector.broadcast(D, tables.start[m]);
      DoubleVector before = DoubleVector.zero(D);
      int factor = tables.column(m);
      long center = at + COMPONENTS + (long) (m * m + m) * ROW;
      long order = (long) m * ROW;
      // The sine first: at order 0 the cosine then takes its place.
      q.mul(s).intoMemorySegment(scratch, center - order, ORDER);
      q.mul(c).intoMemorySegment(scratch, center + order, ORDER);
      for (int l = m + 1; l <= degree; l++) {
        factor++;
        center += 2L * l * ROW;
        DoubleVector next = q.fma(y.mul(tables.up[factor]), before.mul(tables.back[factor]));
        before = q;
        q = next;
        q.mul(s).intoMemorySegment(scratch, center - order, ORDER);
        q.mul(c).intoMemorySegment(scratch, center + order, ORDER);
      }
      DoubleVector turned = z.mul(c).sub(x.mul(s));
      s = z.mul(s).add(x.mul(c));
      c = turned;
    }
  }

  /** dY/dv, three rows per component. */
  private static void differentiate(SphereTables tables, MemorySegment scratchIn) {
    MemorySegment scratch = NativeViews.base(scratchIn);
    long at = NativeViews.at(scratchIn, 0, COMPONENTS + 3L * tables.components * ROW);
    DoubleVector x = DoubleVector.fromMemorySegment(D, scratch, at + X, ORDER);
    DoubleVector y = DoubleVector.fromMemorySegment(D, scratch, at + Y, ORDER);
    DoubleVector z = DoubleVector.fromMemorySegment(D, scratch, at + Z, ORDER);
    DoubleVector inverse = DoubleVector.fromMemorySegment(D, scratch, at + INVERSE, ORDER);
    int degree = tables.degree;
    DoubleVector c = DoubleVector.broadcast(D, 1);
    DoubleVector s = DoubleVector.zero(D);
    DoubleVector cBelow = s;
    DoubleVector sBelow = s;
    for (int m = 0; m <= degree; m++) {
      // 1/|v| in the recurrence, m in what it is multiplied with.
      DoubleVector q = inverse.mul(tables.start[m]);
      DoubleVector slope = DoubleVector.zero(D);
      DoubleVector before = slope;
      DoubleVector slopeBefore = slope;
      DoubleVector mc = cBelow.mul(m);
      DoubleVector ms = sBelow.mul(m);
      int factor = tables.column(m);
      for (int l = m; l <= degree; l++, factor++) {
        if (l > m) {
          double up = tables.up[factor];
          double back = tables.back[factor];
          DoubleVector next = q.fma(y.mul(up), before.mul(back));
          DoubleVector slopeNext =
              y.fma(slope, q).fma(DoubleVector.broadcast(D, up), slopeBefore.mul(back));
          before = q;
          q = next;
          slopeBefore = slope;
          slope = slopeNext;
        }
        long center = at + COMPONENTS + 3L * (l * l + l) * ROW;
        long order = 3L * m * ROW;
        DoubleVector a = q.mul(mc);
        DoubleVector b = q.mul(ms);
        DoubleVector f = slope.mul(s);
        DoubleVector radial = x.fma(a, y.fma(f, z.mul(b)));
        a.sub(x.mul(radial)).intoMemorySegment(scratch, center - order, ORDER);
        f.sub(y.mul(radial)).intoMemorySegment(scratch, center - order + Y, ORDER);
        b.sub(z.mul(radial)).intoMemorySegment(scratch, center - order + Z, ORDER);
        f = slope.mul(c);
        radial = z.fma(a, y.mul(f)).sub(x.mul(b));
        b.neg().sub(x.mul(radial)).intoMemorySegment(scratch, center + order, ORDER);
        f.sub(y.mul(radial)).intoMemorySegment(scratch, center + order + Y, ORDER);
        a.sub(z.mul(radial)).intoMemorySegment(scratch, center + order + Z, ORDER);
      }
      cBelow = c;
      sBelow = s;
      c = z.mul(cBelow).sub(x.mul(sBelow));
      s = z.mul(sBelow).add(x.mul(cBelow));
    }
  }

  /** The change of Y with directions, which become tangential and divided by the length. */
  private static void push(SphereTables tables, MemorySegment scratchIn) {
    MemorySegment scratch = NativeViews.base(scratchIn);
    long at = NativeViews.at(scratchIn, 0, COMPONENTS + (long) tables.components * ROW);
    tangential(scratchIn);
    DoubleVector x = DoubleVector.fromMemorySegment(D, scratch, at + X, ORDER);
    DoubleVector y = DoubleVector.fromMemorySegment(D, scratch, at + Y, ORDER);
    DoubleVector z = DoubleVector.fromMemorySegment(D, scratch, at + Z, ORDER);
    DoubleVector tx = DoubleVector.fromMemorySegment(D, scratch, at + THREE, ORDER);
    DoubleVector ty = DoubleVector.fromMemorySegment(D, scratch, at + THREE + Y, ORDER);
    DoubleVector tz = DoubleVector.fromMemorySegment(D, scratch, at + THREE + Z, ORDER);
    int degree = tables.degree;
    DoubleVector c = DoubleVector.broadcast(D, 1);
    DoubleVector s = DoubleVector.zero(D);
    DoubleVector cBelow = s;
    DoubleVector sBelow = s;
    for (int m = 0; m <= degree; m++) {
      DoubleVector q = DoubleVector.broadcast(D, tables.start[m]);
      DoubleVector slope = DoubleVector.zero(D);
      DoubleVector before = slope;
      DoubleVector slopeBefore = slope;
      DoubleVector cosine = cBelow.mul(tz).sub(sBelow.mul(tx)).mul(m);
      DoubleVector sine = cBelow.mul(tx).add(sBelow.mul(tz)).mul(m);
      DoubleVector cosineSlope = c.mul(ty);
      DoubleVector sineSlope = s.mul(ty);
      int factor = tables.column(m);
      long center = at + COMPONENTS + (long) (m * m + m) * ROW;
      long order = (long) m * ROW;
      q.mul(sine).intoMemorySegment(scratch, center - order, ORDER);
      q.mul(cosine).intoMemorySegment(scratch, center + order, ORDER);
      for (int l = m + 1; l <= degree; l++) {
        factor++;
        center += 2L * l * ROW;
        double up = tables.up[factor];
        double back = tables.back[factor];
        DoubleVector next = q.fma(y.mul(up), before.mul(back));
        DoubleVector slopeNext =
            y.fma(slope, q).fma(DoubleVector.broadcast(D, up), slopeBefore.mul(back));
        before = q;
        q = next;
        slopeBefore = slope;
        slope = slopeNext;
        q.fma(sine, slope.mul(sineSlope)).intoMemorySegment(scratch, center - order, ORDER);
        q.fma(cosine, slope.mul(cosineSlope)).intoMemorySegment(scratch, center + order, ORDER);
      }
      cBelow = c;
      sBelow = s;
      c = z.mul(cBelow).sub(x.mul(sBelow));
      s = z.mul(sBelow).add(x.mul(cBelow));
    }
  }

  /** The sums of gradients over the components, made tangential and divided by the length. */
  private static void pull(SphereTables tables, MemorySegment scratchIn) {
    MemorySegment scratch = NativeViews.base(scratchIn);
    long at = NativeViews.at(scratchIn, 0, COMPONENTS + (long) tables.components * ROW);
    DoubleVector x = DoubleVector.fromMemorySegment(D, scratch, at + X, ORDER);
    DoubleVector y = DoubleVector.fromMemorySegment(D, scratch, at + Y, ORDER);
    DoubleVector z = DoubleVector.fromMemorySegment(D, scratch, at + Z, ORDER);
    int degree = tables.degree;
    DoubleVector c = DoubleVector.broadcast(D, 1);
    DoubleVector s = DoubleVector.zero(D);
    DoubleVector cBelow = s;
    DoubleVector sBelow = s;
    DoubleVector fx = s;
    DoubleVector fy = s;
    DoubleVector fz = s;
    for (int m = 0; m <= degree; m++) {
      DoubleVector q = DoubleVector.broadcast(D, tables.start[m]);
      DoubleVector slope = DoubleVector.zero(D);
      DoubleVector before = slope;
      DoubleVector slopeBefore = slope;
      int factor = tables.column(m);
      long center = at + COMPONENTS + (long) (m * m + m) * ROW;
      long order = (long) m * ROW;
      DoubleVector sine = q.mul(DoubleVector.fromMemorySegment(D, scratch, center - order, ORDER));
      DoubleVector cosine =
          q.mul(DoubleVector.fromMemorySegment(D, scratch, center + order, ORDER));
      DoubleVector sineSlope = slope;
      DoubleVector cosineSlope = slope;
      for (int l = m + 1; l <= degree; l++) {
        factor++;
        center += 2L * l * ROW;
        double up = tables.up[factor];
        double back = tables.back[factor];
        DoubleVector next = q.fma(y.mul(up), before.mul(back));
        DoubleVector slopeNext =
            y.fma(slope, q).fma(DoubleVector.broadcast(D, up), slopeBefore.mul(back));
        before = q;
        q = next;
        slopeBefore = slope;
        slope = slopeNext;
        DoubleVector g = DoubleVector.fromMemorySegment(D, scratch, center - order, ORDER);
        sine = q.fma(g, sine);
        sineSlope = slope.fma(g, sineSlope);
        g = DoubleVector.fromMemorySegment(D, scratch, center + order, ORDER);
        cosine = q.fma(g, cosine);
        cosineSlope = slope.fma(g, cosineSlope);
      }
      fx = sine.mul(cBelow).sub(cosine.mul(sBelow)).fma(DoubleVector.broadcast(D, m), fx);
      fy = cosineSlope.fma(c, sineSlope.fma(s, fy));
      fz = cosine.mul(cBelow).add(sine.mul(sBelow)).fma(DoubleVector.broadcast(D, m), fz);
      cBelow = c;
      sBelow = s;
      c = z.mul(cBelow).sub(x.mul(sBelow));
      s = z.mul(sBelow).add(x.mul(cBelow));
    }
    fx.intoMemorySegment(scratch, at + THREE, ORDER);
    fy.intoMemorySegment(scratch, at + THREE + Y, ORDER);
    fz.intoMemorySegment(scratch, at + THREE + Z, ORDER);
    tangential(scratchIn);
  }

  /** f = (f - n (n.f)) / |v| of the rows f at {@link #THREE}. */
  private static void tangential(MemorySegment scratchIn) {
    MemorySegment scratch = NativeViews.base(scratchIn);
    long at = NativeViews.at(scratchIn, 0, COMPONENTS);
    DoubleVector x = DoubleVector.fromMemorySegment(D, scratch, at + X, ORDER);
    DoubleVector y = DoubleVector.fromMemorySegment(D, scratch, at + Y, ORDER);
    DoubleVector z = DoubleVector.fromMemorySegment(D, scratch, at + Z, ORDER);
    DoubleVector inverse = DoubleVector.fromMemorySegment(D, scratch, at + INVERSE, ORDER);
    DoubleVector fx = DoubleVector.fromMemorySegment(D, scratch, at + THREE, ORDER);
    DoubleVector fy = DoubleVector.fromMemorySegment(D, scratch, at + THREE + Y, ORDER);
    DoubleVector fz = DoubleVector.fromMemorySegment(D, scratch, at + THREE + Z, ORDER);
    DoubleVector radial = x.fma(fx, y.fma(fy, z.mul(fz)));
    fx.sub(x.mul(radial)).mul(inverse).intoMemorySegment(scratch, at + THREE, ORDER);
    fy.sub(y.mul(radial)).mul(inverse).intoMemorySegment(scratch, at + THREE + Y, ORDER);
    fz.sub(z.mul(radial)).mul(inverse).intoMemorySegment(scratch, at + THREE + Z, ORDER);
  }

  /** Reads vectors into lanes; spare lanes repeat the last one. */
  private static void readVectors(
      MemorySegment operand,
      DType type,
      long offset,
      long stride,
      int count,
      long rows,
      MemorySegment scratch) {
    MemorySegment from = NativeViews.base(operand);
    MemorySegment to = NativeViews.base(scratch);
    long target = NativeViews.at(scratch, rows, 3L * ROW);
    long line = NativeViews.at(operand, offset, (count - 1) * stride + 3L * type.bytes());
    for (int lane = 0; lane < LANES; lane++) {
      boolean single = type == DType.F32;
      double x = single ? from.get(FLOAT, line) : from.get(DOUBLE, line);
      double y = single ? from.get(FLOAT, line + 4) : from.get(DOUBLE, line + 8);
      double z = single ? from.get(FLOAT, line + 8) : from.get(DOUBLE, line + 16);
      to.set(DOUBLE, target + X, x);
      to.set(DOUBLE, target + Y, y);
      to.set(DOUBLE, target + Z, z);
      target += Double.BYTES;
      line += lane < count - 1 ? stride : 0;
    }
  }

  /** Reads rows of an operand into lanes; spare lanes repeat the last row. */
  private static void read(
      MemorySegment operand,
      DType type,
      long offset,
      long stride,
      int count,
      int length,
      long rows,
      MemorySegment scratch) {
    long target = NativeViews.at(scratch, rows, (long) length * ROW);
    long source =
        NativeViews.at(operand, offset, (count - 1) * stride + (long) length * type.bytes());
    int tiled = 0;
    if (VectorTiles.SUPPORTED && count == LANES && length >= VectorTiles.SIZE) {
      int tiles = length / VectorTiles.SIZE;
      long step = (long) VectorTiles.SIZE * type.bytes();
      tiled = tiles * VectorTiles.SIZE;
      if (type == DType.F32) {
        VectorTiles.toDoubles(operand, source, stride, step, scratch, target, ROW, TILE, tiles);
      } else {
        VectorTiles.doubles(operand, source, stride, step, scratch, target, ROW, TILE, tiles);
      }
    }
    for (int lane = 0; lane < LANES; lane++) {
      long line = source + Math.min(lane, count - 1) * stride;
      readLine(operand, type, line, scratch, target + (long) lane * Double.BYTES, tiled, length);
    }
  }

  private static void readLine(
      MemorySegment operand,
      DType type,
      long line,
      MemorySegment scratch,
      long lane,
      int from,
      int to) {
    MemorySegment source = NativeViews.base(operand);
    MemorySegment target = NativeViews.base(scratch);
    if (type == DType.F32) {
      for (int i = from; i < to; i++) {
        float value = source.get(FLOAT, line + (long) i * Float.BYTES);
        target.set(DOUBLE, lane + (long) i * ROW, value);
      }
    } else {
      for (int i = from; i < to; i++) {
        double value = source.get(DOUBLE, line + (long) i * Double.BYTES);
        target.set(DOUBLE, lane + (long) i * ROW, value);
      }
    }
  }

  /** Writes lanes to rows of the result. */
  private static void write(
      SphereOperands o, long row, int count, int length, long rows, MemorySegment scratch) {
    long source = NativeViews.at(scratch, rows, (long) length * ROW);
    long bytes = (count - 1) * o.outStride + (long) length * o.type.bytes();
    long target = NativeViews.at(o.out, row * o.outStride, bytes);
    int tiled = 0;
    if (VectorTiles.SUPPORTED && count == LANES && length >= VectorTiles.SIZE) {
      int tiles = length / VectorTiles.SIZE;
      long step = (long) VectorTiles.SIZE * o.type.bytes();
      tiled = tiles * VectorTiles.SIZE;
      if (o.type == DType.F32) {
        VectorTiles.toFloats(scratch, source, ROW, TILE, o.out, target, o.outStride, step, tiles);
      } else {
        VectorTiles.doubles(scratch, source, ROW, TILE, o.out, target, o.outStride, step, tiles);
      }
    }
    for (int lane = 0; lane < count; lane++) {
      long line = target + lane * o.outStride;
      writeLine(o, line, scratch, source + (long) lane * Double.BYTES, tiled, length);
    }
  }

  private static void writeLine(
      SphereOperands o, long line, MemorySegment scratch, long lane, int from, int to) {
    MemorySegment source = NativeViews.base(scratch);
    MemorySegment target = NativeViews.base(o.out);
    if (o.type == DType.F32) {
      for (int i = from; i < to; i++) {
        double value = source.get(DOUBLE, lane + (long) i * ROW);
        target.set(FLOAT, line + (long) i * Float.BYTES, (float) value);
      }
    } else {
      for (int i = from; i < to; i++) {
        double value = source.get(DOUBLE, lane + (long) i * ROW);
        target.set(DOUBLE, line + (long) i * Double.BYTES, value);
      }
    }
  }

  /** Overwrites the results of zero vectors. */
  private static void blank(SphereOperands o, long row, long zeros, int length, double first) {
    for (long left = zeros; left != 0; left &= left - 1) {
      long offset = (row + Long.numberOfTrailingZeros(left)) * o.outStride;
      for (int i = 0; i < length; i++) {
        Reals.store(o.out, o.type, offset, i, i == 0 ? first : 0);
      }
    }
  }
}
