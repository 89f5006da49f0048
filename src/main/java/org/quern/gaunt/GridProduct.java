package org.quern.gaunt;

import static org.quern.gaunt.SampleKernels.LANES;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * The product by samples on an exact grid (specification, section 6, C): two operands are sampled,
 * the samples multiplied, and the transpose of the third operand's sampling sums them. The weights
 * of the grid are in the sampling of operand 2, which makes the form symmetric in its operands.
 */
final class GridProduct implements ProductAlgorithm {
  private final DType type;
  private final SampleKernels kernels;
  private final SphereTransform[] transforms = new SphereTransform[3];
  private final int points;
  private final int scratchRows;

  /** The algorithm on a grid that is exact for the form, for tiles of {@code type}, F32 or F64. */
  GridProduct(TrilinearForm form, SphereGrid grid, DType type, Tier tier) {
    this.type = type;
    kernels = GauntConvolution.kernels(tier, type);
    Arena arena = Arena.ofAuto();
    for (int operand = 0; operand < 3; operand++) {
      transforms[operand] =
          new SphereTransform(arena, kernels, grid, scales(form, operand), operand == 2);
    }
    points = grid.size();
    scratchRows = Arrays.stream(transforms).mapToInt(SphereTransform::scratchRows).max().orElse(0);
  }

  /** The factors of all degrees of an operand. */
  private static double[] scales(TrilinearForm form, int operand) {
    double[] scales = new double[form.degree(operand) + 1];
    Arrays.setAll(scales, l -> form.scale(operand, l));
    return scales;
  }

  @Override
  public int channels() {
    return LANES;
  }

  @Override
  public long scratchBytes() {
    return (2L * points + scratchRows) * LANES * kernels.type().bytes();
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
    SphereTransform first = transforms[target == 0 ? 1 : 0];
    SphereTransform second = transforms[target == 2 ? 1 : 2];
    first.toGrid(type, x, xAt, xStep, scratch, 0, scratch, 2L * points);
    second.toGrid(type, y, yAt, yStep, scratch, points, scratch, 2L * points);
    kernels.multiply(points, scratch, 0, scratch, points, scratch, 0);
    transforms[target].fromGrid(scratch, 0, type, out, outAt, outStep, scratch, 2L * points);
  }
}
