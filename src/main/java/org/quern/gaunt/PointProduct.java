package org.quern.gaunt;

import static org.quern.gaunt.SampleKernels.LANES;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * The product by samples at as few points as determine it (specification, section 6, E): those of
 * {@link FeketePoints} for the least sum of two degrees. Samples of those two operands are
 * multiplied, and the inverse of the sampling gives the coefficients of the third. The form is
 * {@code sum over points of (F0 x0) (F1 x1) (F2 x2)} with one matrix per operand, so every
 * derivative takes two of them and the transpose of the third.
 */
final class PointProduct implements ProductAlgorithm {
  private final DType type;
  private final SampleKernels kernels;
  private final long row;
  private final int points;
  private final int largest;
  private final TileTable[] sampling = new TileTable[3];
  private final TileTable[] gathering = new TileTable[3];
  private final int[][] orders = new int[3][];

  /**
   * The algorithm for tiles of {@code type}, F32 or F64.
   *
   * @throws IllegalArgumentException where the least sum of two degrees is above {@link
   *     FeketePoints#MAX_DEGREE}
   */
  PointProduct(TrilinearForm form, DType type, Tier tier) {
    this.type = type;
    kernels = GauntConvolution.kernels(tier, type);
    row = (long) LANES * kernels.type().bytes();
    int inverted = 0;
    for (int operand = 1; operand < 3; operand++) {
      inverted = form.degree(operand) > form.degree(inverted) ? operand : inverted;
    }
    int degree = form.integrandDegree() - form.degree(inverted);
    if (!applies(form)) {
      throw new IllegalArgumentException(
          "algorithm: expected another than "
              + Algorithm.POINTS
              + ", which takes products of degree "
              + FeketePoints.MAX_DEGREE
              + " at most, got degree "
              + degree);
    }
    FeketePoints rule = FeketePoints.of(degree);
    points = rule.size();
    double[] values = rule.values();
    double[] inverse = rule.inverse();
    Arena arena = Arena.ofAuto();
    int most = 0;
    for (int operand = 0; operand < 3; operand++) {
      double[][] matrix = new double[points][form.components(operand)];
      for (int p = 0; p < points; p++) {
        for (int i = 0; i < matrix[p].length; i++) {
          double factor = operand == inverted ? inverse[i * points + p] : values[p * points + i];
          matrix[p][i] = factor * form.scale(operand, (int) Math.sqrt(i));
        }
      }
      sampling[operand] = TileTable.of(arena, kernels.type(), matrix);
      gathering[operand] = TileTable.of(arena, kernels.type(), TileTable.transposed(matrix));
      orders[operand] = new int[form.components(operand)];
      Arrays.setAll(orders[operand], i -> i);
      most = Math.max(most, form.components(operand));
    }
    largest = most;
  }

  /** Whether there are points for a form. */
  static boolean applies(TrilinearForm form) {
    int highest = Math.max(form.degree(0), Math.max(form.degree(1), form.degree(2)));
    return form.integrandDegree() - highest <= FeketePoints.MAX_DEGREE;
  }

  @Override
  public int channels() {
    return LANES;
  }

  @Override
  public long scratchBytes() {
    return (2L * points + largest) * row;
  }

  @Override
  public void contract(
      int target,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment out,
      long outAt,
      long outStep,
      MemorySegment scratch) {
    sample(target == 0 ? 1 : 0, x, xAt, xStep, scratch, 0);
    sample(target == 2 ? 1 : 2, y, yAt, yStep, scratch, points);
    kernels.multiply(points, scratch, 0, scratch, points, scratch, 0);
    TileTable table = gathering[target];
    if (type == kernels.type()) {
      kernels.mix(
          table.memory(), 0, table.rows(), points, scratch, 0, row, out, outAt, outStep, false);
    } else {
      long copy = 2L * points;
      kernels.mix(
          table.memory(),
          0,
          table.rows(),
          points,
          scratch,
          0,
          row,
          scratch,
          copy * row,
          row,
          false);
      kernels.distribute(orders[target], scratch, copy, type, out, outAt, outStep);
    }
  }

  private void sample(
      int operand, MemorySegment x, long xAt, long xStep, MemorySegment scratch, long to) {
    TileTable table = sampling[operand];
    if (type == kernels.type()) {
      kernels.mix(
          table.memory(), 0, points, table.columns(), x, xAt, xStep, scratch, to * row, row, false);
    } else {
      long copy = 2L * points;
      kernels.collect(orders[operand], type, x, xAt, xStep, scratch, copy);
      kernels.mix(
          table.memory(),
          0,
          points,
          table.columns(),
          scratch,
          copy * row,
          row,
          scratch,
          to * row,
          row,
          false);
    }
  }
}
