package org.quern.gaunt;

import static org.quern.gaunt.SampleKernels.LANES;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import org.quern.tensor.DType;

/**
 * The filter of an edge after a rotation that makes the edge the polar axis (specification, section
 * 8, scheme 3): there the filter has the order 0 alone, so that orders do not mix, and the matrix
 * of an order, {@code sum over l2 of h[l2] sqrt((2 l2 + 1) / (4 pi)) G(l1 m, l2 0, l3 m)}, is that
 * of its negative.
 *
 * <p>Rotated coefficients are kept in a rectangle, order by order with a place for every degree, in
 * which both a degree and an order are rows at a fixed distance.
 */
final class RotatedFilter implements EdgeFilter {
  private final int degree1;
  private final int degree3;

  /** Couplings of order m with a filter of order 0. */
  private final List<Entry> entries = new ArrayList<>();

  /** First element of the rotation of each degree, of its transpose, and of the matrices. */
  private final long[] rotations;

  private final long[] inverses;
  private final long[] matrices;
  private final long[] transposes;
  private final long elements;

  private record Entry(int m, int l1, int l2, int l3, double value) {}

  RotatedFilter(Couplings couplings, int degree1, int degree3) {
    this.degree1 = degree1;
    this.degree3 = degree3;
    for (int entry = 0; entry < couplings.size(); entry++) {
      int l1 = degreeOf(couplings.first(entry));
      int l2 = degreeOf(couplings.second(entry));
      int l3 = degreeOf(couplings.out(entry));
      int m = couplings.first(entry) - l1 * l1 - l1;
      boolean zonal = couplings.second(entry) == l2 * l2 + l2;
      if (zonal && m >= 0 && couplings.out(entry) == l3 * l3 + l3 + m) {
        double pole = Math.sqrt((2 * l2 + 1) / (4 * Math.PI));
        entries.add(new Entry(m, l1, l2, l3, pole * couplings.value(entry)));
      }
    }
    int degree = Math.max(degree1, degree3);
    rotations = new long[degree + 1];
    inverses = new long[degree + 1];
    long at = 0;
    for (int l = 0; l <= degree; l++) {
      long size = (long) TileTable.pad(2 * l + 1) * (2 * l + 1);
      rotations[l] = at;
      inverses[l] = at + size;
      at += 2 * size;
    }
    int orders = Math.min(degree1, degree3) + 1;
    matrices = new long[orders];
    transposes = new long[orders];
    for (int m = 0; m < orders; m++) {
      int columns = degree1 - m + 1;
      int rows = degree3 - m + 1;
      matrices[m] = at;
      transposes[m] = at + (long) TileTable.pad(rows) * columns;
      at = transposes[m] + (long) TileTable.pad(columns) * rows;
    }
    elements = at;
  }

  private static int degreeOf(int component) {
    return (int) Math.sqrt(component);
  }

  @Override
  public long tableElements() {
    return elements;
  }

  @Override
  public int scratchRows() {
    return (2 * degree1 + 1) * (degree1 + 1) + (2 * degree3 + 1) * (degree3 + 1);
  }

  @Override
  public void prepare(double[] r, double[] f, double[] h, MemorySegment tables, DType type) {
    WignerD turn = WignerD.of(toPole(r), rotations.length - 1);
    for (int l = 0; l < rotations.length; l++) {
      int size = 2 * l + 1;
      for (int m = -l; m <= l; m++) {
        for (int n = -l; n <= l; n++) {
          double value = turn.get(l, m, n);
          TileTable.set(tables, type, rotations[l] + TileTable.place(m + l, n + l, size), value);
          TileTable.set(tables, type, inverses[l] + TileTable.place(n + l, m + l, size), value);
        }
      }
    }
    double[][][] sums = new double[matrices.length][degree3 + 1][degree1 + 1];
    for (Entry entry : entries) {
      sums[entry.m][entry.l3][entry.l1] += entry.value * h[entry.l2];
    }
    for (int m = 0; m < matrices.length; m++) {
      int columns = degree1 - m + 1;
      int rows = degree3 - m + 1;
      for (int k = 0; k < rows; k++) {
        for (int i = 0; i < columns; i++) {
          double value = sums[m][k + m][i + m];
          TileTable.set(tables, type, matrices[m] + TileTable.place(k, i, columns), value);
          TileTable.set(tables, type, transposes[m] + TileTable.place(i, k, rows), value);
        }
      }
    }
  }

  /** A rotation that takes a vector to the polar axis y; the identity for the zero vector. */
  private static double[] toPole(double[] r) {
    double largest = Math.max(Math.abs(r[0]), Math.max(Math.abs(r[1]), Math.abs(r[2])));
    if (largest == 0) {
      return new double[] {1, 0, 0, 0, 1, 0, 0, 0, 1};
    }
    double[] y = unit(new double[] {r[0] / largest, r[1] / largest, r[2] / largest});
    int axis = 0;
    for (int i = 1; i < 3; i++) {
      axis = Math.abs(y[i]) < Math.abs(y[axis]) ? i : axis;
    }
    double[] helper = new double[3];
    helper[axis] = 1;
    double[] x = unit(cross(y, helper));
    double[] z = cross(x, y);
    return new double[] {x[0], x[1], x[2], y[0], y[1], y[2], z[0], z[1], z[2]};
  }

  private static double[] unit(double[] v) {
    double length = Math.sqrt(v[0] * v[0] + v[1] * v[1] + v[2] * v[2]);
    return new double[] {v[0] / length, v[1] / length, v[2] / length};
  }

  private static double[] cross(double[] a, double[] b) {
    return new double[] {
      a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]
    };
  }

  @Override
  public void apply(
      SampleKernels kernels,
      boolean transposed,
      MemorySegment tables,
      MemorySegment in,
      long inAt,
      long inStep,
      MemorySegment out,
      long outAt,
      MemorySegment scratch,
      long scratchAt) {
    long row = (long) LANES * kernels.type().bytes();
    int from = transposed ? degree3 : degree1;
    int to = transposed ? degree1 : degree3;
    long middle = scratchAt + (2L * from + 1) * (from + 1) * row;
    for (int l = 0; l <= from; l++) {
      long target = scratchAt + place(-l, l, from) * row;
      kernels.mix(
          tables,
          rotations[l],
          2 * l + 1,
          2 * l + 1,
          in,
          inAt + (long) l * l * inStep,
          inStep,
          scratch,
          target,
          (from + 1) * row,
          false);
    }
    for (int m = -to; m <= to; m++) {
      int order = Math.abs(m);
      boolean met = order < matrices.length;
      kernels.mix(
          tables,
          !met ? 0 : transposed ? transposes[order] : matrices[order],
          to - order + 1,
          met ? from - order + 1 : 0,
          scratch,
          met ? scratchAt + place(m, order, from) * row : scratchAt,
          row,
          scratch,
          middle + place(m, order, to) * row,
          row,
          false);
    }
    for (int l = 0; l <= to; l++) {
      kernels.mix(
          tables,
          inverses[l],
          2 * l + 1,
          2 * l + 1,
          scratch,
          middle + place(-l, l, to) * row,
          (to + 1) * row,
          out,
          outAt + (long) l * l * row,
          row,
          false);
    }
  }

  /** Row of order m and degree l in the rectangle of degrees up to {@code degree}. */
  private static long place(int m, int l, int degree) {
    return (long) (m + degree) * (degree + 1) + l;
  }
}
