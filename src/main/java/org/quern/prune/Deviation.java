package org.quern.prune;

import java.util.Arrays;
import org.quern.tensor.Tensor;

/** Distances between a result and its recorded value; NaN where the two cannot be compared. */
final class Deviation {
  private Deviation() {}

  /** Largest |got - expected|. */
  static double absolute(float[] got, float[] expected) {
    double worst = got.length == expected.length ? 0 : Double.NaN;
    for (int i = 0; i < got.length && !Double.isNaN(worst); i++) {
      worst = Math.max(worst, Math.abs((double) got[i] - expected[i]));
    }
    return worst;
  }

  /** Largest |got - expected| / max(|expected|, floor), 0 where both are equal. */
  static double relative(float[] got, float[] expected, double floor) {
    double worst = got.length == expected.length ? 0 : Double.NaN;
    for (int i = 0; i < got.length && !Double.isNaN(worst); i++) {
      worst = Math.max(worst, relative(got[i], expected[i], floor));
    }
    return worst;
  }

  /** |got - expected| / max(|expected|, floor), 0 where both are equal. */
  static double relative(double got, double expected, double floor) {
    return got == expected ? 0 : Math.abs(got - expected) / Math.max(Math.abs(expected), floor);
  }

  /** Number of values that are not the same. */
  static double different(float[] got, float[] expected) {
    double count = got.length == expected.length ? 0 : Double.NaN;
    for (int i = 0; i < got.length; i++) {
      count += got[i] == expected[i] ? 0 : 1;
    }
    return count;
  }

  /** Number of bits that differ between two packed masks, U8 of the same shape. */
  static double bits(Tensor got, Tensor expected) {
    if (!Arrays.equals(got.shape(), expected.shape())) {
      return Double.NaN;
    }
    long count = 0;
    for (long row = 0; row < got.dim(0); row++) {
      for (long at = 0; at < got.dim(1); at++) {
        count += Long.bitCount(got.getLong(row, at) ^ expected.getLong(row, at));
      }
    }
    return count;
  }
}
