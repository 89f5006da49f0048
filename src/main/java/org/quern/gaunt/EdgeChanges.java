package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;

import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.gaunt.LayerWorkspace.Use;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * How the geometry of edges changes along with their vectors and radial values.
 *
 * @param geometry what changes
 * @param turns changes of the directions, laid out as these
 * @param coefficients changes of the coefficients of the zonal filters, laid out as these
 * @param vectors changes of the edge vectors, or null where they do not change
 */
record EdgeChanges(
    EdgeGeometry geometry,
    MemorySegment turns,
    MemorySegment coefficients,
    @Nullable Tensor vectors) {

  /**
   * The changes along given ones.
   *
   * @param dr changes of the edge vectors, [edges, 3], or null
   * @param dh changes of the radial values, [edges, degree + 1], or null
   */
  static EdgeChanges of(
      EdgeGeometry geometry,
      long edges,
      @Nullable Tensor dr,
      @Nullable Tensor dh,
      int degree,
      DType type,
      LayerWorkspace workspace,
      int threads) {
    EdgeChanges changes =
        new EdgeChanges(
            geometry,
            workspace.get(Use.TURNS, 4 * edges * type.bytes()),
            workspace.get(Use.CHANGES, (degree + 1) * edges * type.bytes()),
            dr);
    double[] factors = EdgeGeometry.factors(degree);
    Parallel.forRanges(
        edges,
        EdgeGeometry.GRAIN,
        threads,
        (from, to, worker) -> {
          for (long edge = from; edge < to; edge++) {
            changes.turn(edge, type);
            for (int l = 0; l <= degree; l++) {
              double change =
                  dh == null ? 0 : TileTable.get(dh.memory(), dh.type(), edge * dh.rowStride() + l);
              long at = edge * (degree + 1) + l;
              TileTable.set(changes.coefficients, type, at, change * factors[l]);
            }
          }
        });
    return changes;
  }

  /** A direction changes by what lies across it, over the length. */
  private void turn(long edge, DType type) {
    double along = along(edge, type);
    for (int axis = 0; axis < 3; axis++) {
      double across = vector(edge, axis) - along * geometry.direction(edge, type, axis);
      TileTable.set(turns, type, 4 * edge + axis, across / geometry.length(edge));
    }
    TileTable.set(turns, type, 4 * edge + 3, 0);
  }

  private double vector(long edge, int axis) {
    return vectors == null
        ? 0
        : TileTable.get(vectors.memory(), vectors.type(), edge * vectors.rowStride() + axis);
  }

  /** The change of the length. */
  private double along(long edge, DType type) {
    double along = 0;
    for (int axis = 0; axis < 3; axis++) {
      along += vector(edge, axis) * geometry.direction(edge, type, axis);
    }
    return along;
  }

  /**
   * Stores the change of what {@link EdgeGeometry#storeAcross} stores: with {@code t = v . u}, that
   * of {@code (v - t u) / |r|} is {@code (dv - dt u - t du - (v - t u) d|r| / |r|) / |r|}.
   *
   * @param gradients F64, holds dv from element {@code at}, and v after it
   */
  void storeAcross(long edge, DType type, MemorySegment gradients, long at, Tensor out) {
    double length = geometry.length(edge);
    double t = 0;
    double dt = 0;
    for (int axis = 0; axis < 3; axis++) {
      double u = geometry.direction(edge, type, axis);
      double v = gradients.getAtIndex(JAVA_DOUBLE, at + 3 + axis);
      t += v * u;
      dt += gradients.getAtIndex(JAVA_DOUBLE, at + axis) * u;
      dt += v * TileTable.get(turns, type, 4 * edge + axis);
    }
    double stretch = along(edge, type) / length;
    for (int axis = 0; axis < 3; axis++) {
      double u = geometry.direction(edge, type, axis);
      double across = gradients.getAtIndex(JAVA_DOUBLE, at + 3 + axis) - t * u;
      double change =
          gradients.getAtIndex(JAVA_DOUBLE, at + axis)
              - dt * u
              - t * TileTable.get(turns, type, 4 * edge + axis)
              - stretch * across;
      TileTable.set(out.memory(), out.type(), edge * out.rowStride() + axis, change / length);
    }
  }
}
