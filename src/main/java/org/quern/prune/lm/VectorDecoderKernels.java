package org.quern.prune.lm;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;
import org.quern.runtime.vector.VectorLanes;

/**
 * The kernels on the Vector API, in float; what is left behind the last whole vector is computed
 * one by one. Sums run in one float per lane over at most {@link #SPAN} elements, and in double
 * above that.
 *
 * <p>Exponentials are those of {@link VectorExponential}.
 */
final class VectorDecoderKernels implements DecoderKernels {
  static final VectorDecoderKernels INSTANCE = new VectorDecoderKernels();

  private static final VectorSpecies<Float> SPECIES = FloatVector.SPECIES_PREFERRED;
  private static final int LANES = SPECIES.length();
  private static final ByteOrder ORDER = ByteOrder.LITTLE_ENDIAN;
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT_UNALIGNED;

  /** Elements whose sums stay in float: 64 additions per lane of 512-bit vectors. */
  private static final int SPAN = 64 * 16;

  private VectorDecoderKernels() {}

  private static int whole(int n) {
    return n / LANES * LANES;
  }

  private static long bytes(long n) {
    return n * Float.BYTES;
  }

  private static FloatVector load(MemorySegment base, long at) {
    return FloatVector.fromMemorySegment(SPECIES, base, at, ORDER);
  }

  private static double get(MemorySegment base, long at) {
    return base.get(FLOAT, at);
  }

  private static void set(MemorySegment base, long at, double value) {
    base.set(FLOAT, at, (float) value);
  }

  @Override
  public void norm(
      MemorySegment x, MemorySegment gain, MemorySegment y, int rows, int width, double epsilon) {
    MemorySegment base = NativeViews.base(x);
    MemorySegment gainBase = NativeViews.base(gain);
    MemorySegment target = NativeViews.base(y);
    long from = NativeViews.at(x, 0, bytes((long) rows * width));
    long gainAt = NativeViews.at(gain, 0, bytes(width));
    long to = NativeViews.at(y, 0, bytes((long) rows * width));
    int whole = whole(width);
    for (int row = 0; row < rows; row++) {
      long at = from + bytes((long) row * width);
      long out = to + bytes((long) row * width);
      double root = 1 / Math.sqrt(dot(base, at, base, at, width) / width + epsilon);
      float scale = (float) root;
      for (int i = 0; i < whole; i += LANES) {
        load(base, at + bytes(i))
            .mul(scale)
            .mul(load(gainBase, gainAt + bytes(i)))
            .intoMemorySegment(target, out + bytes(i), ORDER);
      }
      for (int i = whole; i < width; i++) {
        double value = get(base, at + bytes(i)) * root * get(gainBase, gainAt + bytes(i));
        set(target, out + bytes(i), value);
      }
    }
  }

  /** The sum of a b over n elements. */
  private static double dot(MemorySegment a, long aAt, MemorySegment b, long bAt, int n) {
    double sum = 0;
    int whole = whole(n);
    for (int i = 0; i < whole; i += SPAN) {
      sum += dotSpan(a, aAt + bytes(i), b, bAt + bytes(i), Math.min(SPAN, whole - i));
    }
    for (int i = whole; i < n; i++) {
      sum += get(a, aAt + bytes(i)) * get(b, bAt + bytes(i));
    }
    return sum;
  }

  private static float dotSpan(MemorySegment a, long aAt, MemorySegment b, long bAt, int n) {
    FloatVector sum = FloatVector.zero(SPECIES);
    for (int i = 0; i < n; i += LANES) {
      sum = load(a, aAt + bytes(i)).fma(load(b, bAt + bytes(i)), sum);
    }
    return VectorLanes.sum(sum);
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
    long size = bytes((long) rows * width);
    long xAt = NativeViews.at(x, 0, size);
    long gainAt = NativeViews.at(gain, 0, bytes(width));
    long deltaAt = NativeViews.at(delta, 0, size);
    long gradientAt = NativeViews.at(gradient, 0, size);
    MemorySegment xBase = NativeViews.base(x);
    for (int row = 0; row < rows; row++) {
      long offset = bytes((long) row * width);
      long at = xAt + offset;
      double r = 1 / Math.sqrt(dot(xBase, at, xBase, at, width) / width + epsilon);
      normBackward(
          x, at, gain, gainAt, delta, deltaAt + offset, gradient, gradientAt + offset, width, r);
    }
  }

  /** One row, with the r of its norm. */
  private static void normBackward(
      MemorySegment x,
      long xAt,
      MemorySegment gain,
      long gainAt,
      MemorySegment delta,
      long deltaAt,
      MemorySegment gradient,
      long gradientAt,
      int width,
      double r) {
    MemorySegment xBase = NativeViews.base(x);
    MemorySegment gainBase = NativeViews.base(gain);
    MemorySegment deltaBase = NativeViews.base(delta);
    MemorySegment base = NativeViews.base(gradient);
    int whole = whole(width);
    double dot = 0;
    for (int i = 0; i < whole; i += SPAN) {
      long at = bytes(i);
      int n = Math.min(SPAN, whole - i);
      dot += tripleSpan(xBase, xAt + at, gainBase, gainAt + at, deltaBase, deltaAt + at, n);
    }
    for (int i = whole; i < width; i++) {
      long at = bytes(i);
      dot += get(xBase, xAt + at) * get(gainBase, gainAt + at) * get(deltaBase, deltaAt + at);
    }
    double pull = -dot / width * r * r * r;
    float scale = (float) r;
    FloatVector pulls = FloatVector.broadcast(SPECIES, (float) pull);
    for (int i = 0; i < whole; i += LANES) {
      long at = bytes(i);
      FloatVector through = load(gainBase, gainAt + at).mul(load(deltaBase, deltaAt + at));
      load(xBase, xAt + at)
          .fma(pulls, through.mul(scale))
          .add(load(base, gradientAt + at))
          .intoMemorySegment(base, gradientAt + at, ORDER);
    }
    for (int i = whole; i < width; i++) {
      long at = bytes(i);
      double through = r * get(gainBase, gainAt + at) * get(deltaBase, deltaAt + at);
      double sum = through + pull * get(xBase, xAt + at) + get(base, gradientAt + at);
      set(base, gradientAt + at, sum);
    }
  }

  private static float tripleSpan(
      MemorySegment a, long aAt, MemorySegment b, long bAt, MemorySegment c, long cAt, int n) {
    FloatVector sum = FloatVector.zero(SPECIES);
    for (int i = 0; i < n; i += LANES) {
      FloatVector product = load(a, aAt + bytes(i)).mul(load(b, bAt + bytes(i)));
      sum = product.fma(load(c, cAt + bytes(i)), sum);
    }
    return VectorLanes.sum(sum);
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
    MemorySegment base = NativeViews.base(x);
    MemorySegment cosineBase = NativeViews.base(cosines);
    MemorySegment sineBase = NativeViews.base(sines);
    long from = NativeViews.at(x, 0, bytes((long) positions * heads * size));
    long cosineAt = NativeViews.at(cosines, 0, bytes((long) positions * half));
    long sineAt = NativeViews.at(sines, 0, bytes((long) positions * half));
    float sign = back ? -1 : 1;
    int whole = whole(half);
    for (int position = 0; position < positions; position++) {
      long angle = bytes((long) position * half);
      for (int head = 0; head < heads; head++) {
        long low = from + bytes(((long) position * heads + head) * size);
        long high = low + bytes(half);
        for (int i = 0; i < whole; i += LANES) {
          FloatVector cosine = load(cosineBase, cosineAt + angle + bytes(i));
          FloatVector sine = load(sineBase, sineAt + angle + bytes(i)).mul(sign);
          FloatVector a = load(base, low + bytes(i));
          FloatVector b = load(base, high + bytes(i));
          a.mul(cosine).sub(b.mul(sine)).intoMemorySegment(base, low + bytes(i), ORDER);
          b.mul(cosine).add(a.mul(sine)).intoMemorySegment(base, high + bytes(i), ORDER);
        }
        for (int i = whole; i < half; i++) {
          double cosine = get(cosineBase, cosineAt + angle + bytes(i));
          double sine = sign * get(sineBase, sineAt + angle + bytes(i));
          double a = get(base, low + bytes(i));
          double b = get(base, high + bytes(i));
          set(base, low + bytes(i), a * cosine - b * sine);
          set(base, high + bytes(i), b * cosine + a * sine);
        }
      }
    }
  }

  @Override
  public void causalSoftmax(MemorySegment scores, int rows, int columns, int first) {
    MemorySegment base = NativeViews.base(scores);
    long from = NativeViews.at(scores, 0, bytes((long) rows * columns));
    for (int row = 0; row < rows; row++) {
      long at = from + bytes((long) row * columns);
      int seen = first + row + 1;
      float largest = largest(base, at, seen);
      double sum = 0;
      int whole = whole(seen);
      for (int i = 0; i < whole; i += SPAN) {
        sum += exponentiateSpan(base, at + bytes(i), Math.min(SPAN, whole - i), largest);
      }
      for (int i = whole; i < seen; i++) {
        float exponential = (float) Math.exp(get(base, at + bytes(i)) - largest);
        base.set(FLOAT, at + bytes(i), exponential);
        sum += exponential;
      }
      scale(base, at, seen, (float) (1 / sum));
      for (int i = seen; i < columns; i++) {
        base.set(FLOAT, at + bytes(i), 0);
      }
    }
  }

  private static float largest(MemorySegment base, long at, int n) {
    FloatVector most = FloatVector.broadcast(SPECIES, Float.NEGATIVE_INFINITY);
    int whole = whole(n);
    for (int i = 0; i < whole; i += LANES) {
      most = most.max(load(base, at + bytes(i)));
    }
    float largest = most.reduceLanes(VectorOperators.MAX);
    for (int i = whole; i < n; i++) {
      largest = Math.max(largest, base.get(FLOAT, at + bytes(i)));
    }
    return largest;
  }

  /** x = exp(x - shift) for n elements, whole vectors; returns the sum. */
  private static float exponentiateSpan(MemorySegment base, long at, int n, float shift) {
    FloatVector sum = FloatVector.zero(SPECIES);
    for (int i = 0; i < n; i += LANES) {
      FloatVector exponential = VectorExponential.exp(load(base, at + bytes(i)).sub(shift));
      exponential.intoMemorySegment(base, at + bytes(i), ORDER);
      sum = sum.add(exponential);
    }
    return VectorLanes.sum(sum);
  }

  private static void scale(MemorySegment base, long at, int n, float factor) {
    int whole = whole(n);
    for (int i = 0; i < whole; i += LANES) {
      load(base, at + bytes(i)).mul(factor).intoMemorySegment(base, at + bytes(i), ORDER);
    }
    for (int i = whole; i < n; i++) {
      base.set(FLOAT, at + bytes(i), base.get(FLOAT, at + bytes(i)) * factor);
    }
  }

  @Override
  public void softmaxBackward(MemorySegment p, MemorySegment delta, int rows, int columns) {
    MemorySegment base = NativeViews.base(p);
    MemorySegment target = NativeViews.base(delta);
    long from = NativeViews.at(p, 0, bytes((long) rows * columns));
    long to = NativeViews.at(delta, 0, bytes((long) rows * columns));
    int whole = whole(columns);
    for (int row = 0; row < rows; row++) {
      long at = from + bytes((long) row * columns);
      long out = to + bytes((long) row * columns);
      float dot = (float) dot(base, at, target, out, columns);
      for (int i = 0; i < whole; i += LANES) {
        load(target, out + bytes(i))
            .sub(dot)
            .mul(load(base, at + bytes(i)))
            .intoMemorySegment(target, out + bytes(i), ORDER);
      }
      for (int i = whole; i < columns; i++) {
        double value = get(base, at + bytes(i)) * (get(target, out + bytes(i)) - dot);
        set(target, out + bytes(i), value);
      }
    }
  }

  @Override
  public void gate(MemorySegment gate, MemorySegment up, MemorySegment y, int n) {
    MemorySegment gateBase = NativeViews.base(gate);
    MemorySegment upBase = NativeViews.base(up);
    MemorySegment base = NativeViews.base(y);
    long gateAt = NativeViews.at(gate, 0, bytes(n));
    long upAt = NativeViews.at(up, 0, bytes(n));
    long to = NativeViews.at(y, 0, bytes(n));
    int whole = whole(n);
    for (int i = 0; i < whole; i += LANES) {
      FloatVector x = load(gateBase, gateAt + bytes(i));
      x.mul(load(upBase, upAt + bytes(i)))
          .div(VectorExponential.exp(x.neg()).add(1))
          .intoMemorySegment(base, to + bytes(i), ORDER);
    }
    if (whole < n) {
      long done = bytes(whole);
      ScalarDecoderKernels.INSTANCE.gate(
          gate.asSlice(done), up.asSlice(done), y.asSlice(done), n - whole);
    }
  }

  @Override
  public void gateBackward(MemorySegment gate, MemorySegment up, MemorySegment delta, int n) {
    MemorySegment gateBase = NativeViews.base(gate);
    MemorySegment upBase = NativeViews.base(up);
    MemorySegment deltaBase = NativeViews.base(delta);
    long gateAt = NativeViews.at(gate, 0, bytes(n));
    long upAt = NativeViews.at(up, 0, bytes(n));
    long deltaAt = NativeViews.at(delta, 0, bytes(n));
    FloatVector one = FloatVector.broadcast(SPECIES, 1);
    int whole = whole(n);
    for (int i = 0; i < whole; i += LANES) {
      FloatVector x = load(gateBase, gateAt + bytes(i));
      FloatVector s = one.div(VectorExponential.exp(x.neg()).add(one));
      FloatVector d = load(deltaBase, deltaAt + bytes(i)).mul(s);
      // s (1 + x (1 - s)) delta up
      x.fma(one.sub(s), one)
          .mul(d)
          .mul(load(upBase, upAt + bytes(i)))
          .intoMemorySegment(gateBase, gateAt + bytes(i), ORDER);
      d.mul(x).intoMemorySegment(upBase, upAt + bytes(i), ORDER);
    }
    if (whole < n) {
      long done = bytes(whole);
      ScalarDecoderKernels.INSTANCE.gateBackward(
          gate.asSlice(done), up.asSlice(done), delta.asSlice(done), n - whole);
    }
  }

  @Override
  public double surprise(MemorySegment scores, long at, int n, int token) {
    MemorySegment base = NativeViews.base(scores);
    long from = NativeViews.at(scores, at, bytes(n));
    float largest = largest(base, from, n);
    double sum = 0;
    int whole = whole(n);
    for (int i = 0; i < whole; i += SPAN) {
      sum += exponentialSpan(base, from + bytes(i), Math.min(SPAN, whole - i), largest);
    }
    for (int i = whole; i < n; i++) {
      sum += Math.exp(get(base, from + bytes(i)) - largest);
    }
    return Math.log(sum) + largest - get(base, from + bytes(token));
  }

  /** The sum of exp(x - shift) over n elements, whole vectors. */
  private static float exponentialSpan(MemorySegment base, long at, int n, float shift) {
    FloatVector sum = FloatVector.zero(SPECIES);
    for (int i = 0; i < n; i += LANES) {
      sum = sum.add(VectorExponential.exp(load(base, at + bytes(i)).sub(shift)));
    }
    return VectorLanes.sum(sum);
  }

  @Override
  public double surpriseGradient(MemorySegment scores, long at, int n, int token, float factor) {
    double surprise = surprise(scores, at, n, token);
    MemorySegment base = NativeViews.base(scores);
    long from = NativeViews.at(scores, at, bytes(n));
    double logSum = surprise + get(base, from + bytes(token));
    double ofToken = factor * Math.expm1(-surprise);
    float shift = (float) logSum;
    int whole = whole(n);
    for (int i = 0; i < whole; i += LANES) {
      VectorExponential.exp(load(base, from + bytes(i)).sub(shift))
          .mul(factor)
          .intoMemorySegment(base, from + bytes(i), ORDER);
    }
    for (int i = whole; i < n; i++) {
      set(base, from + bytes(i), factor * Math.exp(get(base, from + bytes(i)) - logSum));
    }
    set(base, from + bytes(token), ofToken);
    return surprise;
  }

  /** Bytes from the first element to behind the last of rows with a stride. */
  private static long spread(int rows, int stride, int size) {
    return rows == 0 ? 0 : bytes((long) (rows - 1) * stride + size);
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
    MemorySegment queryBase = NativeViews.base(query);
    MemorySegment keyBase = NativeViews.base(keys);
    MemorySegment base = NativeViews.base(scores);
    long queryAt = NativeViews.at(query, 0, bytes(size));
    long keyAt = NativeViews.at(keys, 0, spread(positions, stride, size));
    long to = NativeViews.at(scores, 0, bytes(positions));
    for (int j = 0; j < positions; j++) {
      double dot = dot(queryBase, queryAt, keyBase, keyAt + bytes((long) j * stride), size);
      set(base, to + bytes(j), scale * dot);
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
    MemorySegment weightBase = NativeViews.base(weights);
    MemorySegment valueBase = NativeViews.base(values);
    MemorySegment base = NativeViews.base(y);
    long weightAt = NativeViews.at(weights, 0, bytes(positions));
    long valueAt = NativeViews.at(values, 0, spread(positions, stride, size));
    long to = NativeViews.at(y, 0, bytes(size));
    int whole = whole(size);
    for (int i = 0; i < whole; i += LANES) {
      FloatVector sum = FloatVector.zero(SPECIES);
      for (int j = 0; j < positions; j++) {
        float weight = weightBase.get(FLOAT, weightAt + bytes(j));
        FloatVector value = load(valueBase, valueAt + bytes((long) j * stride + i));
        sum = value.fma(FloatVector.broadcast(SPECIES, weight), sum);
      }
      sum.intoMemorySegment(base, to + bytes(i), ORDER);
    }
    for (int i = whole; i < size; i++) {
      double sum = 0;
      for (int j = 0; j < positions; j++) {
        double value = get(valueBase, valueAt + bytes((long) j * stride + i));
        sum += get(weightBase, weightAt + bytes(j)) * value;
      }
      set(base, to + bytes(i), sum);
    }
  }
}
