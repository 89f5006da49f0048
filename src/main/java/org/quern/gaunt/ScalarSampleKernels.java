package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/** The formulas in double precision, as they read. */
final class ScalarSampleKernels implements SampleKernels {
  private static double get(MemorySegment tile, long row, int lane) {
    return tile.getAtIndex(JAVA_DOUBLE, row * LANES + lane);
  }

  private static void set(MemorySegment tile, long row, int lane, double value) {
    tile.setAtIndex(JAVA_DOUBLE, row * LANES + lane, value);
  }

  @Override
  public DType type() {
    return DType.F64;
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
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < LANES; lane++) {
        double sum = add ? at(out, outAt + r * outStep, lane) : 0;
        for (int c = 0; c < columns; c++) {
          double factor = table.getAtIndex(JAVA_DOUBLE, at + TileTable.place(r, c, columns));
          sum += factor * at(in, inAt + c * inStep, lane);
        }
        put(out, outAt + r * outStep, lane, sum);
      }
    }
  }

  @Override
  public void unmix(
      MemorySegment table,
      int columns,
      MemorySegment in,
      long inRow,
      MemorySegment out,
      long outAt,
      boolean add) {
    for (int c = 0; c < columns; c++) {
      long to = outAt + (long) c * LANES * Double.BYTES;
      for (int lane = 0; lane < LANES; lane++) {
        double sum = add ? at(out, to, lane) : 0;
        for (int r = 0; r < FEW; r++) {
          double factor = table.getAtIndex(JAVA_DOUBLE, TileTable.place(r, c, columns));
          sum += factor * get(in, inRow + r, lane);
        }
        put(out, to, lane, sum);
      }
    }
  }

  @Override
  public void collect(
      int[] order,
      DType from,
      MemorySegment in,
      long inAt,
      long inStep,
      MemorySegment out,
      long outRow) {
    for (int r = 0; r < order.length; r++) {
      for (int lane = 0; lane < LANES; lane++) {
        long at = inAt + order[r] * inStep + (long) lane * from.bytes();
        set(out, outRow + r, lane, Cells.get(in, from, at));
      }
    }
  }

  @Override
  public void distribute(
      int[] order,
      MemorySegment in,
      long inRow,
      DType to,
      MemorySegment out,
      long outAt,
      long outStep) {
    for (int r = 0; r < order.length; r++) {
      for (int lane = 0; lane < LANES; lane++) {
        long at = outAt + order[r] * outStep + (long) lane * to.bytes();
        Cells.set(out, to, at, get(in, inRow + r, lane));
      }
    }
  }

  @Override
  public void butterfly(int rows, MemorySegment tile, long row) {
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < LANES; lane++) {
        double p0 = get(tile, row + r, lane);
        double p1 = get(tile, row + rows + r, lane);
        double p2 = get(tile, row + 2L * rows + r, lane);
        double p3 = get(tile, row + 3L * rows + r, lane);
        set(tile, row + r, lane, p0 + p1 + p2 + p3);
        set(tile, row + rows + r, lane, p0 + p1 - p2 - p3);
        set(tile, row + 2L * rows + r, lane, p0 - p1 - p2 + p3);
        set(tile, row + 3L * rows + r, lane, p0 - p1 + p2 - p3);
      }
    }
  }

  @Override
  public void multiply(
      int rows,
      MemorySegment a,
      long aRow,
      MemorySegment b,
      long bRow,
      MemorySegment out,
      long outRow) {
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < LANES; lane++) {
        set(out, outRow + r, lane, get(a, aRow + r, lane) * get(b, bRow + r, lane));
      }
    }
  }

  @Override
  public void powers(
      int rows,
      int orders,
      MemorySegment f,
      long fRow,
      MemorySegment w,
      long wRow,
      MemorySegment out,
      long outRow) {
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < LANES; lane++) {
        double base = get(f, fRow + r, lane);
        double sum = 0;
        for (int k = orders - 1; k >= 0; k--) {
          sum = (sum + get(w, wRow + k, lane)) * base;
        }
        set(out, outRow + r, lane, sum);
      }
    }
  }

  @Override
  public void powersBackward(
      int rows,
      int orders,
      MemorySegment f,
      long fRow,
      MemorySegment g,
      long gRow,
      MemorySegment w,
      long wRow,
      MemorySegment out,
      long outRow,
      MemorySegment gw,
      long gwRow) {
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < LANES; lane++) {
        double base = get(f, fRow + r, lane);
        double power = get(g, gRow + r, lane);
        double sum = get(out, outRow + r, lane);
        for (int k = 0; k < orders; k++) {
          sum += (k + 1) * get(w, wRow + k, lane) * power;
          power *= base;
          set(gw, gwRow + k, lane, get(gw, gwRow + k, lane) + power);
        }
        set(out, outRow + r, lane, sum);
      }
    }
  }

  @Override
  public void powersBackwardChange(
      int rows,
      int orders,
      MemorySegment f,
      long fRow,
      MemorySegment df,
      long dfRow,
      MemorySegment g,
      long gRow,
      MemorySegment w,
      long wRow,
      MemorySegment dw,
      long dwRow,
      MemorySegment out,
      long outRow,
      MemorySegment gw,
      long gwRow) {
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < LANES; lane++) {
        double base = get(f, fRow + r, lane);
        double change = get(df, dfRow + r, lane);
        double power = get(g, gRow + r, lane);
        double before = 0;
        double sum = get(out, outRow + r, lane);
        for (int k = 0; k < orders; k++) {
          sum += (k + 1) * get(dw, dwRow + k, lane) * power;
          sum += (k + 1.0) * k * get(w, wRow + k, lane) * before;
          double term = (k + 1) * power * change;
          set(gw, gwRow + k, lane, get(gw, gwRow + k, lane) + term);
          before = power * change;
          power *= base;
        }
        set(out, outRow + r, lane, sum);
      }
    }
  }

  @Override
  public void zonal(
      int edges,
      MemorySegment index,
      long indexAt,
      MemorySegment directions,
      MemorySegment coefficients,
      int degree,
      MemorySegment points,
      long pointsAt,
      MemorySegment out,
      long outAt) {
    for (int i = 0; i < edges; i++) {
      long edge = index.getAtIndex(JAVA_INT, indexAt + i);
      for (int s = 0; s < POINTS; s++) {
        double cos = cosine(edge, directions, points, pointsAt + s);
        double before = 0;
        double legendre = 1;
        double sum = 0;
        for (int l = 0; l <= degree; l++) {
          sum += coefficients.getAtIndex(JAVA_DOUBLE, edge * (degree + 1) + l) * legendre;
          double next = cos * legendre - SampleKernels.step(l) * before;
          before = legendre;
          legendre = next;
        }
        out.setAtIndex(JAVA_DOUBLE, outAt + (long) i * POINTS + s, sum);
      }
    }
  }

  @Override
  public void zonalBackward(
      long edge,
      MemorySegment directions,
      MemorySegment coefficients,
      int degree,
      MemorySegment points,
      long pointsAt,
      MemorySegment q,
      long qAt,
      MemorySegment gradient,
      long gradientAt) {
    for (int s = 0; s < POINTS; s++) {
      double cos = cosine(edge, directions, points, pointsAt + s);
      double weight = q.getAtIndex(JAVA_DOUBLE, qAt + s);
      double before = 0;
      double legendre = 1;
      double slopeBefore = 0;
      double slope = 0;
      double turn = 0;
      for (int l = 0; l <= degree; l++) {
        add(gradient, gradientAt + l, weight * legendre);
        turn += coefficients.getAtIndex(JAVA_DOUBLE, edge * (degree + 1) + l) * slope;
        double next = cos * legendre - SampleKernels.step(l) * before;
        double nextSlope = legendre + cos * slope - SampleKernels.step(l) * slopeBefore;
        before = legendre;
        legendre = next;
        slopeBefore = slope;
        slope = nextSlope;
      }
      for (int axis = 0; axis < 3; axis++) {
        double along = points.getAtIndex(JAVA_DOUBLE, pointsAt + s + (long) axis * POINTS);
        add(gradient, gradientAt + degree + 1 + axis, weight * turn * along);
      }
    }
  }

  @Override
  public void zonalChange(
      int edges,
      MemorySegment index,
      long indexAt,
      MemorySegment directions,
      MemorySegment coefficients,
      MemorySegment turns,
      MemorySegment changes,
      int degree,
      MemorySegment points,
      long pointsAt,
      MemorySegment out,
      long outAt) {
    for (int i = 0; i < edges; i++) {
      long edge = index.getAtIndex(JAVA_INT, indexAt + i);
      for (int s = 0; s < POINTS; s++) {
        double cos = cosine(edge, directions, points, pointsAt + s);
        double turn = cosine(edge, turns, points, pointsAt + s);
        double before = 0;
        double legendre = 1;
        double slopeBefore = 0;
        double slope = 0;
        double sum = 0;
        for (int l = 0; l <= degree; l++) {
          long at = edge * (degree + 1) + l;
          sum += changes.getAtIndex(JAVA_DOUBLE, at) * legendre;
          sum += coefficients.getAtIndex(JAVA_DOUBLE, at) * slope * turn;
          double step = SampleKernels.step(l);
          double next = cos * legendre - step * before;
          double nextSlope = legendre + cos * slope - step * slopeBefore;
          before = legendre;
          legendre = next;
          slopeBefore = slope;
          slope = nextSlope;
        }
        out.setAtIndex(JAVA_DOUBLE, outAt + (long) i * POINTS + s, sum);
      }
    }
  }

  @Override
  public void zonalBackwardChange(
      long edge,
      MemorySegment directions,
      MemorySegment coefficients,
      MemorySegment turns,
      MemorySegment changes,
      int degree,
      MemorySegment points,
      long pointsAt,
      MemorySegment q,
      long qAt,
      MemorySegment gradient,
      long gradientAt) {
    for (int s = 0; s < POINTS; s++) {
      double cos = cosine(edge, directions, points, pointsAt + s);
      double turn = cosine(edge, turns, points, pointsAt + s);
      double weight = q.getAtIndex(JAVA_DOUBLE, qAt + s);
      double change = q.getAtIndex(JAVA_DOUBLE, qAt + POINTS + s);
      double before = 0;
      double legendre = 1;
      double slopeBefore = 0;
      double slope = 0;
      double bendBefore = 0;
      double bend = 0;
      double first = 0;
      double second = 0;
      for (int l = 0; l <= degree; l++) {
        long at = edge * (degree + 1) + l;
        double c = coefficients.getAtIndex(JAVA_DOUBLE, at);
        add(gradient, gradientAt + l, change * legendre + weight * slope * turn);
        first += c * slope;
        second += changes.getAtIndex(JAVA_DOUBLE, at) * slope + c * bend * turn;
        double step = SampleKernels.step(l);
        double next = cos * legendre - step * before;
        double nextSlope = legendre + cos * slope - step * slopeBefore;
        double nextBend = 2 * slope + cos * bend - step * bendBefore;
        before = legendre;
        legendre = next;
        slopeBefore = slope;
        slope = nextSlope;
        bendBefore = bend;
        bend = nextBend;
      }
      for (int axis = 0; axis < 3; axis++) {
        double along = points.getAtIndex(JAVA_DOUBLE, pointsAt + s + (long) axis * POINTS);
        long to = gradientAt + degree + 1 + axis;
        add(gradient, to, (change * first + weight * second) * along);
        add(gradient, to + 3, weight * first * along);
      }
    }
  }

  private static double cosine(
      long edge, MemorySegment directions, MemorySegment points, long point) {
    double cos = 0;
    for (int axis = 0; axis < 3; axis++) {
      cos +=
          directions.getAtIndex(JAVA_DOUBLE, 4 * edge + axis)
              * points.getAtIndex(JAVA_DOUBLE, point + (long) axis * POINTS);
    }
    return cos;
  }

  private static void add(MemorySegment target, long index, double value) {
    target.setAtIndex(JAVA_DOUBLE, index, target.getAtIndex(JAVA_DOUBLE, index) + value);
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
    for (int s = 0; s < POINTS; s++) {
      for (int lane = 0; lane < LANES; lane++) {
        double sum = 0;
        for (int i = 0; i < edges; i++) {
          long node = nodes.getAtIndex(JAVA_INT, listAt + i);
          double value = get(x, xRow + node * POINTS + s, lane);
          if (scaleStep != 0) {
            long edge = index.getAtIndex(JAVA_INT, listAt + i);
            value *= at(scale, scaleAt + edge * scaleStep, lane);
          }
          sum += filter.getAtIndex(JAVA_DOUBLE, filterAt + (long) i * POINTS + s) * value;
        }
        set(out, outRow + s, lane, sum);
      }
    }
  }

  @Override
  public void contract(
      int blocks,
      MemorySegment x,
      long xRow,
      MemorySegment g,
      long gRow,
      long step,
      MemorySegment filter,
      long filterAt,
      boolean scaled,
      MemorySegment scale,
      long scaleAt,
      long scaleStep,
      MemorySegment q,
      long qAt,
      MemorySegment gs,
      long gsAt,
      long gsStep) {
    for (int s = 0; s < POINTS; s++) {
      double factor = filter.getAtIndex(JAVA_DOUBLE, filterAt + s);
      double sum = 0;
      for (int block = 0; block < blocks; block++) {
        long skipped = block * step + s;
        long to = gsAt + block * gsStep;
        for (int lane = 0; lane < LANES; lane++) {
          double product = get(x, xRow + skipped, lane) * get(g, gRow + skipped, lane);
          if (scaled) {
            put(gs, to, lane, at(gs, to, lane) + factor * product);
            product *= at(scale, scaleAt + block * scaleStep, lane);
          }
          sum += product;
        }
      }
      add(q, qAt + s, sum);
    }
  }

  @Override
  public void scale(
      int rows,
      MemorySegment in,
      long inAt,
      long inStep,
      MemorySegment factor,
      long factorAt,
      MemorySegment out,
      long outAt,
      long outStep,
      boolean add) {
    for (int r = 0; r < rows; r++) {
      for (int lane = 0; lane < LANES; lane++) {
        double product = at(in, inAt + r * inStep, lane) * at(factor, factorAt, lane);
        long to = outAt + r * outStep;
        put(out, to, lane, add ? at(out, to, lane) + product : product);
      }
    }
  }

  private static double at(MemorySegment memory, long row, int lane) {
    return memory.get(JAVA_DOUBLE, row + (long) lane * Double.BYTES);
  }

  private static void put(MemorySegment memory, long row, int lane, double value) {
    memory.set(JAVA_DOUBLE, row + (long) lane * Double.BYTES, value);
  }
}
