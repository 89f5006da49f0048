package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/**
 * The sum over all non-zero coefficients, in double precision: what the other algorithms and tiers
 * are tested against.
 */
final class ScalarDirect implements ProductAlgorithm {
  private static final int CHANNELS = 16;

  private final DType type;
  private final DirectPlan plan;
  private final int[] sizes;

  /** The algorithm for tiles of {@code type}, F32 or F64. */
  ScalarDirect(TrilinearForm form, DType type) {
    this.type = type;
    plan = new DirectPlan(form);
    sizes = new int[] {form.components(0), form.components(1), form.components(2)};
  }

  @Override
  public int channels() {
    return CHANNELS;
  }

  @Override
  public long scratchBytes() {
    return (long) CHANNELS * Double.BYTES * Math.max(sizes[0], Math.max(sizes[1], sizes[2]));
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
    int[] is = plan.components[target == 0 ? 1 : 0];
    int[] js = plan.components[target == 2 ? 1 : 2];
    int[] ks = plan.components[target];
    for (int c = 0; c < CHANNELS; c++) {
      long channel = (long) c * type.bytes();
      for (int k = 0; k < sizes[target]; k++) {
        Cells.set(scratch, DType.F64, (long) k * Double.BYTES, 0);
      }
      for (int entry = 0; entry < plan.values.length; entry++) {
        double product =
            plan.values[entry]
                * Cells.get(x, type, xAt + is[entry] * xStep + channel)
                * Cells.get(y, type, yAt + js[entry] * yStep + channel);
        Cells.add(scratch, DType.F64, (long) ks[entry] * Double.BYTES, product);
      }
      for (int k = 0; k < sizes[target]; k++) {
        double sum = Cells.get(scratch, DType.F64, (long) k * Double.BYTES);
        Cells.set(out, type, outAt + k * outStep + channel, sum);
      }
    }
  }
}
