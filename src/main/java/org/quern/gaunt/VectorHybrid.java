package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.reflect.InvocationTargetException;
import org.quern.runtime.NativeViews;
import org.quern.tensor.DType;

/** {@link HybridPlan} with channels in the lanes of vectors, by a class written for its shape. */
final class VectorHybrid implements ProductAlgorithm {
  private final HybridPlan plan;
  private final DType type;
  private final int channels;
  private final VectorTile code;
  private final Object table;

  /** The algorithm for tiles of {@code type}, F32 or F64. */
  VectorHybrid(HybridPlan plan, DType type) {
    this.plan = plan;
    this.type = type;
    channels = type == DType.F32 ? VectorTile.F32.length() : VectorTile.F64.length();
    VectorHybridWriter writer = new VectorHybridWriter(plan, type, channels * type.bytes());
    code = load(writer.write());
    double[] factors = writer.table();
    table = type == DType.F32 ? floats(factors) : factors;
  }

  private static VectorTile load(byte[] bytes) {
    MethodHandles.Lookup lookup = MethodHandles.lookup();
    try {
      return (VectorTile)
          lookup
              .defineHiddenClass(bytes, true)
              .lookupClass()
              .getDeclaredConstructor()
              .newInstance();
    } catch (IllegalAccessException
        | InstantiationException
        | NoSuchMethodException
        | InvocationTargetException e) {
      throw new IllegalStateException("the written class cannot be made", e);
    }
  }

  private static float[] floats(double[] values) {
    float[] rounded = new float[values.length];
    for (int i = 0; i < rounded.length; i++) {
      rounded[i] = (float) values[i];
    }
    return rounded;
  }

  @Override
  public int channels() {
    return channels;
  }

  @Override
  public long scratchBytes() {
    return grid(3);
  }

  /** Byte of the scratch memory where the amplitudes of a role begin. */
  private long grid(int role) {
    long slots = 0;
    for (int r = 0; r < role; r++) {
      slots += plan.slots(r);
    }
    return slots * plan.nodes * channels * type.bytes();
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
    long grid0 = NativeViews.at(scratch, 0, scratchBytes());
    long grid1 = grid0 + grid(1);
    long grid2 = grid0 + grid(2);
    run(VectorTile.TO_AMPLITUDES, first, x, xAt, xStep, scratch, grid0, grid1, grid2);
    run(VectorTile.TO_AMPLITUDES, second, y, yAt, yStep, scratch, grid0, grid1, grid2);
    code.run(VectorTile.MULTIPLY + role, scratch, 0, 0, scratch, grid0, grid1, grid2, table);
    run(VectorTile.TO_COEFFICIENTS, role, out, outAt, outStep, scratch, grid0, grid1, grid2);
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
    long grid0 = NativeViews.at(scratch, 0, scratchBytes());
    long grid1 = grid0 + grid(1);
    long grid2 = grid0 + grid(2);
    int first = plan.role(0);
    int second = plan.role(1);
    int third = plan.role(2);
    run(VectorTile.TO_AMPLITUDES, third, g, gAt, gStep, scratch, grid0, grid1, grid2);
    run(VectorTile.TO_AMPLITUDES, second, x2, x2At, x2Step, scratch, grid0, grid1, grid2);
    code.run(VectorTile.MULTIPLY + first, scratch, 0, 0, scratch, grid0, grid1, grid2, table);
    run(VectorTile.TO_COEFFICIENTS, first, gx1, gx1At, gx1Step, scratch, grid0, grid1, grid2);
    // The amplitudes of x1 take the place of those of its gradient.
    run(VectorTile.TO_AMPLITUDES, first, x1, x1At, x1Step, scratch, grid0, grid1, grid2);
    code.run(VectorTile.MULTIPLY + second, scratch, 0, 0, scratch, grid0, grid1, grid2, table);
    run(VectorTile.TO_COEFFICIENTS, second, gx2, gx2At, gx2Step, scratch, grid0, grid1, grid2);
  }

  private void run(
      int kernel,
      int role,
      MemorySegment x,
      long at,
      long step,
      MemorySegment scratch,
      long grid0,
      long grid1,
      long grid2) {
    long bytes = (plan.form.components(role) - 1) * step + (long) channels * type.bytes();
    code.run(
        kernel + role, x, NativeViews.at(x, at, bytes), step, scratch, grid0, grid1, grid2, table);
  }
}
