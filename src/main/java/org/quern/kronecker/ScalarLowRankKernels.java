package org.quern.kronecker;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.quern.runtime.NativeViews;

/** Low rank as the formulas read, sums in double precision: the oracle. */
final class ScalarLowRankKernels implements LowRankKernels {
  static final ScalarLowRankKernels INSTANCE = new ScalarLowRankKernels();

  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private ScalarLowRankKernels() {}

  /** Where element (row, column) of U is. */
  private static long element(int panels, int row, int column) {
    long panel = (long) column / GROUP * panels + row / PANEL;
    return panel * PANEL_BYTES + column % GROUP * COLUMN_BYTES + (long) row % PANEL * Float.BYTES;
  }

  private static long groupBytes(int panels, int groups) {
    return (long) panels * groups * PANEL_BYTES;
  }

  @Override
  public int magnitude(int n, MemorySegment v, long vAt) {
    MemorySegment from = NativeViews.base(v);
    long at = NativeViews.at(v, vAt, (long) Float.BYTES * n);
    int greatest = 0;
    for (int i = 0; i < n; i++) {
      float x = from.get(FLOAT, at + (long) Float.BYTES * i);
      greatest = Math.max(greatest, Float.floatToRawIntBits(x) & Integer.MAX_VALUE);
    }
    return greatest;
  }

  @Override
  public void scale(int n, float a, MemorySegment v, long vAt, MemorySegment out, long outAt) {
    MemorySegment from = NativeViews.base(v);
    MemorySegment to = NativeViews.base(out);
    long read = NativeViews.at(v, vAt, (long) Float.BYTES * n);
    long write = NativeViews.at(out, outAt, (long) Float.BYTES * n);
    for (int i = 0; i < n; i++) {
      long step = (long) Float.BYTES * i;
      to.set(FLOAT, write + step, a * from.get(FLOAT, read + step));
    }
  }

  @Override
  public double dot(int n, MemorySegment x, long xAt, MemorySegment y, long yAt) {
    MemorySegment left = NativeViews.base(x);
    MemorySegment right = NativeViews.base(y);
    long l = NativeViews.at(x, xAt, (long) Float.BYTES * n);
    long r = NativeViews.at(y, yAt, (long) Float.BYTES * n);
    double sum = 0;
    for (int i = 0; i < n; i++) {
      long step = (long) Float.BYTES * i;
      sum += (double) left.get(FLOAT, l + step) * right.get(FLOAT, r + step);
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
    MemorySegment matrix = NativeViews.base(u);
    MemorySegment vector = NativeViews.base(v);
    long at = NativeViews.at(u, uAt, groupBytes(panels, groups));
    long x = NativeViews.at(v, vAt, panels * COLUMN_BYTES);
    for (int j = 0; j < GROUP * groups; j++) {
      double sum = 0;
      for (int r = 0; r < PANEL * panels; r++) {
        sum +=
            (double) matrix.get(FLOAT, at + element(panels, r, j))
                * vector.get(FLOAT, x + (long) Float.BYTES * r);
      }
      z[j] = sum;
    }
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
    MemorySegment matrix = NativeViews.base(u);
    MemorySegment weights = NativeViews.base(w);
    MemorySegment vector = NativeViews.base(x);
    long at = NativeViews.at(u, uAt, groupBytes(panels, groups));
    long weight = NativeViews.at(w, wAt, (long) Float.BYTES * GROUP * groups);
    long out = NativeViews.at(x, xAt, panels * COLUMN_BYTES);
    for (int r = 0; r < PANEL * panels; r++) {
      double sum = vector.get(FLOAT, out + (long) Float.BYTES * r);
      for (int j = 0; j < GROUP * groups; j++) {
        sum -=
            (double) matrix.get(FLOAT, at + element(panels, r, j))
                * weights.get(FLOAT, weight + (long) Float.BYTES * j);
      }
      vector.set(FLOAT, out + (long) Float.BYTES * r, (float) sum);
    }
  }

  @Override
  public void putColumn(int panels, MemorySegment x, long xAt, MemorySegment u, long uAt) {
    MemorySegment from = NativeViews.base(x);
    MemorySegment to = NativeViews.base(u);
    long read = NativeViews.at(x, xAt, panels * COLUMN_BYTES);
    long write = NativeViews.at(u, uAt, (panels - 1) * PANEL_BYTES + COLUMN_BYTES);
    for (int r = 0; r < PANEL * panels; r++) {
      to.set(FLOAT, write + element(panels, r, 0), from.get(FLOAT, read + (long) Float.BYTES * r));
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
    MemorySegment matrix = NativeViews.base(u);
    MemorySegment factor = NativeViews.base(t);
    MemorySegment row = NativeViews.base(work);
    long at = NativeViews.at(u, uAt, groupBytes(panels, groups));
    long tile = NativeViews.at(t, tAt, (long) Float.BYTES * GROUP * GROUP * groups * outGroups);
    long sums = NativeViews.at(work, workAt, (long) Float.BYTES * GROUP * outGroups);
    for (int r = 0; r < PANEL * panels; r++) {
      for (int m = 0; m < GROUP * outGroups; m++) {
        long block = tile + (long) Float.BYTES * GROUP * GROUP * groups * (m / GROUP);
        double sum = 0;
        for (int j = 0; j < GROUP * groups; j++) {
          sum +=
              (double) matrix.get(FLOAT, at + element(panels, r, j))
                  * factor.get(FLOAT, block + (long) Float.BYTES * (GROUP * j + m % GROUP));
        }
        row.set(FLOAT, sums + (long) Float.BYTES * m, (float) sum);
      }
      for (int m = 0; m < GROUP * outGroups; m++) {
        float sum = row.get(FLOAT, sums + (long) Float.BYTES * m);
        matrix.set(FLOAT, at + element(panels, r, m), sum);
      }
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
    MemorySegment rows = NativeViews.base(memory);
    long bytes = 3 * row + (pieces - 1) * step + (long) Float.BYTES * length;
    long left = NativeViews.at(memory, xAt, bytes);
    long right = NativeViews.at(memory, yAt, bytes);
    for (int i = 0; i < 4; i++) {
      for (int j = 0; j < 4; j++) {
        double sum = 0;
        for (int p = 0; p < pieces; p++) {
          long l = left + i * row + p * step;
          long r = right + j * row + p * step;
          for (int c = 0; c < length; c++) {
            sum +=
                (double) rows.get(FLOAT, l + (long) Float.BYTES * c)
                    * rows.get(FLOAT, r + (long) Float.BYTES * c);
          }
        }
        out[4 * i + j] = sum;
      }
    }
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
    for (int g = 0; g < groups; g++) {
      long at = aAt + g * aGroup;
      long to = cAt + (long) g * GROUP * cRow;
      multiplyGroup(
          tiles, depth, a, at, Float.BYTES, aStep, b, bAt, bStep, bTile, c, to, cRow, cTile, scale);
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
    for (int g = 0; g < groups; g++) {
      long at = blockAt + (long) g * GROUP * BLOCK_ROW;
      long to = cAt + (long) g * GROUP * cRow;
      multiplyGroup(
          tiles,
          depth,
          block,
          at,
          BLOCK_ROW,
          Float.BYTES,
          b,
          bAt,
          bStep,
          bTile,
          c,
          to,
          cRow,
          cTile,
          1);
    }
  }

  private static void multiplyGroup(
      int tiles,
      int depth,
      MemorySegment a,
      long aAt,
      long aRow,
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
    if (tiles == 0 || depth == 0) {
      return;
    }
    MemorySegment left = NativeViews.base(a);
    MemorySegment right = NativeViews.base(b);
    MemorySegment result = NativeViews.base(c);
    long line = (long) Float.BYTES * TILE;
    long from = NativeViews.at(a, aAt, (GROUP - 1) * aRow + (depth - 1) * aStep + Float.BYTES);
    long with = NativeViews.at(b, bAt, (tiles - 1) * bTile + (depth - 1) * bStep + line);
    long into = NativeViews.at(c, cAt, (GROUP - 1) * cRow + (tiles - 1) * cTile + line);
    for (int i = 0; i < GROUP; i++) {
      for (int j = 0; j < TILE * tiles; j++) {
        long column = (long) Float.BYTES * (j % TILE);
        long at = into + i * cRow + j / TILE * cTile + column;
        double sum = result.get(FLOAT, at);
        for (int p = 0; p < depth; p++) {
          sum +=
              (double) left.get(FLOAT, from + i * aRow + p * aStep)
                  * right.get(FLOAT, with + j / TILE * bTile + p * bStep + column);
        }
        result.set(FLOAT, at, scale * (float) sum);
      }
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
    MemorySegment left = NativeViews.base(a);
    MemorySegment right = NativeViews.base(x);
    MemorySegment result = NativeViews.base(y);
    long column = (long) Float.BYTES * GROUP;
    long from = NativeViews.at(a, aAt, (groups - 1) * aGroup + depth * column);
    long with = NativeViews.at(x, xAt, (long) Float.BYTES * depth);
    long into = NativeViews.at(y, yAt, groups * column);
    for (int r = 0; r < GROUP * groups; r++) {
      long at = from + r / GROUP * aGroup + (long) Float.BYTES * (r % GROUP);
      double sum = result.get(FLOAT, into + (long) Float.BYTES * r);
      for (int p = 0; p < depth; p++) {
        sum +=
            (double) left.get(FLOAT, at + p * column)
                * right.get(FLOAT, with + (long) Float.BYTES * p);
      }
      result.set(FLOAT, into + (long) Float.BYTES * r, (float) sum);
    }
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
    MemorySegment from = NativeViews.base(rows);
    MemorySegment to = NativeViews.base(out);
    long line = (long) Float.BYTES * columns;
    long read = NativeViews.at(rows, rowsAt, ((long) GROUP * groups - 1) * row + line);
    long write = NativeViews.at(out, outAt, (groups - 1) * outGroup + GROUP * line);
    for (int r = 0; r < GROUP * groups; r++) {
      for (int j = 0; j < columns; j++) {
        long at = write + r / GROUP * outGroup + (long) Float.BYTES * (GROUP * j + r % GROUP);
        to.set(FLOAT, at, from.get(FLOAT, read + r * row + (long) Float.BYTES * j));
      }
    }
  }

  @Override
  public void clear(int rows, int columns, MemorySegment out, long outAt, long row) {
    if (rows == 0 || columns == 0) {
      return;
    }
    MemorySegment to = NativeViews.base(out);
    long write = NativeViews.at(out, outAt, (rows - 1) * row + (long) Float.BYTES * columns);
    for (int r = 0; r < rows; r++) {
      for (int j = 0; j < columns; j++) {
        to.set(FLOAT, write + r * row + (long) Float.BYTES * j, 0);
      }
    }
  }

  @Override
  public void add(int n, MemorySegment x, long xAt, MemorySegment y, long yAt) {
    MemorySegment from = NativeViews.base(x);
    MemorySegment to = NativeViews.base(y);
    long read = NativeViews.at(x, xAt, (long) Float.BYTES * n);
    long write = NativeViews.at(y, yAt, (long) Float.BYTES * n);
    for (int i = 0; i < n; i++) {
      long step = (long) Float.BYTES * i;
      to.set(FLOAT, write + step, to.get(FLOAT, write + step) + from.get(FLOAT, read + step));
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
    MemorySegment from = NativeViews.base(g);
    MemorySegment to = NativeViews.base(out);
    long line = (long) Float.BYTES * columns;
    long read = NativeViews.at(g, gAt, (rows - 1) * row + line);
    long write = NativeViews.at(out, outAt, (rows - 1) * outRow + line);
    double sum = 0;
    for (int r = 0; r < rows; r++) {
      for (int j = 0; j < columns; j++) {
        float x = from.get(FLOAT, read + r * row + (long) Float.BYTES * j);
        sum += (double) x * x;
        to.set(FLOAT, write + r * outRow + (long) Float.BYTES * j, x);
      }
    }
    return sum;
  }
}
