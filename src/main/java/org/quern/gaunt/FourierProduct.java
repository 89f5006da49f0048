package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.tensor.DType;

/**
 * The paper's route (specification, section 6, B): harmonics to double Fourier series, a linear
 * convolution of the series by fast transforms, and back by integrals over the sphere. Both series
 * go through one complex transform, as the functions are real. In double precision channel by
 * channel on every tier: a reference, and the route whose cost grows least with the degree.
 */
final class FourierProduct implements ProductAlgorithm {
  private static final int CHANNELS = 16;

  private final DType type;
  private final TrilinearForm form;
  private final FourierTables[] tables = new FourierTables[3];

  /** By target: the transform that holds the product of the two others. */
  private final Fft[] transforms = new Fft[3];

  /** By operand, order and place of a coefficient, factors of the series and of the integrals. */
  private final double[][] series = new double[3][];

  private final double[][] integrals = new double[3][];

  /** The algorithm for tiles of {@code type}, F32 or F64. */
  FourierProduct(TrilinearForm form, DType type) {
    this(form, type, 0);
  }

  /**
   * The algorithm with transforms of a length or more.
   *
   * @param atLeast the length; 0 for the least that holds the product
   */
  FourierProduct(TrilinearForm form, DType type, int atLeast) {
    this.form = form;
    this.type = type;
    for (int operand = 0; operand < 3; operand++) {
      int bound = bound(operand);
      tables[operand] = new FourierTables(form.degree(operand), bound);
      transforms[operand] = new Fft(Math.max(2 * bound + 1, atLeast));
      series[operand] = flat(operand, form.degree(operand), true);
      integrals[operand] = flat(operand, bound, false);
    }
  }

  /** Highest frequency of the product of the two other operands. */
  private int bound(int operand) {
    return form.degree((operand + 1) % 3) + form.degree((operand + 2) % 3);
  }

  /** Pairs by component, frequency and slot, times the factor of the degree. */
  private double[] flat(int operand, int bound, boolean series) {
    int width = 2 * bound + 1;
    double[] flat = new double[form.components(operand) * width * 4];
    for (int l = 0; l <= form.degree(operand); l++) {
      for (int m = -l; m <= l; m++) {
        for (int u = -bound; u <= bound; u++) {
          for (int slot = 0; slot < 2; slot++) {
            double[] pair =
                series
                    ? tables[operand].series(l, m, u, slot)
                    : tables[operand].integral(l, m, u, slot);
            int at = (((l * l + l + m) * width + u + bound) * 2 + slot) * 2;
            flat[at] = form.scale(operand, l) * pair[0];
            flat[at + 1] = form.scale(operand, l) * pair[1];
          }
        }
      }
    }
    return flat;
  }

  @Override
  public int channels() {
    return CHANNELS;
  }

  @Override
  public long scratchBytes() {
    return Arrays.stream(transforms)
        .mapToLong(fft -> 2L * Double.BYTES * (square(fft) + fft.scratchNumbers()))
        .max()
        .orElse(0);
  }

  private static long square(Fft fft) {
    return (long) fft.length() * fft.length();
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
    for (int c = 0; c < CHANNELS; c++) {
      long channel = (long) c * type.bytes();
      int length = spectrum(target, x, xAt + channel, xStep, y, yAt + channel, yStep, scratch);
      integrate(target, scratch, length, out, outAt + channel, outStep);
    }
  }

  /**
   * The spectrum of the product of the two operands beside the target, for one channel.
   *
   * @param scratch receives it, number by number as {@link #place} says
   * @return the length of the transform
   */
  int spectrum(
      int target,
      MemorySegment x,
      long xAt,
      long xStep,
      MemorySegment y,
      long yAt,
      long yStep,
      MemorySegment scratch) {
    Fft fft = transforms[target];
    int length = spectrum(target, target == 0 ? 1 : 0, x, xAt, xStep, scratch);
    addSeries(target == 2 ? 1 : 2, y, yAt, yStep, length, true, scratch);
    multiply(fft, scratch);
    return length;
  }

  /** The spectrum of one operand, for one channel, in the transform of a target. */
  int spectrum(
      int target, int operand, MemorySegment x, long xAt, long xStep, MemorySegment scratch) {
    Fft fft = transforms[target];
    scratch.asSlice(0, square(fft) * 2 * Double.BYTES).fill((byte) 0);
    addSeries(operand, x, xAt, xStep, fft.length(), false, scratch);
    return fft.length();
  }

  /** From the spectra F and i G to the spectrum of the product, real functions both. */
  private static void multiply(Fft fft, MemorySegment scratch) {
    fft.square(1, scratch, 0, square(fft));
    double scale = 1.0 / square(fft);
    for (long i = 0; i < square(fft); i++) {
      double f = scratch.getAtIndex(JAVA_DOUBLE, 2 * i);
      double g = scratch.getAtIndex(JAVA_DOUBLE, 2 * i + 1);
      scratch.setAtIndex(JAVA_DOUBLE, 2 * i, f * g * scale);
      scratch.setAtIndex(JAVA_DOUBLE, 2 * i + 1, 0);
    }
    fft.square(-1, scratch, 0, square(fft));
  }

  /** Adds the series of an operand, or i times it, to a spectrum. */
  private void addSeries(
      int operand,
      MemorySegment x,
      long at,
      long step,
      int length,
      boolean imaginary,
      MemorySegment spectrum) {
    int width = 2 * form.degree(operand) + 1;
    for (int l = 0; l <= form.degree(operand); l++) {
      for (int m = -l; m <= l; m++) {
        int component = l * l + l + m;
        double value = Cells.get(x, type, at + component * step);
        for (int u = -l; u <= l; u++) {
          for (int slot = 0; slot < 2; slot++) {
            int pair = ((component * width + u + form.degree(operand)) * 2 + slot) * 2;
            double re = value * series[operand][pair];
            double im = value * series[operand][pair + 1];
            long number = place(u, slot == 0 ? m : -m, length);
            add(spectrum, 2 * number, imaginary ? -im : re);
            add(spectrum, 2 * number + 1, imaginary ? re : im);
          }
        }
      }
    }
  }

  private static void add(MemorySegment memory, long index, double value) {
    memory.setAtIndex(JAVA_DOUBLE, index, memory.getAtIndex(JAVA_DOUBLE, index) + value);
  }

  /** Where the number of frequencies (u, v) is. */
  static long place(int u, int v, int length) {
    return (long) Math.floorMod(u, length) * length + Math.floorMod(v, length);
  }

  private void integrate(
      int target, MemorySegment spectrum, int length, MemorySegment out, long at, long step) {
    int bound = bound(target);
    int width = 2 * bound + 1;
    for (int l = 0; l <= form.degree(target); l++) {
      for (int m = -l; m <= l; m++) {
        int component = l * l + l + m;
        double sum = 0;
        for (int u = -bound; u <= bound && Math.abs(m) <= bound; u++) {
          for (int slot = 0; slot < 2; slot++) {
            int pair = ((component * width + u + bound) * 2 + slot) * 2;
            long number = 2 * place(u, slot == 0 ? m : -m, length);
            // The imaginary parts cancel, since the product is real.
            sum +=
                integrals[target][pair] * spectrum.getAtIndex(JAVA_DOUBLE, number)
                    - integrals[target][pair + 1] * spectrum.getAtIndex(JAVA_DOUBLE, number + 1);
          }
        }
        Cells.set(out, type, at + component * step, sum);
      }
    }
  }
}
