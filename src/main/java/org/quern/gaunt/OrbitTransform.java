package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Samples functions at four orbits of an {@link OrbitGrid} at a time, and the transpose of that: a
 * quarter of the multiply-adds of the plain matrix. Coefficients are in the order of {@link
 * #order}: cosines of even orders, of odd ones, sines of even orders, of odd ones. Immutable.
 */
final class OrbitTransform {
  private static final int ORBITS = SampleKernels.FEW;

  private final SampleKernels kernels;
  private final long row;
  private final int[] order;

  /** Where each of the four parts begins; five entries. */
  private final int[] starts = new int[5];

  /** By chunk and part. */
  private final TileTable[][] sampling;

  /**
   * A transform.
   *
   * @param weighted whether samples are multiplied by the weights of the points
   */
  OrbitTransform(Arena arena, SampleKernels kernels, OrbitGrid grid, int degree, boolean weighted) {
    this.kernels = kernels;
    this.row = (long) SampleKernels.LANES * kernels.type().bytes();
    order = new int[(degree + 1) * (degree + 1)];
    int place = 0;
    for (int part = 0; part < 4; part++) {
      starts[part] = place;
      for (int l = 0; l <= degree; l++) {
        for (int m = -l; m <= l; m++) {
          if ((m < 0 ? 2 : 0) + Math.abs(m) % 2 == part) {
            order[place++] = l * l + l + m;
          }
        }
      }
    }
    starts[4] = place;
    double[][] values = grid.values(degree);
    int chunks = chunks(grid);
    sampling = new TileTable[chunks][4];
    for (int chunk = 0; chunk < chunks; chunk++) {
      for (int part = 0; part < 4; part++) {
        double[][] table = new double[ORBITS][starts[part + 1] - starts[part]];
        for (int i = 0; i < ORBITS && chunk * ORBITS + i < grid.size(); i++) {
          int orbit = chunk * ORBITS + i;
          for (int j = 0; j < table[i].length; j++) {
            double value = values[orbit][order[starts[part] + j]];
            table[i][j] = weighted ? value * grid.weight(orbit) : value;
          }
        }
        sampling[chunk][part] = TileTable.of(arena, kernels.type(), table);
      }
    }
  }

  /** Chunks of {@link SampleKernels#POINTS} points. */
  static int chunks(OrbitGrid grid) {
    return Math.ceilDiv(grid.size(), ORBITS);
  }

  /** The orbit and its image of a point of a chunk. */
  static int orbit(int chunk, int point) {
    return chunk * ORBITS + point % ORBITS;
  }

  static int image(int point) {
    return point / ORBITS;
  }

  /** The component at each place. */
  int[] order() {
    return order;
  }

  /** Samples a function at a chunk: {@link SampleKernels#POINTS} rows from {@code samplesRow}. */
  void sample(int chunk, MemorySegment x, long xAt, MemorySegment samples, long samplesRow) {
    for (int part = 0; part < 4; part++) {
      TileTable table = sampling[chunk][part];
      kernels.mix(
          table.memory(),
          0,
          ORBITS,
          table.columns(),
          x,
          xAt + starts[part] * row,
          row,
          samples,
          (samplesRow + (long) part * ORBITS) * row,
          row,
          false);
    }
    kernels.butterfly(ORBITS, samples, samplesRow);
  }

  /** The transpose of {@link #sample}, which overwrites the samples. */
  void project(
      int chunk,
      MemorySegment samples,
      long samplesRow,
      MemorySegment out,
      long outAt,
      boolean add) {
    kernels.butterfly(ORBITS, samples, samplesRow);
    for (int part = 0; part < 4; part++) {
      TileTable table = sampling[chunk][part];
      kernels.unmix(
          table.memory(),
          table.columns(),
          samples,
          samplesRow + (long) part * ORBITS,
          out,
          outAt + starts[part] * row,
          add);
    }
  }
}
