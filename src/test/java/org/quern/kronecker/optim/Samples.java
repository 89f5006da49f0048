package org.quern.kronecker.optim;

import java.lang.foreign.Arena;
import org.quern.kronecker.InverseFactor;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Normal numbers from a seed, and what tests compute from them in plain loops. */
final class Samples {
  private final Arena arena;
  private final Philox random;

  Samples(Arena arena, long seed) {
    this.arena = arena;
    this.random = new Philox(seed, 0);
  }

  Tensor normal(double scale, long... shape) {
    Tensor tensor = Tensor.allocate(arena, DType.F32, shape);
    random.fillNormal(tensor.memory());
    float[] values = tensor.toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] *= (float) scale;
    }
    return Tensor.copyOf(arena, values, shape);
  }

  /** A mean input: its last element is 1. */
  Tensor input(double scale, int inputs) {
    Tensor a = normal(scale, inputs);
    a.setDouble(1, inputs - 1);
    return a;
  }

  Tensor copy(Tensor tensor) {
    return tensor.to(tensor.type(), arena);
  }

  Tensor scaled(Tensor tensor, double factor) {
    float[] values = tensor.toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (values[i] * factor);
    }
    return Tensor.copyOf(arena, values, tensor.shape());
  }

  /** The mean of rows, with a 1 behind it. */
  Tensor columnMeans(Tensor rows) {
    int n = (int) rows.dim(1);
    Tensor mean = Tensor.allocate(arena, DType.F32, n + 1);
    for (int j = 0; j < n; j++) {
      mean.setDouble(columnSum(rows, j) / rows.dim(0), j);
    }
    mean.setDouble(1, n);
    return mean;
  }

  Tensor columnSums(Tensor rows) {
    int n = (int) rows.dim(1);
    Tensor sums = Tensor.allocate(arena, DType.F32, n);
    for (int j = 0; j < n; j++) {
      sums.setDouble(columnSum(rows, j), j);
    }
    return sums;
  }

  private static double columnSum(Tensor rows, int column) {
    double sum = 0;
    for (long i = 0; i < rows.dim(0); i++) {
      sum += rows.getDouble(i, column);
    }
    return sum;
  }

  static double norm(Tensor tensor) {
    double sum = 0;
    for (double value : tensor.toDoubleArray()) {
      sum += value * value;
    }
    return Math.sqrt(sum);
  }

  static float[] left(MkorLayer layer) {
    return dense(factors(layer).left);
  }

  static float[] right(MkorLayer layer) {
    return dense(factors(layer).right);
  }

  static Factors factors(MkorLayer layer) {
    Factors factors = layer.factors();
    if (factors == null) {
      throw new AssertionError("layer " + layer.name() + " has no factors");
    }
    return factors;
  }

  private static float[] dense(InverseFactor factor) {
    try (Arena arena = Arena.ofConfined()) {
      int d = factor.dimension();
      Tensor dense = Tensor.allocate(arena, DType.F32, d, d);
      factor.toDense(dense);
      return dense.toFloatArray();
    }
  }

  static float[] identity(int d) {
    float[] identity = new float[d * d];
    for (int i = 0; i < d; i++) {
      identity[i * d + i] = 1;
    }
    return identity;
  }
}
