package org.quern.kronecker.net;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;

/** What training makes small: a mean over the rows of a batch. */
public enum Loss {
  /** {@code |y - t|^2 / 2}. */
  SQUARED {
    @Override
    double row(MemorySegment y, MemorySegment t, MemorySegment dy, long at, int n, float weight) {
      double sum = 0;
      for (int k = 0; k < n; k++) {
        long here = at + (long) Float.BYTES * k;
        float error = y.get(JAVA_FLOAT_UNALIGNED, here) - t.get(JAVA_FLOAT_UNALIGNED, here);
        dy.set(JAVA_FLOAT_UNALIGNED, here, weight * error);
        sum += (double) error * error;
      }
      return sum / 2;
    }
  },

  /** {@code -sum t log softmax(y)}, natural logarithm; the targets t of a row sum to 1. */
  CROSS_ENTROPY {
    @Override
    double row(MemorySegment y, MemorySegment t, MemorySegment dy, long at, int n, float weight) {
      float largest = Float.NEGATIVE_INFINITY;
      for (int k = 0; k < n; k++) {
        largest = Math.max(largest, y.get(JAVA_FLOAT_UNALIGNED, at + (long) Float.BYTES * k));
      }
      double sum = 0;
      for (int k = 0; k < n; k++) {
        long here = at + (long) Float.BYTES * k;
        double share = Math.exp(y.get(JAVA_FLOAT_UNALIGNED, here) - largest);
        dy.set(JAVA_FLOAT_UNALIGNED, here, (float) share);
        sum += share;
      }
      double logarithm = Math.log(sum) + largest;
      double loss = 0;
      for (int k = 0; k < n; k++) {
        long here = at + (long) Float.BYTES * k;
        float target = t.get(JAVA_FLOAT_UNALIGNED, here);
        double share = dy.get(JAVA_FLOAT_UNALIGNED, here) / sum;
        dy.set(JAVA_FLOAT_UNALIGNED, here, (float) (weight * (share - target)));
        loss += target * (logarithm - y.get(JAVA_FLOAT_UNALIGNED, here));
      }
      return loss;
    }
  };

  /**
   * The loss of one row of n floats at an offset in bytes, and its gradient.
   *
   * @param y outputs
   * @param t targets
   * @param dy receives {@code weight} times the gradient by y
   */
  abstract double row(
      MemorySegment y, MemorySegment t, MemorySegment dy, long at, int n, float weight);
}
