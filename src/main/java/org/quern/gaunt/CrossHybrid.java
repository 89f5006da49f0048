package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The cross product at nodes in the polar angle, Fourier series in the azimuth (specification,
 * section 10): the integral of {@code (f_theta g_alpha - f_alpha g_theta) / sin} times a third
 * function, each of the two products by a {@link HybridPlan} of its own. About twice the work of a
 * Gaunt product of the same degrees.
 */
final class CrossHybrid implements ProductAlgorithm {
  private final TrilinearForm form;
  private final ProductAlgorithm[] halves = new ProductAlgorithm[2];
  private final TileKernels kernels;
  private final long step;

  /** The algorithm for tiles of {@code type}, F32 or F64. */
  CrossHybrid(TrilinearForm form, DType type, Tier tier) {
    this.form = form;
    for (int half = 0; half < 2; half++) {
      HybridPlan plan = HybridPlan.bracket(form, half);
      halves[half] =
          tier == Tier.VECTOR ? new VectorHybrid(plan, type) : new ScalarHybrid(plan, type);
    }
    kernels = tier == Tier.VECTOR ? new VectorTileKernels(type) : new ScalarTileKernels(type);
    step = (long) channels() * type.bytes();
  }

  @Override
  public int channels() {
    return halves[0].channels();
  }

  @Override
  public long scratchBytes() {
    return results(0) + (form.components(0) + form.components(1) + form.components(2)) * step;
  }

  /** Byte of the scratch memory where the second half's share of an operand goes. */
  private long results(int operand) {
    long bytes = Math.max(halves[0].scratchBytes(), halves[1].scratchBytes());
    bytes = Math.ceilDiv(bytes, Tensor.ALIGNMENT) * Tensor.ALIGNMENT;
    for (int i = 0; i < operand; i++) {
      bytes += form.components(i) * step;
    }
    return bytes;
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
    halves[0].contract(target, x, xAt, xStep, y, yAt, yStep, out, outAt, outStep, scratch);
    halves[1].contract(
        target, x, xAt, xStep, y, yAt, yStep, scratch, results(target), step, scratch);
    add(target, out, outAt, outStep, scratch);
  }

  @Override
  public void gradients(
      MemorySegment x1,
      long x1At,
      long x1Step,
      MemorySegment x2,
      long x2At,
      long x2Step,
      MemorySegment g,
      long gAt,
      long gStep,
      MemorySegment gx1,
      long gx1At,
      long gx1Step,
      MemorySegment gx2,
      long gx2At,
      long gx2Step,
      MemorySegment scratch) {
    halves[0].gradients(
        x1, x1At, x1Step, x2, x2At, x2Step, g, gAt, gStep, gx1, gx1At, gx1Step, gx2, gx2At, gx2Step,
        scratch);
    halves[1].gradients(
        x1,
        x1At,
        x1Step,
        x2,
        x2At,
        x2Step,
        g,
        gAt,
        gStep,
        scratch,
        results(0),
        step,
        scratch,
        results(1),
        step,
        scratch);
    add(0, gx1, gx1At, gx1Step, scratch);
    add(1, gx2, gx2At, gx2Step, scratch);
  }

  private void add(int operand, MemorySegment out, long at, long outStep, MemorySegment scratch) {
    kernels.scale(
        scratch,
        results(operand),
        step,
        false,
        scratch,
        0,
        0,
        out,
        at,
        outStep,
        true,
        form.degree(operand),
        channels());
  }
}
