package org.quern.gaunt;

import static org.quern.gaunt.SampleKernels.LANES;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.tensor.DType;

/**
 * Samples a function that is given by coefficients on a {@link SphereGrid}, and the transpose of
 * that, in two steps: degrees are summed at every ring for each order m on its own, and the series
 * in m is summed at every azimuth. About rings x (n(L) + azimuths x (2L+1)) multiply-adds per
 * channel, where the matrix of all samples takes rings x azimuths x n(L). Immutable.
 *
 * <p>Coefficients and amplitudes are kept order by order, m from -L to L; a negative m is a sine.
 */
final class SphereTransform {
  private final SampleKernels kernels;
  private final long row;
  private final int degree;
  private final int rings;
  private final int azimuths;
  private final int orders;

  /** The component at each place of the order by order layout, and where an order begins. */
  private final int[] components;

  private final int[] starts;

  /** By amplitude: from coefficients to rings, and its transpose. */
  private final TileTable[] legendre;

  private final TileTable[] legendreTransposed;
  private final TileTable waves;
  private final TileTable wavesTransposed;

  /**
   * A transform.
   *
   * @param scales factor of each degree
   * @param weighted whether samples are multiplied by the weights of the points
   */
  SphereTransform(
      Arena arena, SampleKernels kernels, SphereGrid grid, double[] scales, boolean weighted) {
    this.kernels = kernels;
    this.row = (long) LANES * kernels.type().bytes();
    this.degree = scales.length - 1;
    this.rings = grid.rings();
    this.azimuths = grid.azimuths();
    components = new int[(degree + 1) * (degree + 1)];
    starts = new int[2 * degree + 2];
    orders = 2 * degree + 1;
    double[][] functions = grid.rings(degree);
    legendre = new TileTable[orders];
    legendreTransposed = new TileTable[orders];
    double[][] wave = new double[azimuths][orders];
    int place = 0;
    for (int m = -degree; m <= degree; m++) {
      int slot = m + degree;
      starts[slot] = place;
      for (int l = Math.abs(m); l <= degree; l++) {
        components[place++] = l * l + l + m;
      }
      double[][] table = new double[rings][degree - Math.abs(m) + 1];
      for (int ring = 0; ring < rings; ring++) {
        double factor = m == 0 ? 1 : Math.sqrt(2);
        factor *= weighted ? grid.weight(ring * azimuths) : 1;
        for (int l = Math.abs(m); l <= degree; l++) {
          double value = functions[ring][Legendre.index(l, Math.abs(m))];
          table[ring][l - Math.abs(m)] = factor * scales[l] * value;
        }
      }
      legendre[slot] = TileTable.of(arena, kernels.type(), table);
      legendreTransposed[slot] = TileTable.of(arena, kernels.type(), TileTable.transposed(table));
      for (int turn = 0; turn < azimuths; turn++) {
        wave[turn][slot] = m < 0 ? grid.sine(-m, turn) : grid.cosine(m, turn);
      }
    }
    starts[orders] = place;
    waves = TileTable.of(arena, kernels.type(), wave);
    wavesTransposed = TileTable.of(arena, kernels.type(), TileTable.transposed(wave));
  }

  /** Rows of samples. */
  int samples() {
    return rings * azimuths;
  }

  /** Rows of scratch memory. */
  int scratchRows() {
    return components.length + rings * orders;
  }

  /**
   * Samples a function.
   *
   * @param type element type of the coefficients; the vector tier takes its own alone
   * @param xAt byte of the first coefficient; they are {@code xStep} bytes apart
   * @param samples receives {@link #samples} rows
   * @param scratch holds {@link #scratchRows} rows
   */
  void toGrid(
      DType type,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment samples,
      long samplesRow,
      MemorySegment scratch,
      long scratchRow) {
    kernels.collect(components, type, x, xAt, xStep, scratch, scratchRow);
    long amplitudes = (scratchRow + components.length) * row;
    for (int slot = 0; slot < orders; slot++) {
      kernels.mix(
          legendre[slot].memory(),
          0,
          rings,
          legendre[slot].columns(),
          scratch,
          (scratchRow + starts[slot]) * row,
          row,
          scratch,
          amplitudes + slot * row,
          orders * row,
          false);
    }
    for (int ring = 0; ring < rings; ring++) {
      kernels.mix(
          waves.memory(),
          0,
          azimuths,
          orders,
          scratch,
          amplitudes + (long) ring * orders * row,
          row,
          samples,
          (samplesRow + (long) ring * azimuths) * row,
          row,
          false);
    }
  }

  /** The transpose of {@link #toGrid}: sums samples times harmonics. */
  void fromGrid(
      MemorySegment samples,
      long samplesRow,
      DType type,
      MemorySegment out,
      long outAt,
      long outStep,
      MemorySegment scratch,
      long scratchRow) {
    long amplitudes = (scratchRow + components.length) * row;
    for (int ring = 0; ring < rings; ring++) {
      kernels.mix(
          wavesTransposed.memory(),
          0,
          orders,
          azimuths,
          samples,
          (samplesRow + (long) ring * azimuths) * row,
          row,
          scratch,
          amplitudes + (long) ring * orders * row,
          row,
          false);
    }
    for (int slot = 0; slot < orders; slot++) {
      kernels.mix(
          legendreTransposed[slot].memory(),
          0,
          legendreTransposed[slot].rows(),
          rings,
          scratch,
          amplitudes + slot * row,
          orders * row,
          scratch,
          (scratchRow + starts[slot]) * row,
          row,
          false);
    }
    kernels.distribute(components, scratch, scratchRow, type, out, outAt, outStep);
  }
}
