package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/**
 * The filter of an edge as a matrix (specification, section 8, scheme 2): {@code M[k, i] = sum_j
 * G[i, j, k] f[j]}.
 */
final class EdgeMatrices implements EdgeFilter {
  private final Couplings couplings;
  private final int components1;
  private final int components3;

  EdgeMatrices(Couplings couplings, int components1, int components3) {
    this.couplings = couplings;
    this.components1 = components1;
    this.components3 = components3;
  }

  @Override
  public long tableElements() {
    return transposeAt() + (long) TileTable.pad(components1) * components3;
  }

  private long transposeAt() {
    return (long) TileTable.pad(components3) * components1;
  }

  @Override
  public int scratchRows() {
    return 0;
  }

  @Override
  public void prepare(double[] r, double[] f, double[] h, MemorySegment tables, DType type) {
    double[] matrix = new double[components3 * components1];
    for (int entry = 0; entry < couplings.size(); entry++) {
      matrix[couplings.out(entry) * components1 + couplings.first(entry)] +=
          couplings.value(entry) * f[couplings.second(entry)];
    }
    for (int k = 0; k < components3; k++) {
      for (int i = 0; i < components1; i++) {
        double value = matrix[k * components1 + i];
        TileTable.set(tables, type, TileTable.place(k, i, components1), value);
        TileTable.set(tables, type, transposeAt() + TileTable.place(i, k, components3), value);
      }
    }
  }

  @Override
  public void apply(
      SampleKernels kernels,
      boolean transposed,
      MemorySegment tables,
      MemorySegment in,
      long inAt,
      long inStep,
      MemorySegment out,
      long outAt,
      MemorySegment scratch,
      long scratchAt) {
    kernels.mix(
        tables,
        transposed ? transposeAt() : 0,
        transposed ? components1 : components3,
        transposed ? components3 : components1,
        in,
        inAt,
        inStep,
        out,
        outAt,
        (long) SampleKernels.LANES * kernels.type().bytes(),
        false);
  }
}
