package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/** The formula as written. */
final class ScalarPathKernels implements PathKernels {
  private final DType type;

  ScalarPathKernels(DType type) {
    this.type = type;
  }

  @Override
  public void accumulate(
      PathTable.Groups groups,
      int[] by,
      int[] to,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment factors,
      long factorsAt,
      long factorsStep,
      MemorySegment out,
      long outAt,
      long outStep,
      int lanes) {
    for (int c = 0; c < lanes; c++) {
      long channel = (long) c * type.bytes();
      int entry = 0;
      for (int group = 0; group < by.length; group++) {
        double sum = 0;
        for (; entry < groups.end[group]; entry++) {
          sum +=
              groups.values[entry]
                  * Cells.get(x, type, xAt + groups.first[entry] * xStep + channel)
                  * Cells.get(y, type, yAt + groups.second[entry] * yStep + channel);
        }
        sum *= Cells.get(factors, type, factorsAt + by[group] * factorsStep + channel);
        Cells.add(out, type, outAt + to[group] * outStep + channel, sum);
      }
    }
  }
}
