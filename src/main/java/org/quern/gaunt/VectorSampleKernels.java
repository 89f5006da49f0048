package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.MethodHandles;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.vector.VectorLanes;
import org.quern.tensor.DType;

/**
 * The primitives on the Vector API. The channels of a tile lie in the lanes; the zonal filters have
 * the points of the sphere there. Accumulators are locals and methods short, because only so the
 * compiler keeps them in registers.
 *
 * <p>The text is that for F32; the class for F64 is its {@link VectorTwin}. So no method has a
 * local of type float, and no number of bytes is a constant of the text.
 */
@SuppressWarnings("NarrowCalculation") // Offsets within a tile are small.
final class VectorSampleKernels implements SampleKernels {
  /**
   * Points whose sums over the lanes one method takes: with more of them the compiler gives up
   * inlining, and the last vectors become objects.
   */
  private static final int PAIR = 2;

  private static final VectorSpecies<Float> S =
      FloatVector.SPECIES_PREFERRED.length() > LANES
          ? FloatVector.SPECIES_512
          : FloatVector.SPECIES_PREFERRED;
  private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED.withOrder(LE);
  private static final ValueLayout.OfInt INT = ValueLayout.JAVA_INT_UNALIGNED.withOrder(LE);

  /** Bytes of an element, of a vector, and of a row of a tile. */
  private static final int SIZE = (int) FLOAT.byteSize();

  private static final int VECTOR = S.length() * SIZE;

  private static final int ROW = LANES * SIZE;

  /** Bytes between the columns of a packed matrix. */
  private static final int TABLE_STEP = BLOCK * SIZE;

  /** Bytes of the points of one call, and of a node's samples there. */
  private static final int POINT_BYTES = POINTS * SIZE;

  private static final int NODE_BYTES = POINTS * ROW;

  /** Loops of more steps than this are not to be; a bound that the compiler knows. */
  private static final int MOST = 1 << 24;

  private static final float[] STEPS = new float[64];

  static {
    for (int l = 0; l < STEPS.length; l++) {
      STEPS[l] = (float) SampleKernels.step(l);
    }
  }

  /** Makes the class for F64 when it is first asked for. */
  private static final class Doubles {
    static final SampleKernels KERNELS =
        (SampleKernels) VectorTwin.of(MethodHandles.lookup(), VectorSampleKernels.class);
  }

  /** The kernels for F32 or F64. */
  static SampleKernels of(DType type) {
    return type == DType.F64 ? Doubles.KERNELS : new VectorSampleKernels();
  }

  @Override
  public DType type() {
    return DType.F32;
  }

  private static FloatVector load(MemorySegment base, long at) {
    return FloatVector.fromMemorySegment(S, base, at, LE);
  }

  private static FloatVector spread(MemorySegment base, long at) {
    return FloatVector.broadcast(S, base.get(FLOAT, at));
  }

  private static long rows(MemorySegment tile, long row, long count) {
    return NativeViews.at(tile, row * ROW, count * ROW);
  }

  private static long elements(MemorySegment memory, long from, long count) {
    return NativeViews.at(memory, from * SIZE, count * SIZE);
  }

  @Override
  public void mix(
      MemorySegment table,
      long at,
      int rows,
      int columns,
      MemorySegment in,
      long inAt,
      long inStep,
      MemorySegment out,
      long outAt,
      long outStep,
      boolean add) {
    if (rows == 0) {
      return;
    }
    long tableFrom = elements(table, at, (long) TileTable.pad(rows) * columns);
    long inFrom = NativeViews.at(in, inAt, span(columns, inStep));
    long outFrom = NativeViews.at(out, outAt, span(rows, outStep));
    for (int lane = 0; lane < ROW; lane += VECTOR) {
      long t = tableFrom;
      long x = inFrom + lane;
      long to = outFrom + lane;
      int r = 0;
      for (; r <= rows - BLOCK; r += BLOCK) {
        mixEight(table, t, columns, in, x, inStep, out, to, outStep, add);
        t += (long) columns * TABLE_STEP;
        to += BLOCK * outStep;
      }
      if (r <= rows - 4) {
        mixFour(table, t, columns, in, x, inStep, out, to, outStep, add);
        r += 4;
        t += 4 * SIZE;
        to += 4 * outStep;
      }
      for (; r < rows; r++) {
        mixOne(table, t, columns, in, x, inStep, out, to, add);
        t += SIZE;
        to += outStep;
      }
    }
  }

  private static void mixEight(
      MemorySegment tableIn,
      long tableAt,
      int columns,
      MemorySegment xIn,
      long xAt,
      long xStep,
      MemorySegment outIn,
      long outAt,
      long outStep,
      boolean add) {
    MemorySegment table = NativeViews.base(tableIn);
    MemorySegment in = NativeViews.base(xIn);
    MemorySegment out = NativeViews.base(outIn);
    FloatVector a0 = FloatVector.zero(S);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    FloatVector a4 = a0;
    FloatVector a5 = a0;
    FloatVector a6 = a0;
    FloatVector a7 = a0;
    if (add) {
      a0 = load(out, outAt + 0 * outStep);
      a1 = load(out, outAt + 1 * outStep);
      a2 = load(out, outAt + 2 * outStep);
      a3 = load(out, outAt + 3 * outStep);
      a4 = load(out, outAt + 4 * outStep);
      a5 = load(out, outAt + 5 * outStep);
      a6 = load(out, outAt + 6 * outStep);
      a7 = load(out, outAt + 7 * outStep);
    }
    for (int c = 0, count = Math.min(columns, MOST); c < count; c++) {
      FloatVector x = load(in, xAt + c * xStep);
      long t = tableAt + (long) c * TABLE_STEP;
      a0 = x.fma(spread(table, t), a0);
      a1 = x.fma(spread(table, t + SIZE), a1);
      a2 = x.fma(spread(table, t + 2 * SIZE), a2);
      a3 = x.fma(spread(table, t + 3 * SIZE), a3);
      a4 = x.fma(spread(table, t + 4 * SIZE), a4);
      a5 = x.fma(spread(table, t + 5 * SIZE), a5);
      a6 = x.fma(spread(table, t + 6 * SIZE), a6);
      a7 = x.fma(spread(table, t + 7 * SIZE), a7);
    }
    a0.intoMemorySegment(out, outAt + 0 * outStep, LE);
    a1.intoMemorySegment(out, outAt + 1 * outStep, LE);
    a2.intoMemorySegment(out, outAt + 2 * outStep, LE);
    a3.intoMemorySegment(out, outAt + 3 * outStep, LE);
    a4.intoMemorySegment(out, outAt + 4 * outStep, LE);
    a5.intoMemorySegment(out, outAt + 5 * outStep, LE);
    a6.intoMemorySegment(out, outAt + 6 * outStep, LE);
    a7.intoMemorySegment(out, outAt + 7 * outStep, LE);
  }

  private static void mixFour(
      MemorySegment tableIn,
      long tableAt,
      int columns,
      MemorySegment xIn,
      long xAt,
      long xStep,
      MemorySegment outIn,
      long outAt,
      long outStep,
      boolean add) {
    MemorySegment table = NativeViews.base(tableIn);
    MemorySegment in = NativeViews.base(xIn);
    MemorySegment out = NativeViews.base(outIn);
    FloatVector a0 = FloatVector.zero(S);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    if (add) {
      a0 = load(out, outAt + 0 * outStep);
      a1 = load(out, outAt + 1 * outStep);
      a2 = load(out, outAt + 2 * outStep);
      a3 = load(out, outAt + 3 * outStep);
    }
    for (int c = 0, count = Math.min(columns, MOST); c < count; c++) {
      FloatVector x = load(in, xAt + c * xStep);
      long t = tableAt + (long) c * TABLE_STEP;
      a0 = x.fma(spread(table, t), a0);
      a1 = x.fma(spread(table, t + SIZE), a1);
      a2 = x.fma(spread(table, t + 2 * SIZE), a2);
      a3 = x.fma(spread(table, t + 3 * SIZE), a3);
    }
    a0.intoMemorySegment(out, outAt + 0 * outStep, LE);
    a1.intoMemorySegment(out, outAt + 1 * outStep, LE);
    a2.intoMemorySegment(out, outAt + 2 * outStep, LE);
    a3.intoMemorySegment(out, outAt + 3 * outStep, LE);
  }

  /** One row, in two sums: a single one would wait for itself at every step. */
  private static void mixOne(
      MemorySegment tableIn,
      long tableAt,
      int columns,
      MemorySegment xIn,
      long xAt,
      long xStep,
      MemorySegment outIn,
      long outAt,
      boolean add) {
    MemorySegment table = NativeViews.base(tableIn);
    MemorySegment in = NativeViews.base(xIn);
    MemorySegment out = NativeViews.base(outIn);
    FloatVector even = FloatVector.zero(S);
    FloatVector odd = even;
    if (add) {
      even = load(out, outAt);
    }
    int count = Math.min(columns, MOST);
    int c = 0;
    for (; c < count - 1; c += 2) {
      long t = tableAt + (long) c * TABLE_STEP;
      even = load(in, xAt + c * xStep).fma(spread(table, t), even);
      odd = load(in, xAt + (c + 1) * xStep).fma(spread(table, t + TABLE_STEP), odd);
    }
    if (c < count) {
      even = load(in, xAt + c * xStep).fma(spread(table, tableAt + (long) c * TABLE_STEP), even);
    }
    even.add(odd).intoMemorySegment(out, outAt, LE);
  }

  @Override
  public void unmix(
      MemorySegment tableIn,
      int columns,
      MemorySegment xIn,
      long inRow,
      MemorySegment outIn,
      long outAt,
      boolean add) {
    MemorySegment table = NativeViews.base(tableIn);
    MemorySegment in = NativeViews.base(xIn);
    MemorySegment out = NativeViews.base(outIn);
    long tableFrom = elements(tableIn, 0, (long) BLOCK * columns);
    long from = rows(xIn, inRow, FEW);
    long to = NativeViews.at(outIn, outAt, span(columns, ROW));
    for (int lane = 0; lane < ROW; lane += VECTOR) {
      FloatVector x0 = load(in, from + lane);
      FloatVector x1 = load(in, from + ROW + lane);
      FloatVector x2 = load(in, from + 2 * ROW + lane);
      FloatVector x3 = load(in, from + 3 * ROW + lane);
      for (int c = 0, count = Math.min(columns, MOST); c < count; c++) {
        long t = tableFrom + (long) c * TABLE_STEP;
        long at = to + (long) c * ROW + lane;
        FloatVector sum = x0.mul(spread(table, t));
        sum = x1.fma(spread(table, t + SIZE), sum);
        sum = x2.fma(spread(table, t + 2 * SIZE), sum);
        sum = x3.fma(spread(table, t + 3 * SIZE), sum);
        if (add) {
          sum = sum.add(load(out, at));
        }
        sum.intoMemorySegment(out, at, LE);
      }
    }
  }

  @Override
  public void collect(
      int[] order,
      DType from,
      MemorySegment xIn,
      long inAt,
      long inStep,
      MemorySegment outIn,
      long outRow) {
    MemorySegment in = NativeViews.base(xIn);
    MemorySegment out = NativeViews.base(outIn);
    long source = NativeViews.at(xIn, inAt, span(order.length, inStep));
    long target = rows(outIn, outRow, order.length);
    for (int r = 0; r < order.length; r++) {
      for (int lane = 0; lane < ROW; lane += VECTOR) {
        load(in, source + order[r] * inStep + lane)
            .intoMemorySegment(out, target + (long) r * ROW + lane, LE);
      }
    }
  }

  @Override
  public void distribute(
      int[] order,
      MemorySegment xIn,
      long inRow,
      DType to,
      MemorySegment outIn,
      long outAt,
      long outStep) {
    MemorySegment in = NativeViews.base(xIn);
    MemorySegment out = NativeViews.base(outIn);
    long source = rows(xIn, inRow, order.length);
    long target = NativeViews.at(outIn, outAt, span(order.length, outStep));
    for (int r = 0; r < order.length; r++) {
      for (int lane = 0; lane < ROW; lane += VECTOR) {
        load(in, source + (long) r * ROW + lane)
            .intoMemorySegment(out, target + order[r] * outStep + lane, LE);
      }
    }
  }

  /** Bytes from the first row to the end of the last. */
  private static long span(int rows, long step) {
    return rows == 0 ? 0 : (rows - 1) * step + ROW;
  }

  @Override
  public void butterfly(int rows, MemorySegment tileIn, long row) {
    MemorySegment tile = NativeViews.base(tileIn);
    long run = (long) rows * ROW;
    long from = rows(tileIn, row, 4L * rows);
    for (long at = from; at < from + run; at += VECTOR) {
      FloatVector p0 = load(tile, at);
      FloatVector p1 = load(tile, at + run);
      FloatVector p2 = load(tile, at + 2 * run);
      FloatVector p3 = load(tile, at + 3 * run);
      FloatVector near = p0.add(p1);
      FloatVector far = p2.add(p3);
      FloatVector nearOff = p0.sub(p1);
      FloatVector farOff = p2.sub(p3);
      near.add(far).intoMemorySegment(tile, at, LE);
      near.sub(far).intoMemorySegment(tile, at + run, LE);
      nearOff.sub(farOff).intoMemorySegment(tile, at + 2 * run, LE);
      nearOff.add(farOff).intoMemorySegment(tile, at + 3 * run, LE);
    }
  }

  @Override
  public void multiply(
      int rows,
      MemorySegment aIn,
      long aRow,
      MemorySegment bIn,
      long bRow,
      MemorySegment outIn,
      long outRow) {
    MemorySegment a = NativeViews.base(aIn);
    MemorySegment b = NativeViews.base(bIn);
    MemorySegment out = NativeViews.base(outIn);
    long aAt = rows(aIn, aRow, rows);
    long bAt = rows(bIn, bRow, rows);
    long outAt = rows(outIn, outRow, rows);
    int steps = Math.min(rows, MOST) * (LANES / S.length());
    for (int i = 0; i < steps; i++) {
      long at = (long) i * VECTOR;
      load(a, aAt + at).mul(load(b, bAt + at)).intoMemorySegment(out, outAt + at, LE);
    }
  }

  @Override
  public void powers(
      int rows,
      int orders,
      MemorySegment fIn,
      long fRow,
      MemorySegment wIn,
      long wRow,
      MemorySegment outIn,
      long outRow) {
    MemorySegment f = NativeViews.base(fIn);
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment out = NativeViews.base(outIn);
    long fAt = rows(fIn, fRow, rows);
    long wAt = rows(wIn, wRow, orders);
    long outAt = rows(outIn, outRow, rows);
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < ROW; lane += VECTOR) {
        long at = (long) r * ROW + lane;
        FloatVector base = load(f, fAt + at);
        FloatVector sum = FloatVector.zero(S);
        for (int k = orders - 1; k >= 0; k--) {
          sum = sum.add(load(w, wAt + (long) k * ROW + lane)).mul(base);
        }
        sum.intoMemorySegment(out, outAt + at, LE);
      }
    }
  }

  @Override
  public void powersBackward(
      int rows,
      int orders,
      MemorySegment fIn,
      long fRow,
      MemorySegment gIn,
      long gRow,
      MemorySegment wIn,
      long wRow,
      MemorySegment outIn,
      long outRow,
      MemorySegment gwIn,
      long gwRow) {
    MemorySegment f = NativeViews.base(fIn);
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment out = NativeViews.base(outIn);
    MemorySegment gw = NativeViews.base(gwIn);
    long fAt = rows(fIn, fRow, rows);
    long gAt = rows(gIn, gRow, rows);
    long wAt = rows(wIn, wRow, orders);
    long outAt = rows(outIn, outRow, rows);
    long gwAt = rows(gwIn, gwRow, orders);
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < ROW; lane += VECTOR) {
        long at = (long) r * ROW + lane;
        FloatVector base = load(f, fAt + at);
        FloatVector power = load(g, gAt + at);
        FloatVector sum = load(out, outAt + at);
        for (int k = 0; k < orders; k++) {
          long order = (long) k * ROW + lane;
          sum = power.mul(k + 1f).fma(load(w, wAt + order), sum);
          power = power.mul(base);
          load(gw, gwAt + order).add(power).intoMemorySegment(gw, gwAt + order, LE);
        }
        sum.intoMemorySegment(out, outAt + at, LE);
      }
    }
  }

  @Override
  public void powersBackwardChange(
      int rows,
      int orders,
      MemorySegment fIn,
      long fRow,
      MemorySegment dfIn,
      long dfRow,
      MemorySegment gIn,
      long gRow,
      MemorySegment wIn,
      long wRow,
      MemorySegment dwIn,
      long dwRow,
      MemorySegment outIn,
      long outRow,
      MemorySegment gwIn,
      long gwRow) {
    MemorySegment f = NativeViews.base(fIn);
    MemorySegment df = NativeViews.base(dfIn);
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment w = NativeViews.base(wIn);
    MemorySegment dw = NativeViews.base(dwIn);
    MemorySegment out = NativeViews.base(outIn);
    MemorySegment gw = NativeViews.base(gwIn);
    long fAt = rows(fIn, fRow, rows);
    long dfAt = rows(dfIn, dfRow, rows);
    long gAt = rows(gIn, gRow, rows);
    long wAt = rows(wIn, wRow, orders);
    long dwAt = rows(dwIn, dwRow, orders);
    long outAt = rows(outIn, outRow, rows);
    long gwAt = rows(gwIn, gwRow, orders);
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < ROW; lane += VECTOR) {
        long at = (long) r * ROW + lane;
        FloatVector base = load(f, fAt + at);
        FloatVector change = load(df, dfAt + at);
        FloatVector power = load(g, gAt + at);
        FloatVector before = FloatVector.zero(S);
        FloatVector sum = load(out, outAt + at);
        for (int k = 0; k < orders; k++) {
          long order = (long) k * ROW + lane;
          sum = power.mul(k + 1f).fma(load(dw, dwAt + order), sum);
          sum = before.mul((k + 1f) * k).fma(load(w, wAt + order), sum);
          before = power.mul(change);
          before
              .fma(FloatVector.broadcast(S, k + 1f), load(gw, gwAt + order))
              .intoMemorySegment(gw, gwAt + order, LE);
          power = power.mul(base);
        }
        sum.intoMemorySegment(out, outAt + at, LE);
      }
    }
  }

  @Override
  public void zonal(
      int edges,
      MemorySegment indexIn,
      long indexAt,
      MemorySegment directionsIn,
      MemorySegment coefficientsIn,
      int degree,
      MemorySegment pointsIn,
      long pointsAt,
      MemorySegment outIn,
      long outAt) {
    MemorySegment index = NativeViews.base(indexIn);
    long indexFrom = NativeViews.at(indexIn, indexAt * Integer.BYTES, (long) edges * Integer.BYTES);
    long directions = elements(directionsIn, 0, 0);
    long coefficients = elements(coefficientsIn, 0, 0);
    long points = elements(pointsIn, pointsAt, 3L * POINTS);
    long out = elements(outIn, outAt, (long) edges * POINTS);
    for (int i = 0, count = Math.min(edges, MOST); i < count; i++) {
      long edge = index.get(INT, indexFrom + (long) i * Integer.BYTES);
      long direction = directions + edge * (4 * SIZE);
      long coefficient = coefficients + edge * (degree + 1) * SIZE;
      for (int lane = 0; lane < POINT_BYTES; lane += VECTOR) {
        zonalOf(
            directionsIn,
            direction,
            coefficientsIn,
            coefficient,
            degree,
            pointsIn,
            points + lane,
            outIn,
            out + lane);
      }
      out += POINT_BYTES;
    }
  }

  private static void zonalOf(
      MemorySegment directionsIn,
      long direction,
      MemorySegment coefficientsIn,
      long coefficient,
      int degree,
      MemorySegment pointsIn,
      long points,
      MemorySegment outIn,
      long out) {
    MemorySegment coefficients = NativeViews.base(coefficientsIn);
    FloatVector cos = cosine(directionsIn, direction, pointsIn, points);
    FloatVector next = FloatVector.zero(S);
    FloatVector sum = spread(coefficients, coefficient + (long) degree * SIZE);
    for (int l = degree - 1; l >= 0; l--) {
      FloatVector held = sum;
      FloatVector term = spread(coefficients, coefficient + (long) l * SIZE);
      sum = held.fma(cos, next.fma(FloatVector.broadcast(S, -STEPS[l + 1]), term));
      next = held;
    }
    sum.intoMemorySegment(NativeViews.base(outIn), out, LE);
  }

  private static FloatVector cosine(
      MemorySegment directionsIn, long direction, MemorySegment pointsIn, long points) {
    MemorySegment directions = NativeViews.base(directionsIn);
    MemorySegment at = NativeViews.base(pointsIn);
    FloatVector cos = load(at, points).mul(spread(directions, direction));
    cos = load(at, points + POINT_BYTES).fma(spread(directions, direction + SIZE), cos);
    return load(at, points + 2 * POINT_BYTES).fma(spread(directions, direction + 2 * SIZE), cos);
  }

  @Override
  public void zonalBackward(
      long edge,
      MemorySegment directionsIn,
      MemorySegment coefficientsIn,
      int degree,
      MemorySegment pointsIn,
      long pointsAt,
      MemorySegment qIn,
      long qAt,
      MemorySegment gradient,
      long gradientAt) {
    MemorySegment coefficients = NativeViews.base(coefficientsIn);
    MemorySegment at = NativeViews.base(pointsIn);
    MemorySegment q = NativeViews.base(qIn);
    long direction = elements(directionsIn, 4 * edge, 4);
    long coefficient = elements(coefficientsIn, edge * (degree + 1), degree + 1);
    long points = elements(pointsIn, pointsAt, 3L * POINTS);
    long weights = elements(qIn, qAt, POINTS);
    for (int lane = 0; lane < POINT_BYTES; lane += VECTOR) {
      FloatVector cos = cosine(directionsIn, direction, pointsIn, points + lane);
      FloatVector weight = load(q, weights + lane);
      FloatVector before = FloatVector.zero(S);
      FloatVector legendre = FloatVector.broadcast(S, 1);
      FloatVector slopeBefore = before;
      FloatVector slope = before;
      FloatVector turn = before;
      for (int l = 0; l <= degree; l++) {
        add(gradient, gradientAt + l, weight.mul(legendre));
        turn = slope.fma(spread(coefficients, coefficient + (long) l * SIZE), turn);
        FloatVector step = FloatVector.broadcast(S, -STEPS[l]);
        FloatVector nextSlope = cos.fma(slope, slopeBefore.fma(step, legendre));
        FloatVector next = cos.fma(legendre, before.mul(step));
        before = legendre;
        legendre = next;
        slopeBefore = slope;
        slope = nextSlope;
      }
      turn = turn.mul(weight);
      add(gradient, gradientAt + degree + 1, turn.mul(load(at, points + lane)));
      add(gradient, gradientAt + degree + 2, turn.mul(load(at, points + POINT_BYTES + lane)));
      add(gradient, gradientAt + degree + 3, turn.mul(load(at, points + 2 * POINT_BYTES + lane)));
    }
  }

  @Override
  public void zonalChange(
      int edges,
      MemorySegment indexIn,
      long indexAt,
      MemorySegment directionsIn,
      MemorySegment coefficientsIn,
      MemorySegment turnsIn,
      MemorySegment changesIn,
      int degree,
      MemorySegment pointsIn,
      long pointsAt,
      MemorySegment outIn,
      long outAt) {
    MemorySegment index = NativeViews.base(indexIn);
    MemorySegment coefficients = NativeViews.base(coefficientsIn);
    MemorySegment changes = NativeViews.base(changesIn);
    MemorySegment out = NativeViews.base(outIn);
    long indexFrom = NativeViews.at(indexIn, indexAt * Integer.BYTES, (long) edges * Integer.BYTES);
    long points = elements(pointsIn, pointsAt, 3L * POINTS);
    long to = elements(outIn, outAt, (long) edges * POINTS);
    for (int i = 0, count = Math.min(edges, MOST); i < count; i++) {
      long edge = index.get(INT, indexFrom + (long) i * Integer.BYTES);
      long direction = elements(directionsIn, 4 * edge, 4);
      long turned = elements(turnsIn, 4 * edge, 4);
      long coefficient = elements(coefficientsIn, edge * (degree + 1), degree + 1);
      long change = elements(changesIn, edge * (degree + 1), degree + 1);
      for (int lane = 0; lane < POINT_BYTES; lane += VECTOR) {
        FloatVector cos = cosine(directionsIn, direction, pointsIn, points + lane);
        FloatVector turn = cosine(turnsIn, turned, pointsIn, points + lane);
        FloatVector before = FloatVector.zero(S);
        FloatVector legendre = FloatVector.broadcast(S, 1);
        FloatVector slopeBefore = before;
        FloatVector slope = before;
        FloatVector sum = before;
        for (int l = 0; l <= degree; l++) {
          long skipped = (long) l * SIZE;
          sum = legendre.fma(spread(changes, change + skipped), sum);
          sum = slope.mul(turn).fma(spread(coefficients, coefficient + skipped), sum);
          FloatVector step = FloatVector.broadcast(S, -STEPS[l]);
          FloatVector nextSlope = cos.fma(slope, slopeBefore.fma(step, legendre));
          FloatVector next = cos.fma(legendre, before.mul(step));
          before = legendre;
          legendre = next;
          slopeBefore = slope;
          slope = nextSlope;
        }
        sum.intoMemorySegment(out, to + lane, LE);
      }
      to += POINT_BYTES;
    }
  }

  @Override
  public void zonalBackwardChange(
      long edge,
      MemorySegment directionsIn,
      MemorySegment coefficientsIn,
      MemorySegment turnsIn,
      MemorySegment changesIn,
      int degree,
      MemorySegment pointsIn,
      long pointsAt,
      MemorySegment qIn,
      long qAt,
      MemorySegment gradient,
      long gradientAt) {
    MemorySegment coefficients = NativeViews.base(coefficientsIn);
    MemorySegment changes = NativeViews.base(changesIn);
    MemorySegment at = NativeViews.base(pointsIn);
    MemorySegment q = NativeViews.base(qIn);
    long direction = elements(directionsIn, 4 * edge, 4);
    long turned = elements(turnsIn, 4 * edge, 4);
    long coefficient = elements(coefficientsIn, edge * (degree + 1), degree + 1);
    long changed = elements(changesIn, edge * (degree + 1), degree + 1);
    long points = elements(pointsIn, pointsAt, 3L * POINTS);
    long weights = elements(qIn, qAt, 2L * POINTS);
    for (int lane = 0; lane < POINT_BYTES; lane += VECTOR) {
      FloatVector cos = cosine(directionsIn, direction, pointsIn, points + lane);
      FloatVector turn = cosine(turnsIn, turned, pointsIn, points + lane);
      FloatVector weight = load(q, weights + lane);
      FloatVector change = load(q, weights + POINT_BYTES + lane);
      FloatVector weightTurn = weight.mul(turn);
      FloatVector before = FloatVector.zero(S);
      FloatVector legendre = FloatVector.broadcast(S, 1);
      FloatVector slopeBefore = before;
      FloatVector slope = before;
      FloatVector bendBefore = before;
      FloatVector bend = before;
      FloatVector first = before;
      FloatVector second = before;
      for (int l = 0; l <= degree; l++) {
        long skipped = (long) l * SIZE;
        FloatVector c = spread(coefficients, coefficient + skipped);
        add(gradient, gradientAt + l, change.fma(legendre, weightTurn.mul(slope)));
        first = slope.fma(c, first);
        second = slope.fma(spread(changes, changed + skipped), second);
        second = bend.mul(turn).fma(c, second);
        FloatVector step = FloatVector.broadcast(S, -STEPS[l]);
        FloatVector nextBend = cos.fma(bend, bendBefore.fma(step, slope.add(slope)));
        FloatVector nextSlope = cos.fma(slope, slopeBefore.fma(step, legendre));
        FloatVector next = cos.fma(legendre, before.mul(step));
        before = legendre;
        legendre = next;
        slopeBefore = slope;
        slope = nextSlope;
        bendBefore = bend;
        bend = nextBend;
      }
      second = change.fma(first, weight.mul(second));
      first = first.mul(weight);
      for (int axis = 0; axis < 3; axis++) {
        FloatVector along = load(at, points + (long) axis * POINT_BYTES + lane);
        add(gradient, gradientAt + degree + 1 + axis, second.mul(along));
        add(gradient, gradientAt + degree + 4 + axis, first.mul(along));
      }
    }
  }

  private static void add(MemorySegment gradient, long index, FloatVector terms) {
    double old = gradient.getAtIndex(ValueLayout.JAVA_DOUBLE, index);
    gradient.setAtIndex(ValueLayout.JAVA_DOUBLE, index, old + VectorLanes.sum(terms));
  }

  @Override
  public void gather(
      int edges,
      MemorySegment nodes,
      MemorySegment index,
      long listAt,
      MemorySegment filter,
      long filterAt,
      MemorySegment scale,
      long scaleAt,
      long scaleStep,
      MemorySegment x,
      long xRow,
      MemorySegment out,
      long outRow) {
    long bytes = (long) edges * Integer.BYTES;
    long nodesFrom = NativeViews.at(nodes, listAt * Integer.BYTES, bytes);
    long indexFrom = NativeViews.at(index, listAt * Integer.BYTES, bytes);
    long filterFrom = elements(filter, filterAt, (long) edges * POINTS);
    long xFrom = rows(x, xRow, 0);
    long outFrom = rows(out, outRow, POINTS);
    long scaleFrom = NativeViews.at(scale, scaleAt, 0);
    for (int lane = 0; lane < ROW; lane += VECTOR) {
      for (int s = 0; s < POINTS; s += BLOCK) {
        long samples = xFrom + (long) s * ROW + lane;
        long sums = outFrom + (long) s * ROW + lane;
        long factors = filterFrom + (long) s * SIZE;
        if (scaleStep != 0) {
          gatherScaled(
              edges,
              nodes,
              nodesFrom,
              index,
              indexFrom,
              filter,
              factors,
              scale,
              scaleFrom + lane,
              scaleStep,
              x,
              samples,
              out,
              sums);
        } else {
          gatherPlain(edges, nodes, nodesFrom, filter, factors, x, samples, out, sums);
        }
      }
    }
  }

  private static void gatherPlain(
      int edges,
      MemorySegment nodesIn,
      long nodesAt,
      MemorySegment filterIn,
      long filterAt,
      MemorySegment xIn,
      long xAt,
      MemorySegment outIn,
      long outAt) {
    MemorySegment nodes = NativeViews.base(nodesIn);
    MemorySegment filter = NativeViews.base(filterIn);
    MemorySegment x = NativeViews.base(xIn);
    MemorySegment out = NativeViews.base(outIn);
    FloatVector a0 = FloatVector.zero(S);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    FloatVector a4 = a0;
    FloatVector a5 = a0;
    FloatVector a6 = a0;
    FloatVector a7 = a0;
    for (int i = 0, count = Math.min(edges, MOST); i < count; i++) {
      long from = xAt + nodes.get(INT, nodesAt + (long) i * Integer.BYTES) * (long) NODE_BYTES;
      long f = filterAt + (long) i * POINT_BYTES;
      a0 = load(x, from).fma(spread(filter, f), a0);
      a1 = load(x, from + ROW).fma(spread(filter, f + SIZE), a1);
      a2 = load(x, from + 2 * ROW).fma(spread(filter, f + 2 * SIZE), a2);
      a3 = load(x, from + 3 * ROW).fma(spread(filter, f + 3 * SIZE), a3);
      a4 = load(x, from + 4 * ROW).fma(spread(filter, f + 4 * SIZE), a4);
      a5 = load(x, from + 5 * ROW).fma(spread(filter, f + 5 * SIZE), a5);
      a6 = load(x, from + 6 * ROW).fma(spread(filter, f + 6 * SIZE), a6);
      a7 = load(x, from + 7 * ROW).fma(spread(filter, f + 7 * SIZE), a7);
    }
    a0.intoMemorySegment(out, outAt, LE);
    a1.intoMemorySegment(out, outAt + ROW, LE);
    a2.intoMemorySegment(out, outAt + 2 * ROW, LE);
    a3.intoMemorySegment(out, outAt + 3 * ROW, LE);
    a4.intoMemorySegment(out, outAt + 4 * ROW, LE);
    a5.intoMemorySegment(out, outAt + 5 * ROW, LE);
    a6.intoMemorySegment(out, outAt + 6 * ROW, LE);
    a7.intoMemorySegment(out, outAt + 7 * ROW, LE);
  }

  private static void gatherScaled(
      int edges,
      MemorySegment nodesIn,
      long nodesAt,
      MemorySegment indexIn,
      long indexAt,
      MemorySegment filterIn,
      long filterAt,
      MemorySegment scaleIn,
      long scaleAt,
      long scaleStep,
      MemorySegment xIn,
      long xAt,
      MemorySegment outIn,
      long outAt) {
    MemorySegment nodes = NativeViews.base(nodesIn);
    MemorySegment index = NativeViews.base(indexIn);
    MemorySegment filter = NativeViews.base(filterIn);
    MemorySegment scales = NativeViews.base(scaleIn);
    MemorySegment x = NativeViews.base(xIn);
    MemorySegment out = NativeViews.base(outIn);
    FloatVector a0 = FloatVector.zero(S);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    FloatVector a4 = a0;
    FloatVector a5 = a0;
    FloatVector a6 = a0;
    FloatVector a7 = a0;
    for (int i = 0, count = Math.min(edges, MOST); i < count; i++) {
      long from = xAt + nodes.get(INT, nodesAt + (long) i * Integer.BYTES) * (long) NODE_BYTES;
      long f = filterAt + (long) i * POINT_BYTES;
      long edge = index.get(INT, indexAt + (long) i * Integer.BYTES);
      FloatVector scale = load(scales, scaleAt + edge * scaleStep);
      a0 = load(x, from).fma(scale.mul(spread(filter, f)), a0);
      a1 = load(x, from + ROW).fma(scale.mul(spread(filter, f + SIZE)), a1);
      a2 = load(x, from + 2 * ROW).fma(scale.mul(spread(filter, f + 2 * SIZE)), a2);
      a3 = load(x, from + 3 * ROW).fma(scale.mul(spread(filter, f + 3 * SIZE)), a3);
      a4 = load(x, from + 4 * ROW).fma(scale.mul(spread(filter, f + 4 * SIZE)), a4);
      a5 = load(x, from + 5 * ROW).fma(scale.mul(spread(filter, f + 5 * SIZE)), a5);
      a6 = load(x, from + 6 * ROW).fma(scale.mul(spread(filter, f + 6 * SIZE)), a6);
      a7 = load(x, from + 7 * ROW).fma(scale.mul(spread(filter, f + 7 * SIZE)), a7);
    }
    a0.intoMemorySegment(out, outAt, LE);
    a1.intoMemorySegment(out, outAt + ROW, LE);
    a2.intoMemorySegment(out, outAt + 2 * ROW, LE);
    a3.intoMemorySegment(out, outAt + 3 * ROW, LE);
    a4.intoMemorySegment(out, outAt + 4 * ROW, LE);
    a5.intoMemorySegment(out, outAt + 5 * ROW, LE);
    a6.intoMemorySegment(out, outAt + 6 * ROW, LE);
    a7.intoMemorySegment(out, outAt + 7 * ROW, LE);
  }

  @Override
  public void contract(
      int blocks,
      MemorySegment xIn,
      long xRow,
      MemorySegment gIn,
      long gRow,
      long step,
      MemorySegment filterIn,
      long filterAt,
      boolean scaled,
      MemorySegment scaleIn,
      long scaleAt,
      long scaleStep,
      MemorySegment qIn,
      long qAt,
      MemorySegment gsIn,
      long gsAt,
      long gsStep) {
    long span = (blocks - 1) * step + POINTS;
    long xFrom = rows(xIn, xRow, span);
    long gFrom = rows(gIn, gRow, span);
    long filterFrom = elements(filterIn, filterAt, POINTS);
    long qFrom = elements(qIn, qAt, POINTS);
    for (int lane = 0; lane < ROW; lane += VECTOR) {
      if (scaled) {
        long scaleFrom = NativeViews.at(scaleIn, scaleAt, span(blocks, scaleStep)) + lane;
        long gsFrom = NativeViews.at(gsIn, gsAt, span(blocks, gsStep)) + lane;
        for (int s = 0; s < POINTS; s += FEW) {
          contractScaled(
              blocks,
              xIn,
              xFrom + (long) s * ROW + lane,
              gIn,
              gFrom + (long) s * ROW + lane,
              step * ROW,
              filterIn,
              filterFrom + (long) s * SIZE,
              scaleIn,
              scaleFrom,
              scaleStep,
              qIn,
              qFrom + (long) s * SIZE,
              gsIn,
              gsFrom,
              gsStep);
        }
      } else {
        for (int s = 0; s < POINTS; s += PAIR) {
          contractPlain(
              blocks,
              xIn,
              xFrom + (long) s * ROW + lane,
              gIn,
              gFrom + (long) s * ROW + lane,
              step * ROW,
              qIn,
              qFrom + (long) s * SIZE);
        }
      }
    }
  }

  private static void contractPlain(
      int blocks,
      MemorySegment xIn,
      long xAt,
      MemorySegment gIn,
      long gAt,
      long step,
      MemorySegment qIn,
      long qAt) {
    MemorySegment x = NativeViews.base(xIn);
    MemorySegment g = NativeViews.base(gIn);
    FloatVector a0 = FloatVector.zero(S);
    FloatVector a1 = a0;
    for (int block = 0, count = Math.min(blocks, MOST); block < count; block++) {
      long from = xAt + block * step;
      long to = gAt + block * step;
      a0 = load(x, from).fma(load(g, to), a0);
      a1 = load(x, from + ROW).fma(load(g, to + ROW), a1);
    }
    MemorySegment q = NativeViews.base(qIn);
    addSum(q, qAt, a0);
    addSum(q, qAt + SIZE, a1);
  }

  private static void contractScaled(
      int blocks,
      MemorySegment xIn,
      long xAt,
      MemorySegment gIn,
      long gAt,
      long step,
      MemorySegment filterIn,
      long filterAt,
      MemorySegment scaleIn,
      long scaleAt,
      long scaleStep,
      MemorySegment qIn,
      long qAt,
      MemorySegment gsIn,
      long gsAt,
      long gsStep) {
    MemorySegment x = NativeViews.base(xIn);
    MemorySegment g = NativeViews.base(gIn);
    MemorySegment filter = NativeViews.base(filterIn);
    MemorySegment scales = NativeViews.base(scaleIn);
    MemorySegment gs = NativeViews.base(gsIn);
    FloatVector a0 = FloatVector.zero(S);
    FloatVector a1 = a0;
    FloatVector a2 = a0;
    FloatVector a3 = a0;
    for (int block = 0, count = Math.min(blocks, MOST); block < count; block++) {
      long from = xAt + block * step;
      long to = gAt + block * step;
      FloatVector scale = load(scales, scaleAt + block * scaleStep);
      FloatVector even = load(gs, gsAt + block * gsStep);
      FloatVector odd = FloatVector.zero(S);
      FloatVector p0 = load(x, from).mul(load(g, to));
      a0 = p0.fma(scale, a0);
      even = p0.fma(spread(filter, filterAt), even);
      FloatVector p1 = load(x, from + ROW).mul(load(g, to + ROW));
      a1 = p1.fma(scale, a1);
      odd = p1.fma(spread(filter, filterAt + SIZE), odd);
      FloatVector p2 = load(x, from + 2 * ROW).mul(load(g, to + 2 * ROW));
      a2 = p2.fma(scale, a2);
      even = p2.fma(spread(filter, filterAt + 2 * SIZE), even);
      FloatVector p3 = load(x, from + 3 * ROW).mul(load(g, to + 3 * ROW));
      a3 = p3.fma(scale, a3);
      odd = p3.fma(spread(filter, filterAt + 3 * SIZE), odd);
      even.add(odd).intoMemorySegment(gs, gsAt + block * gsStep, LE);
    }
    MemorySegment q = NativeViews.base(qIn);
    addSum(q, qAt, a0);
    addSum(q, qAt + SIZE, a1);
    addSum(q, qAt + 2 * SIZE, a2);
    addSum(q, qAt + 3 * SIZE, a3);
  }

  /**
   * Adds the sum over the lanes of a vector to an element. After a loop the compiler inlines only
   * methods of less than 35 bytes, and a vector that is passed on becomes an object.
   */
  private static void addSum(MemorySegment q, long at, FloatVector a) {
    q.set(FLOAT, at, q.get(FLOAT, at) + VectorLanes.sum(a));
  }

  @Override
  public void scale(
      int rows,
      MemorySegment xIn,
      long inAt,
      long inStep,
      MemorySegment factorIn,
      long factorAt,
      MemorySegment outIn,
      long outAt,
      long outStep,
      boolean add) {
    MemorySegment in = NativeViews.base(xIn);
    MemorySegment factors = NativeViews.base(factorIn);
    MemorySegment out = NativeViews.base(outIn);
    long from = NativeViews.at(xIn, inAt, span(rows, inStep));
    long to = NativeViews.at(outIn, outAt, span(rows, outStep));
    long factorFrom = NativeViews.at(factorIn, factorAt, ROW);
    for (int lane = 0; lane < ROW; lane += VECTOR) {
      FloatVector factor = load(factors, factorFrom + lane);
      for (int r = 0, count = Math.min(rows, MOST); r < count; r++) {
        FloatVector product = load(in, from + r * inStep + lane).mul(factor);
        long row = to + r * outStep + lane;
        if (add) {
          product = product.add(load(out, row));
        }
        product.intoMemorySegment(out, row, LE);
      }
    }
  }
}
