package org.quern.kronecker.optim;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** The formulas as they read, in double; rounded to float where they are stored. */
final class ScalarUpdateKernels implements UpdateKernels {
  static final ScalarUpdateKernels INSTANCE = new ScalarUpdateKernels();

  private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;

  private ScalarUpdateKernels() {}

  @Override
  public void descend(Coefficients c, MemorySegment w, long wAt, MemorySegment g, long gAt, int n) {
    for (long i = 0; i < 4L * n; i += 4) {
      double weight = w.get(F32, wAt + i);
      double d = (double) c.nu * g.get(F32, gAt + i) + c.decay * weight;
      w.set(F32, wAt + i, (float) (weight - c.rate * d));
      g.set(F32, gAt + i, 0);
    }
  }

  @Override
  public void momentum(
      Coefficients c,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      MemorySegment m,
      long mAt,
      int n) {
    for (long i = 0; i < 4L * n; i += 4) {
      double weight = w.get(F32, wAt + i);
      double d = (double) c.nu * g.get(F32, gAt + i) + c.decay * weight;
      double moment = (double) c.beta1 * m.get(F32, mAt + i) + d;
      double direction = c.nesterov ? d + c.beta1 * moment : moment;
      m.set(F32, mAt + i, (float) moment);
      w.set(F32, wAt + i, (float) (weight - c.rate * direction));
      g.set(F32, gAt + i, 0);
    }
  }

  @Override
  public void adam(
      Coefficients c,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      MemorySegment m,
      long mAt,
      MemorySegment v,
      long vAt,
      int n) {
    for (long i = 0; i < 4L * n; i += 4) {
      double weight = w.get(F32, wAt + i);
      double d = (double) c.nu * g.get(F32, gAt + i) + c.decay * weight;
      double first = (double) c.beta1 * m.get(F32, mAt + i) + c.rest1 * d;
      double second = (double) c.beta2 * v.get(F32, vAt + i) + c.rest2 * d * d;
      m.set(F32, mAt + i, (float) first);
      v.set(F32, vAt + i, (float) second);
      double step = c.rate * first / (c.correction * Math.sqrt(second) + c.epsilon);
      w.set(F32, wAt + i, (float) (c.keep * weight - step));
      g.set(F32, gAt + i, 0);
    }
  }

  @Override
  public void lambDirection(
      Coefficients c,
      MemorySegment w,
      long wAt,
      MemorySegment g,
      long gAt,
      MemorySegment m,
      long mAt,
      MemorySegment v,
      long vAt,
      int n,
      MemorySegment lanes,
      double[] norms) {
    for (long i = 0; i < 4L * n; i += 4) {
      double weight = w.get(F32, wAt + i);
      double d = (double) c.nu * g.get(F32, gAt + i);
      double first = (double) c.beta1 * m.get(F32, mAt + i) + c.rest1 * d;
      double second = (double) c.beta2 * v.get(F32, vAt + i) + c.rest2 * d * d;
      m.set(F32, mAt + i, (float) first);
      v.set(F32, vAt + i, (float) second);
      double u = first / (Math.sqrt(second) + c.epsilon) + c.decay * weight;
      g.set(F32, gAt + i, (float) u);
      norms[0] += weight * weight;
      norms[1] += u * u;
    }
  }

  @Override
  public void mix(float a, MemorySegment g, long gAt, float b, MemorySegment h, long hAt, int n) {
    for (long i = 0; i < 4L * n; i += 4) {
      double other = b == 0 ? 0 : (double) b * h.get(F32, hAt + i);
      g.set(F32, gAt + i, (float) ((double) a * g.get(F32, gAt + i) + other));
    }
  }

  @Override
  public void dots(
      MemorySegment g,
      long gAt,
      MemorySegment h,
      long hAt,
      int n,
      MemorySegment lanes,
      double[] sums) {
    for (long i = 0; i < 4L * n; i += 4) {
      double x = g.get(F32, gAt + i);
      double y = h.get(F32, hAt + i);
      sums[0] += x * y;
      sums[1] += x * x;
      sums[2] += y * y;
    }
  }

  @Override
  public double addRow(
      MemorySegment g, long gAt, MemorySegment sum, long sumAt, int n, MemorySegment lanes) {
    double total = 0;
    for (long i = 0; i < 4L * n; i += 4) {
      float x = g.get(F32, gAt + i);
      total += x;
      sum.set(F32, sumAt + i, sum.get(F32, sumAt + i) + x);
    }
    return total;
  }
}
