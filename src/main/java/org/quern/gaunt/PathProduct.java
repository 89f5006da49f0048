package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * The direct sum with a weight for every path. The scratch memory of a call begins with the weights
 * of the tile, one row per path, which the caller puts there.
 */
final class PathProduct implements ProductAlgorithm {
  private static final int SCALAR_CHANNELS = 16;

  private final DType type;
  private final int channels;
  private final int[] sizes;
  private final PathTable table;
  private final PathKernels kernels;

  PathProduct(TrilinearForm form, DType type, Tier tier) {
    this.type = type;
    sizes = new int[] {form.components(0), form.components(1), form.components(2)};
    table = new PathTable(form);
    if (tier == Tier.VECTOR) {
      kernels = new VectorPathKernels(type);
      channels = VectorTile.channels(type);
    } else {
      kernels = new ScalarPathKernels(type);
      channels = SCALAR_CHANNELS;
    }
  }

  /** The paths and their coefficients. */
  PathTable table() {
    return table;
  }

  @Override
  public int channels() {
    return channels;
  }

  private long step() {
    return (long) channels * type.bytes();
  }

  /** Byte of the scratch memory where the gradient by the weights is. */
  long gradientsAt() {
    return table.paths().size() * step();
  }

  @Override
  public long scratchBytes() {
    return 2 * gradientsAt();
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
    for (int i = 0; i < sizes[target]; i++) {
      clear(out, outAt + i * outStep);
    }
    PathTable.Groups groups = table.groups(target);
    kernels.accumulate(
        groups,
        groups.path,
        groups.component,
        x,
        xAt,
        xStep,
        y,
        yAt,
        yStep,
        scratch,
        0,
        step(),
        out,
        outAt,
        outStep,
        channels);
  }

  /** Writes the gradient by the weights of a tile to {@link #gradientsAt}. */
  void weightGradients(
      MemorySegment x1,
      long x1At,
      long x1Step,
      MemorySegment x2,
      long x2At,
      long x2Step,
      MemorySegment g,
      long gAt,
      long gStep,
      MemorySegment scratch) {
    for (int path = 0; path < table.paths().size(); path++) {
      clear(scratch, gradientsAt() + path * step());
    }
    PathTable.Groups groups = table.groups(2);
    kernels.accumulate(
        groups,
        groups.component,
        groups.path,
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
        gradientsAt(),
        step(),
        channels);
  }

  private void clear(MemorySegment memory, long at) {
    for (int c = 0; c < channels; c++) {
      Cells.set(memory, type, at + (long) c * type.bytes(), 0);
    }
  }
}
