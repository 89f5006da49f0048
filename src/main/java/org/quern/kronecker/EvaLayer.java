package org.quern.kronecker;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** One layer of {@link Eva}: two running vectors, and the figures of the gradient at hand. */
public final class EvaLayer {
  /** Elements of G that one thread takes at a time. */
  private static final int GRAIN = 1 << 16;

  private final String name;
  private final int out;
  private final int in;
  private final boolean bias;
  private final double damping;
  private final double newWeight;
  private final int threads;
  private final EvaKernels kernels;
  private final double[] a;
  private final double[] g;
  private final float[] rounded;
  private final int grain;

  /** g'Ga and ||G||^2 of each run of rows. */
  private final double[] partial;

  private boolean observed;
  private boolean prepared;
  private double product;
  private double squares;
  private double weight;
  private double norms;

  EvaLayer(
      String name,
      int out,
      int in,
      boolean bias,
      double damping,
      double newWeight,
      int threads,
      EvaKernels kernels) {
    if (out < 1) {
      throw new IllegalArgumentException("out: expected at least 1, got " + out);
    }
    if (in < 1) {
      throw new IllegalArgumentException("in: expected at least 1, got " + in);
    }
    this.name = name;
    this.out = out;
    this.in = in;
    this.bias = bias;
    this.damping = damping;
    this.newWeight = newWeight;
    this.threads = threads;
    this.kernels = kernels;
    this.a = new double[in + (bias ? 1 : 0)];
    this.g = new double[out];
    this.rounded = new float[a.length];
    this.grain = Math.max(1, GRAIN / in);
    this.partial = new double[2 * Math.ceilDiv(out, grain)];
  }

  /** The layer's name. */
  public String name() {
    return name;
  }

  /**
   * Takes the vectors of a step into the running ones; the first become the running ones.
   *
   * @param newA mean input, F32 of the inputs, or one more with a bias, the last entry 1
   * @param newG output gradient, F32 of the outputs
   * @return false where a value is not finite: the running vectors are as before
   * @throws IllegalArgumentException where a type or length is not as described
   */
  public boolean observe(Tensor newA, Tensor newG) {
    requireVector("a", newA, a.length);
    requireVector("g", newG, out);
    if (!isFinite(newA) || !isFinite(newG)) {
      return false;
    }
    double weightOfNew = observed ? newWeight : 1;
    mix(a, newA, weightOfNew);
    mix(g, newG, weightOfNew);
    for (int j = 0; j < a.length; j++) {
      rounded[j] = (float) a[j];
    }
    norms = squares(a) * squares(g);
    observed = true;
    return true;
  }

  private void requireVector(String argument, Tensor tensor, int length) {
    if (tensor.type() != DType.F32 || tensor.rank() != 1 || tensor.dim(0) != length) {
      throw mismatch(argument, "F32[" + length + "]", tensor);
    }
  }

  private IllegalArgumentException mismatch(String argument, String expected, Object got) {
    return new IllegalArgumentException(
        argument + " of " + name + ": expected " + expected + ", got " + got);
  }

  private static float get(Tensor vector, int j) {
    return vector.hostMemory().get(ValueLayout.JAVA_FLOAT, (long) j * Float.BYTES);
  }

  private static boolean isFinite(Tensor vector) {
    for (int j = 0; j < vector.dim(0); j++) {
      if (!Float.isFinite(get(vector, j))) {
        return false;
      }
    }
    return true;
  }

  private static void mix(double[] running, Tensor vector, double weightOfNew) {
    for (int j = 0; j < running.length; j++) {
      running[j] = (1 - weightOfNew) * running[j] + weightOfNew * get(vector, j);
    }
  }

  private static double squares(double[] vector) {
    double sum = 0;
    for (double x : vector) {
      sum += x * x;
    }
    return sum;
  }

  /**
   * Reads the gradient and computes what {@link Eva#scale} and {@link #apply} need.
   *
   * @param dw F32 [out, in]
   * @param db F32 [out], or null without a bias
   * @return false where the gradient is not finite or no vectors were observed: then {@link #apply}
   *     leaves it as it is
   * @throws IllegalArgumentException where a type or shape is not as described
   */
  public boolean prepare(Tensor dw, @Nullable Tensor db) {
    check(dw, db);
    prepared = false;
    if (!observed) {
      return false;
    }
    Arrays.fill(partial, 0);
    MemorySegment matrix = dw.hostMemory();
    long stride = dw.rowStride() * Float.BYTES;
    try {
      if (threads == 1) {
        for (int from = 0; from < out; from += grain) {
          measure(matrix, stride, from, Math.min(out, from + grain));
        }
      } else {
        Parallel.forRanges(
            out, grain, threads, (from, to, w) -> measure(matrix, stride, (int) from, (int) to));
      }
    } finally {
      Reference.reachabilityFence(dw);
    }
    product = 0;
    squares = 0;
    for (int i = 0; i < partial.length; i += 2) {
      product += partial[i];
      squares += partial[i + 1];
    }
    if (db != null) {
      for (int r = 0; r < out; r++) {
        double x = get(db, r);
        product += g[r] * a[in] * x;
        squares += x * x;
      }
    }
    weight = product / (norms + damping);
    prepared = Double.isFinite(squares) && Double.isFinite(weight);
    return prepared;
  }

  private void measure(MemorySegment matrix, long stride, int from, int to) {
    kernels.measure(matrix, stride, from, to, in, g, a, partial, 2 * (from / grain));
  }

  private void check(Tensor dw, @Nullable Tensor db) {
    if (dw.type() != DType.F32 || dw.rank() != 2 || dw.dim(0) != out || dw.dim(1) != in) {
      throw mismatch("dw", "F32[" + out + ", " + in + "]", dw);
    }
    if (db == null && bias) {
      throw mismatch("db", "F32[" + out + "]", "null");
    }
    if (db != null && !bias) {
      throw mismatch("db", "null without a bias", db);
    }
    if (db != null) {
      requireVector("db", db, out);
    }
  }

  boolean isPrepared() {
    return prepared;
  }

  /** ||G||^2. */
  double gradientSquares() {
    return squares;
  }

  // With G = rho g a' + E, E orthogonal to g a', all terms are positive: damping P = E + along g
  // a'.

  private double orthogonalSquares() {
    return norms > 0 ? Math.max(0, squares - product / norms * product) : squares;
  }

  private double along() {
    return norms > 0 ? product / norms * (damping / (norms + damping)) : 0;
  }

  /** ||P||^2. */
  double resultSquares() {
    return (orthogonalSquares() + along() * along() * norms) / (damping * damping);
  }

  /** The inner product of P and G. */
  double product() {
    return (orthogonalSquares() + product * along()) / damping;
  }

  /**
   * Writes {@code nu P} over the gradient that was given to {@link #prepare}.
   *
   * @param dw F32 [out, in]
   * @param db F32 [out], or null without a bias
   * @param nu factor, of {@link Eva#scale}
   * @throws IllegalArgumentException where a type or shape is not as described
   */
  public void apply(Tensor dw, @Nullable Tensor db, double nu) {
    check(dw, db);
    if (!prepared) {
      return;
    }
    prepared = false;
    MemorySegment matrix = dw.hostMemory();
    long stride = dw.rowStride() * Float.BYTES;
    double scale = nu / damping;
    try {
      if (threads == 1) {
        apply(matrix, stride, 0, out, scale);
      } else {
        Parallel.forRanges(
            out,
            grain,
            threads,
            (from, to, w) -> apply(matrix, stride, (int) from, (int) to, scale));
      }
    } finally {
      Reference.reachabilityFence(dw);
    }
    if (db != null) {
      for (int r = 0; r < out; r++) {
        double value = scale * (get(db, r) - weight * g[r] * a[in]);
        db.hostMemory().set(ValueLayout.JAVA_FLOAT, (long) r * Float.BYTES, (float) value);
      }
    }
  }

  private void apply(MemorySegment matrix, long stride, int from, int to, double scale) {
    kernels.apply(matrix, stride, from, to, in, g, rounded, weight, (float) scale);
  }
}
