package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/** The formulas as written. */
final class ScalarTileKernels implements TileKernels {
  private final DType type;

  ScalarTileKernels(DType type) {
    this.type = type;
  }

  @Override
  public void scale(
      MemorySegment from,
      long fromAt,
      long fromStep,
      boolean weighted,
      MemorySegment weights,
      long weightsAt,
      long weightsStep,
      MemorySegment to,
      long toAt,
      long toStep,
      boolean add,
      int degree,
      int lanes) {
    for (int l = 0; l <= degree; l++) {
      for (int i = l * l; i < (l + 1) * (l + 1); i++) {
        for (int c = 0; c < lanes; c++) {
          long channel = (long) c * type.bytes();
          double value = Cells.get(from, type, fromAt + i * fromStep + channel);
          if (weighted) {
            value *= Cells.get(weights, type, weightsAt + l * weightsStep + channel);
          }
          long at = toAt + i * toStep + channel;
          Cells.set(to, type, at, add ? value + Cells.get(to, type, at) : value);
        }
      }
    }
  }

  @Override
  public void dot(
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment sums,
      long sumsAt,
      long sumsStep,
      int degree,
      int lanes) {
    for (int l = 0; l <= degree; l++) {
      for (int c = 0; c < lanes; c++) {
        long channel = (long) c * type.bytes();
        double sum = 0;
        for (int i = l * l; i < (l + 1) * (l + 1); i++) {
          sum +=
              Cells.get(x, type, xAt + i * xStep + channel)
                  * Cells.get(y, type, yAt + i * yStep + channel);
        }
        Cells.add(sums, DType.F64, sumsAt + l * sumsStep + (long) c * Double.BYTES, sum);
      }
    }
  }
}
