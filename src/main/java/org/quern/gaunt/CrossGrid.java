package org.quern.gaunt;

import static org.quern.gaunt.SampleKernels.LANES;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.gaunt.SphereGrid.Sample;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * The cross product by samples of the gradients on an exact grid (specification, section 10):
 * {@code f_theta g_alpha/sin - f_alpha/sin g_theta}. The form {@code T(f, g, h) = integral of {f,
 * g} h} does not change when its operands are exchanged in a circle, and changes its sign when two
 * of them are.
 */
final class CrossGrid implements ProductAlgorithm {
  private final DType type;
  private final SampleKernels kernels;
  private final SphereTransform[] byTheta = new SphereTransform[3];
  private final SphereTransform[] byAzimuth = new SphereTransform[3];
  private final SphereTransform[] values = new SphereTransform[3];
  private final int points;
  private final int scratchRows;

  /** The algorithm for tiles of {@code type}, F32 or F64. */
  CrossGrid(TrilinearForm form, DType type, Tier tier) {
    this.type = type;
    kernels = GauntConvolution.kernels(tier, type);
    // The bracket of degrees L1 and L2 has degree L1 + L2 - 1.
    SphereGrid grid = new SphereGrid(Math.max(0, form.integrandDegree() - 1));
    Arena arena = Arena.ofAuto();
    for (int operand = 0; operand < 3; operand++) {
      double[] scales = GridProduct.scales(form, operand);
      byTheta[operand] = new SphereTransform(arena, kernels, grid, scales, Sample.THETA, false);
      byAzimuth[operand] = new SphereTransform(arena, kernels, grid, scales, Sample.AZIMUTH, false);
      // No bracket has a mean.
      scales[0] = 0;
      values[operand] = new SphereTransform(arena, kernels, grid, scales, Sample.VALUE, true);
    }
    points = grid.size();
    scratchRows = Arrays.stream(values).mapToInt(SphereTransform::scratchRows).max().orElse(0);
  }

  @Override
  public int channels() {
    return LANES;
  }

  @Override
  public long scratchBytes() {
    return (5L * points + scratchRows) * LANES * kernels.type().bytes();
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
    int first = target == 0 ? 1 : 0;
    int second = target == 2 ? 1 : 2;
    sample(first, x, xAt, xStep, scratch, 0);
    sample(second, y, yAt, yStep, scratch, 2L * points);
    // Around the circle operand 2 comes before operand 0.
    long before = target == 1 ? 2L * points : 0;
    kernels.bracket(points, scratch, before, scratch, 2L * points - before, scratch, 4L * points);
    values[target].fromGrid(scratch, 4L * points, type, out, outAt, outStep, scratch, 5L * points);
  }

  private void sample(
      int operand, MemorySegment x, long xAt, long xStep, MemorySegment scratch, long row) {
    byTheta[operand].toGrid(type, x, xAt, xStep, scratch, row, scratch, 5L * points);
    byAzimuth[operand].toGrid(type, x, xAt, xStep, scratch, row + points, scratch, 5L * points);
  }
}
