package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Directions and lengths of edges in double precision, and their zonal filters: {@code sum_l h_l
 * (2l+1)/(4 pi) P_l}, as factors of monic Legendre polynomials.
 *
 * @param directions unit vectors, four elements per edge, of the kernels' type
 * @param coefficients {@code degree + 1} elements per edge, of the kernels' type
 * @param lengths F64; infinite for an edge without direction
 */
record EdgeGeometry(MemorySegment directions, MemorySegment coefficients, MemorySegment lengths) {
  /** Edges that one thread takes at a time. */
  static final int GRAIN = 1024;

  /**
   * Reads edge vectors and radial values.
   *
   * @throws IllegalArgumentException where a component is not finite, or a vector is zero although
   *     the degree is not
   */
  static EdgeGeometry of(
      Tensor r, Tensor h, int degree, DType type, LayerWorkspace workspace, int threads) {
    long edges = r.dim(0);
    EdgeGeometry geometry =
        new EdgeGeometry(
            workspace.get(LayerWorkspace.Use.DIRECTIONS, 4 * edges * type.bytes()),
            workspace.get(LayerWorkspace.Use.COEFFICIENTS, (degree + 1) * edges * type.bytes()),
            workspace.get(LayerWorkspace.Use.LENGTHS, edges * Double.BYTES));
    double[] factors = factors(degree);
    Parallel.forRanges(
        edges,
        GRAIN,
        threads,
        (from, to, worker) -> {
          for (long edge = from; edge < to; edge++) {
            geometry.place(r, edge, degree, type);
            for (int l = 0; l <= degree; l++) {
              double value = TileTable.get(h.memory(), h.type(), edge * h.rowStride() + l);
              long at = edge * (degree + 1) + l;
              TileTable.set(geometry.coefficients, type, at, value * factors[l]);
            }
          }
        });
    return geometry;
  }

  /** (2l+1)/(4 pi) times the leading coefficient of P_l, (2l)! / (2^l l!^2). */
  static double[] factors(int degree) {
    double[] factors = new double[degree + 1];
    double leading = 1;
    for (int l = 0; l <= degree; l++) {
      leading *= l == 0 ? 1 : (2.0 * l - 1) / l;
      factors[l] = leading * (2 * l + 1) / (4 * Math.PI);
    }
    return factors;
  }

  /**
   * The largest component of an edge vector.
   *
   * @throws IllegalArgumentException as {@link #of}
   */
  static double largest(Tensor r, long edge, int degree) {
    long at = edge * r.rowStride();
    double x = TileTable.get(r.memory(), r.type(), at);
    double y = TileTable.get(r.memory(), r.type(), at + 1);
    double z = TileTable.get(r.memory(), r.type(), at + 2);
    double largest = Math.max(Math.abs(x), Math.max(Math.abs(y), Math.abs(z)));
    if (!Double.isFinite(largest)) {
      throw new IllegalArgumentException(
          "r: expected finite components, got (" + x + ", " + y + ", " + z + ") at edge " + edge);
    }
    if (largest == 0 && degree > 0) {
      throw new IllegalArgumentException(
          "r: expected a vector with a direction, as the filter has degree "
              + degree
              + ", got zero at edge "
              + edge);
    }
    return largest;
  }

  private void place(Tensor r, long edge, int degree, DType type) {
    double largest = largest(r, edge, degree);
    long at = edge * r.rowStride();
    double x = TileTable.get(r.memory(), r.type(), at);
    double y = TileTable.get(r.memory(), r.type(), at + 1);
    double z = TileTable.get(r.memory(), r.type(), at + 2);
    double scaled = 0;
    if (largest > 0) {
      // A power of two costs no rounding and keeps the squares in range.
      int exponent = Math.getExponent(largest);
      x = Math.scalb(x, -exponent);
      y = Math.scalb(y, -exponent);
      z = Math.scalb(z, -exponent);
      scaled = Math.sqrt(x * x + y * y + z * z);
      lengths.setAtIndex(JAVA_DOUBLE, edge, Math.scalb(scaled, exponent));
    } else {
      lengths.setAtIndex(JAVA_DOUBLE, edge, Double.POSITIVE_INFINITY);
    }
    double over = largest > 0 ? 1 / scaled : 0;
    TileTable.set(directions, type, 4 * edge, x * over);
    TileTable.set(directions, type, 4 * edge + 1, y * over);
    TileTable.set(directions, type, 4 * edge + 2, z * over);
    TileTable.set(directions, type, 4 * edge + 3, 0);
  }

  /**
   * Stores the gradient by an edge vector: of a gradient v by its direction u what lies across it,
   * {@code (v - (v . u) u) / |r|}; zero where there is no direction.
   *
   * @param v F64, holds v from element {@code at}
   */
  void storeAcross(long edge, DType type, MemorySegment v, long at, Tensor gr) {
    double along = 0;
    for (int axis = 0; axis < 3; axis++) {
      along += v.getAtIndex(JAVA_DOUBLE, at + axis) * direction(edge, type, axis);
    }
    for (int axis = 0; axis < 3; axis++) {
      double across = v.getAtIndex(JAVA_DOUBLE, at + axis) - along * direction(edge, type, axis);
      TileTable.set(gr.memory(), gr.type(), edge * gr.rowStride() + axis, across / length(edge));
    }
  }

  /** Length of an edge; infinite where it has no direction. */
  double length(long edge) {
    return lengths.getAtIndex(JAVA_DOUBLE, edge);
  }

  double direction(long edge, DType type, int axis) {
    return TileTable.get(directions, type, 4 * edge + axis);
  }
}
