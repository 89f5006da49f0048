package org.quern.gaunt;

import static java.lang.foreign.ValueLayout.JAVA_DOUBLE;

import java.lang.foreign.MemorySegment;

/**
 * The discrete Fourier transform of complex numbers in double precision, for lengths without a
 * prime factor above 5, by the self-sorting scheme of Stockham. Numbers are F64 pairs, real part
 * first. Immutable.
 *
 * <p>Source: Van Loan, "Computational frameworks for the fast Fourier transform", SIAM 1992,
 * section 1.7.
 */
final class Fft {
  private final int length;
  private final int[] factors;
  private final double[] cosines;
  private final double[] sines;

  /** The transform of {@link #size} numbers or more. */
  Fft(int atLeast) {
    length = size(atLeast);
    int[] found = new int[32];
    int count = 0;
    int rest = length;
    for (int factor : new int[] {4, 2, 3, 5}) {
      while (rest % factor == 0) {
        found[count++] = factor;
        rest /= factor;
      }
    }
    factors = java.util.Arrays.copyOf(found, count);
    cosines = new double[length];
    sines = new double[length];
    for (int i = 0; i < length; i++) {
      cosines[i] = Math.cos(2 * Math.PI * i / length);
      sines[i] = Math.sin(2 * Math.PI * i / length);
    }
  }

  /** The smallest length from {@code atLeast} on without a prime factor above 5. */
  static int size(int atLeast) {
    for (int size = Math.max(1, atLeast); ; size++) {
      int rest = size;
      for (int factor : new int[] {2, 3, 5}) {
        while (rest % factor == 0) {
          rest /= factor;
        }
      }
      if (rest == 1) {
        return size;
      }
    }
  }

  int length() {
    return length;
  }

  /** Numbers of scratch memory that a transform takes. */
  int scratchNumbers() {
    return 2 * length;
  }

  /**
   * Transforms a square of numbers in place, along its rows and its columns: {@code sum over j, k
   * of z[j, k] exp(sign 2 pi i (j u + k v) / length)}.
   *
   * @param sign 1 or -1
   * @param at number of the first number in {@code data}
   * @param scratchAt number where {@link #scratchNumbers} numbers of scratch memory begin
   */
  void square(int sign, MemorySegment data, long at, long scratchAt) {
    for (int i = 0; i < length; i++) {
      line(sign, data, at + (long) i * length, 1, scratchAt);
    }
    for (int i = 0; i < length; i++) {
      line(sign, data, at + i, length, scratchAt);
    }
  }

  private void line(int sign, MemorySegment data, long at, long step, long scratchAt) {
    long from = scratchAt;
    long to = scratchAt + length;
    for (int i = 0; i < length; i++) {
      copy(data, at + i * step, from + i);
    }
    int rest = length;
    int done = 1;
    for (int factor : factors) {
      int part = rest / factor;
      for (int k = 0; k < part; k++) {
        for (int j = 0; j < factor; j++) {
          for (int q = 0; q < done; q++) {
            double re = 0;
            double im = 0;
            for (int r = 0; r < factor; r++) {
              // w_factor^(j r) w_rest^(j k)
              long turn = (long) j * r * (length / factor) + (long) j * k * (length / rest);
              int angle = (int) (turn % length);
              double cos = cosines[angle];
              double sin = sign * sines[angle];
              long number = 2 * (from + q + (long) done * (k + (long) part * r));
              double x = data.getAtIndex(JAVA_DOUBLE, number);
              double y = data.getAtIndex(JAVA_DOUBLE, number + 1);
              re += x * cos - y * sin;
              im += x * sin + y * cos;
            }
            long number = 2 * (to + q + (long) done * ((long) factor * k + j));
            data.setAtIndex(JAVA_DOUBLE, number, re);
            data.setAtIndex(JAVA_DOUBLE, number + 1, im);
          }
        }
      }
      rest = part;
      done *= factor;
      long swap = from;
      from = to;
      to = swap;
    }
    for (int i = 0; i < length; i++) {
      copy(data, from + i, at + i * step);
    }
  }

  private static void copy(MemorySegment data, long from, long to) {
    data.setAtIndex(JAVA_DOUBLE, 2 * to, data.getAtIndex(JAVA_DOUBLE, 2 * from));
    data.setAtIndex(JAVA_DOUBLE, 2 * to + 1, data.getAtIndex(JAVA_DOUBLE, 2 * from + 1));
  }
}
