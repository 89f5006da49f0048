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
    int first = target == 0 ? 1 : 0;
    int second = target == 2 ? 1 : 2;
    multiply(
        VectorHybridWriter.MULTIPLY + plan.role(target),
        first,
        x,
        xAt,
        xStep,
        second,
        y,
        yAt,
        yStep,
        scratch);
    toCoefficients(target, out, outAt, outStep, scratch);
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
    int kernel = VectorHybridWriter.MULTIPLY + plan.role(0);
    multiply(kernel, 1, x2, x2At, x2Step, 2, g, gAt, gStep, scratch);
    toCoefficients(0, gx1, gx1At, gx1Step, scratch);
    // The amplitudes of x1 take the place of those of its gradient; those of g are still there.
    kernel = VectorHybridWriter.MULTIPLY_AGAIN;
    multiply(kernel, 0, x1, x1At, x1Step, 2, g, gAt, gStep, scratch);
    toCoefficients(1, gx2, gx2At, gx2Step, scratch);
  }

  private void multiply(
      int kernel,
      int first,
      MemorySegment x,
      long xAt,
      long xStep,
      int second,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment scratch) {
    long left = NativeViews.at(x, xAt, bytes(first, xStep));
    long right = NativeViews.at(y, yAt, bytes(second, yStep));
    long grid = NativeViews.at(scratch, 0, gridBytes);
    int spin = warmup.spin();
    if (plan.role(first) < plan.role(second)) {
      code.run(kernel, spin, x, left, xStep, y, right, yStep, scratch, grid, 0, table);
    } else {
      code.run(kernel, spin, y, right, yStep, x, left, xStep, scratch, grid, 0, table);
    }
  }

  private void toCoefficients(
      int operand, MemorySegment out, long at, long step, MemorySegment scratch) {
    int kernel = VectorHybridWriter.TO_COEFFICIENTS + plan.role(operand);
    long write = NativeViews.at(out, at, bytes(operand, step));
    long grid = NativeViews.at(scratch, 0, gridBytes);
    code.run(kernel, warmup.spin(), out, write, step, out, write, step, scratch, grid, 0, table);
  }

  private long bytes(int operand, long step) {
    int rows = plan.form.components(plan.role(operand));
    return (rows - 1) * step + (long) channels * type.bytes();
  }
}
