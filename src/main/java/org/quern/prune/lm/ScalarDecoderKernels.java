package org.quern.prune.lm;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The formulas as they read, sums and exponentials in binary64. */
final class ScalarDecoderKernels implements DecoderKernels {
  static final ScalarDecoderKernels INSTANCE = new ScalarDecoderKernels();

  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private ScalarDecoderKernels() {}

  private static double get(MemorySegment x, long i) {
    return x.get(FLOAT, i * Float.BYTES);
  }

  private static void set(MemorySegment x, long i, double value) {
    x.set(FLOAT, i * Float.BYTES, (float) value);
  }

  /** 1 / sqrt(mean of squares + epsilon) of the elements from {@code first} on. */
  private static double inverseRoot(MemorySegment x, long first, int width, double epsilon) {
    double squares = 0;
    for (int i = 0; i < width; i++) {
      squares += get(x, first + i) * get(x, first + i);
    }
    return 1 / Math.sqrt(squares / width + epsilon);
  }

  @Override
  public void norm(
      MemorySegment x, MemorySegment gain, MemorySegment y, int rows, int width, double epsilon) {
    for (int row = 0; row < rows; row++) {
      long first = (long) row * width;
      double r = inverseRoot(x, first, width, epsilon);
      for (int i = 0; i < width; i++) {
        set(y, first + i, get(x, first + i) * r * get(gain, i));
      }
    }
  }

  @Override
  public void normBackward(
      MemorySegment x,
      MemorySegment gain,
      MemorySegment delta,
      MemorySegment gradient,
      int rows,
      int width,
      double epsilon) {
    for (int row = 0; row < rows; row++) {
      long first = (long) row * width;
      double r = inverseRoot(x, first, width, epsilon);
      double dot = 0;
      for (int i = 0; i < width; i++) {
        dot += get(gain, i) * get(delta, first + i) * get(x, first + i);
      }
      double pull = dot / width * r * r * r;
      for (int i = 0; i < width; i++) {
        double through = r * get(gain, i) * get(delta, first + i) - pull * get(x, first + i);
        set(gradient, first + i, get(gradient, first + i) + through);
      }
    }
  }

  @Override
  public void rotate(
      MemorySegment x,
      MemorySegment cosines,
      MemorySegment sines,
      int positions,
      int heads,
      int size,
      boolean back) {
    int half = size / 2;
    for (int position = 0; position < positions; position++) {
      for (int head = 0; head < heads; head++) {
        long first = ((long) position * heads + head) * size;
        for (int i = 0; i < half; i++) {
          double cosine = get(cosines, (long) position * half + i);
          double sine = get(sines, (long) position * half + i);
          double a = get(x, first + i);
          double b = get(x, first + half + i);
          double turn = back ? -sine : sine;
          set(x, first + i, a * cosine - b * turn);
          set(x, first + half + i, b * cosine + a * turn);
        }
      }
    }
  }

  @Override
  public void causalSoftmax(MemorySegment scores, int rows, int columns, int first) {
    for (int row = 0; row < rows; row++) {
      long at = (long) row * columns;
      int seen = first + row + 1;
      double largest = largest(scores, at, seen);
      double sum = 0;
      for (int i = 0; i < seen; i++) {
        double exponential = Math.exp(get(scores, at + i) - largest);
        set(scores, at + i, exponential);
        sum += exponential;
      }
      for (int i = 0; i < columns; i++) {
        set(scores, at + i, i < seen ? get(scores, at + i) / sum : 0);
      }
    }
  }

  private static double largest(MemorySegment x, long first, int n) {
    double largest = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < n; i++) {
      largest = Math.max(largest, get(x, first + i));
    }
    return largest;
  }

  @Override
  public void softmaxBackward(MemorySegment p, MemorySegment delta, int rows, int columns) {
    for (int row = 0; row < rows; row++) {
      long at = (long) row * columns;
      double dot = 0;
      for (int i = 0; i < columns; i++) {
        dot += get(p, at + i) * get(delta, at + i);
      }
      for (int i = 0; i < columns; i++) {
        set(delta, at + i, get(p, at + i) * (get(delta, at + i) - dot));
      }
    }
  }

  @Override
  public void gate(MemorySegment gate, MemorySegment up, MemorySegment y, int n) {
    for (int i = 0; i < n; i++) {
      set(y, i, get(gate, i) * sigmoid(get(gate, i)) * get(up, i));
    }
  }

  @Override
  public void gateBackward(MemorySegment gate, MemorySegment up, MemorySegment delta, int n) {
    for (int i = 0; i < n; i++) {
      double x = get(gate, i);
      double s = sigmoid(x);
      set(gate, i, get(delta, i) * get(up, i) * s * (1 + x * (1 - s)));
      set(up, i, get(delta, i) * x * s);
    }
  }

  private static double sigmoid(double x) {
    return 1 / (1 + Math.exp(-x));
  }

  @Override
  public double surprise(MemorySegment scores, long at, int n, int token) {
    long first = at / Float.BYTES;
    double largest = largest(scores, first, n);
    double sum = 0;
    for (int i = 0; i < n; i++) {
      sum += Math.exp(get(scores, first + i) - largest);
    }
    return Math.log(sum) + largest - get(scores, first + token);
  }

  @Override
  public double surpriseGradient(MemorySegment scores, long at, int n, int token, float factor) {
    long first = at / Float.BYTES;
    double surprise = surprise(scores, at, n, token);
    double logSum = surprise + get(scores, first + token);
    for (int i = 0; i < n; i++) {
      double p = Math.exp(get(scores, first + i) - logSum);
      set(scores, first + i, factor * (i == token ? p - 1 : p));
    }
    return surprise;
  }

  @Override
  public void score(
      MemorySegment query,
      MemorySegment keys,
      int stride,
      int positions,
      int size,
      float scale,
      MemorySegment scores) {
    for (int j = 0; j < positions; j++) {
      double dot = 0;
      for (int i = 0; i < size; i++) {
        dot += get(query, i) * get(keys, (long) j * stride + i);
      }
      set(scores, j, scale * dot);
    }
  }

  @Override
  public void mix(
      MemorySegment weights,
      MemorySegment values,
      int stride,
      int positions,
      int size,
      MemorySegment y) {
    for (int i = 0; i < size; i++) {
      double sum = 0;
      for (int j = 0; j < positions; j++) {
        sum += get(weights, j) * get(values, (long) j * stride + i);
      }
      set(y, i, sum);
    }
  }
}
