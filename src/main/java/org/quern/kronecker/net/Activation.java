package org.quern.kronecker.net;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;

/** What a layer does to each of its sums. The derivative is taken from the result. */
public enum Activation {
  /** {@code f(x) = x}. */
  IDENTITY(2) {
    @Override
    void apply(MemorySegment y) {}

    @Override
    void back(MemorySegment y, MemorySegment dy) {}
  },

  /** {@code f(x) = max(x, 0)}; the derivative at 0 is 0. */
  RELU(4) {
    @Override
    void apply(MemorySegment y) {
      int n = floats(y);
      MemorySegment base = NativeViews.base(y);
      long at = NativeViews.at(y, 0, y.byteSize());
      for (int k = 0; k < n; k++) {
        long here = at + (long) Float.BYTES * k;
        base.set(JAVA_FLOAT_UNALIGNED, here, Math.max(base.get(JAVA_FLOAT_UNALIGNED, here), 0));
      }
    }

    @Override
    void back(MemorySegment y, MemorySegment dy) {
      int n = floats(y);
      MemorySegment base = NativeViews.base(y);
      MemorySegment slope = NativeViews.base(dy);
      long at = NativeViews.at(y, 0, y.byteSize());
      long slopeAt = NativeViews.at(dy, 0, y.byteSize());
      for (int k = 0; k < n; k++) {
        float x = base.get(JAVA_FLOAT_UNALIGNED, at + (long) Float.BYTES * k);
        long here = slopeAt + (long) Float.BYTES * k;
        float d = slope.get(JAVA_FLOAT_UNALIGNED, here);
        slope.set(JAVA_FLOAT_UNALIGNED, here, x > 0 ? d : 0);
      }
    }
  },

  /** The hyperbolic tangent. */
  TANH(2) {
    @Override
    void apply(MemorySegment y) {
      int n = floats(y);
      MemorySegment base = NativeViews.base(y);
      long at = NativeViews.at(y, 0, y.byteSize());
      for (int k = 0; k < n; k++) {
        long here = at + (long) Float.BYTES * k;
        float x = base.get(JAVA_FLOAT_UNALIGNED, here);
        base.set(JAVA_FLOAT_UNALIGNED, here, (float) Math.tanh(x));
      }
    }

    @Override
    void back(MemorySegment y, MemorySegment dy) {
      int n = floats(y);
      MemorySegment base = NativeViews.base(y);
      MemorySegment slope = NativeViews.base(dy);
      long at = NativeViews.at(y, 0, y.byteSize());
      long slopeAt = NativeViews.at(dy, 0, y.byteSize());
      for (int k = 0; k < n; k++) {
        float x = base.get(JAVA_FLOAT_UNALIGNED, at + (long) Float.BYTES * k);
        long here = slopeAt + (long) Float.BYTES * k;
        float d = slope.get(JAVA_FLOAT_UNALIGNED, here);
        slope.set(JAVA_FLOAT_UNALIGNED, here, d * (1 - x * x));
      }
    }
  };

  /**
   * Variance of a first weight times its layer's width: 1 where signals are to keep their size on
   * the way, 2 where half of them is cut off (He et al., arXiv 1502.01852).
   */
  final double gain;

  Activation(double gain) {
    this.gain = gain;
  }

  /** {@code y <- f(y)}, floats without gaps. */
  abstract void apply(MemorySegment y);

  /** {@code dy <- dy f'}, where y is the result of {@link #apply}. */
  abstract void back(MemorySegment y, MemorySegment dy);

  private static int floats(MemorySegment y) {
    return Math.toIntExact(y.byteSize() / Float.BYTES);
  }
}
