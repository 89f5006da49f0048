package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;

/** {@link HybridPlan} with channels in the lanes of vectors, by a class written for its shape. */
final class VectorHybrid implements ProductAlgorithm {
  private final HybridPlan plan;
  private final DType type;
  private final int channels;
  private final long gridBytes;
  private final VectorTile code;
  private final Object table;
  private final VectorClass.Warmup warmup = new VectorClass.Warmup();

  /** The algorithm for tiles of {@code type}, F32 or F64. */
  VectorHybrid(HybridPlan plan, DType type) {
    this.plan = plan;
    this.type = type;
    channels = VectorTile.channels(type);
    VectorClass target = new VectorClass(type);
    VectorHybridWriter writer = new VectorHybridWriter(plan, target, channels * type.bytes());
    gridBytes = writer.gridBytes();
    code = writer.load();
    table = target.table();
  }

  @Override
  public int channels() {
    return channels;
  }

  @Override
  public long scratchBytes() {
    return gridBytes;
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
    int first = plan.role(target == 0 ? 1 : 0);
    int second = plan.role(target == 2 ? 1 : 2);
    int role = plan.role(target);
    int spin = warmup.spin();
    long grid = NativeViews.at(scratch, 0, gridBytes);
    run(VectorHybridWriter.TO_AMPLITUDES, first, x, xAt, xStep, scratch, grid, spin);
    run(VectorHybridWriter.TO_AMPLITUDES, second, y, yAt, yStep, scratch, grid, spin);
    multiply(role, scratch, grid, spin);
    run(VectorHybridWriter.TO_COEFFICIENTS, role, out, outAt, outStep, scratch, grid, spin);
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
    int spin = warmup.spin();
    long grid = NativeViews.at(scratch, 0, gridBytes);
    int first = plan.role(0);
    int second = plan.role(1);
    int third = plan.role(2);
    run(VectorHybridWriter.TO_AMPLITUDES, third, g, gAt, gStep, scratch, grid, spin);
    run(VectorHybridWriter.TO_AMPLITUDES, second, x2, x2At, x2Step, scratch, grid, spin);
    multiply(first, scratch, grid, spin);
    run(VectorHybridWriter.TO_COEFFICIENTS, first, gx1, gx1At, gx1Step, scratch, grid, spin);
    // The amplitudes of x1 take the place of those of its gradient.
    run(VectorHybridWriter.TO_AMPLITUDES, first, x1, x1At, x1Step, scratch, grid, spin);
    multiply(second, scratch, grid, spin);
    run(VectorHybridWriter.TO_COEFFICIENTS, second, gx2, gx2At, gx2Step, scratch, grid, spin);
  }

  private void run(
      int kernel,
      int role,
      MemorySegment x,
      long at,
      long step,
      MemorySegment scratch,
      long grid,
      int spin) {
    long bytes = (plan.form.components(role) - 1) * step + (long) channels * type.bytes();
    long xAt = NativeViews.at(x, at, bytes);
    code.run(kernel + role, spin, x, xAt, step, scratch, grid, 0, scratch, grid, 0, table);
  }

  private void multiply(int role, MemorySegment scratch, long grid, int spin) {
    int kernel = VectorHybridWriter.MULTIPLY + role;
    code.run(kernel, spin, scratch, grid, 0, scratch, grid, 0, scratch, grid, 0, table);
  }
}
