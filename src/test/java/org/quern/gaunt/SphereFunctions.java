package org.quern.gaunt;

import java.lang.foreign.Arena;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Random operands, and the plain formulas of the layers in double precision, for their tests. */
final class SphereFunctions {
  private SphereFunctions() {}

  /** Standard normal numbers. */
  static Tensor normal(Arena arena, DType type, Philox random, long... shape) {
    Tensor tensor = Tensor.allocate(arena, type, shape);
    long[] index = new long[shape.length];
    for (long i = 0; i < tensor.size(); i++) {
      long rest = i;
      for (int d = shape.length - 1; d >= 0; d--) {
        index[d] = rest % shape[d];
        rest /= shape[d];
      }
      tensor.setDouble(random.nextGaussian(), index);
    }
    return tensor;
  }

  /** A random rotation, row after row. */
  static double[] rotation(Philox random) {
    return WignerD.rotation(
        2 * Math.PI * random.nextDouble(),
        Math.acos(2 * random.nextDouble() - 1),
        2 * Math.PI * random.nextDouble());
  }

  static double[] inverted(double[] rotation) {
    double[] inverted = rotation.clone();
    for (int i = 0; i < inverted.length; i++) {
      inverted[i] = -inverted[i];
    }
    return inverted;
  }

  /** Vectors, row by row, turned. */
  static Tensor turned(Arena arena, double[] rotation, Tensor vectors) {
    Tensor result = Tensor.allocate(arena, vectors.type(), vectors.shape());
    for (long row = 0; row < vectors.dim(0); row++) {
      for (int i = 0; i < 3; i++) {
        double sum = 0;
        for (int j = 0; j < 3; j++) {
          sum += rotation[3 * i + j] * vectors.getDouble(row, j);
        }
        result.setDouble(sum, row, i);
      }
    }
    return result;
  }

  /** Coefficients [items, components, channels] of turned functions. */
  static Tensor turnedFunctions(Arena arena, double[] rotation, int degree, Tensor x) {
    Tensor result = Tensor.allocate(arena, x.type(), x.shape());
    WignerD.of(rotation, degree).rotate(x, result);
    return result;
  }

  /** The convolution, edge by edge, by the sum over coefficients. */
  static double[] convolution(
      int[] degrees, int[] source, int[] destination, ConvolutionInputs in) {
    Couplings couplings = GauntCoefficients.table(degrees[0], degrees[1], degrees[2]);
    int channels = Math.toIntExact(in.x().dim(2));
    int n3 = (degrees[2] + 1) * (degrees[2] + 1);
    double[] out = new double[Math.toIntExact(in.x().dim(0)) * n3 * channels];
    try (Arena arena = Arena.ofConfined()) {
      long n2 = (degrees[1] + 1L) * (degrees[1] + 1);
      Tensor values = Tensor.allocate(arena, DType.F64, source.length, n2);
      SphericalHarmonics.builder(degrees[1])
          .zeroVectors(ZeroVectors.CONSTANT)
          .build()
          .values(in.r().to(DType.F64, arena), values);
      for (int e = 0; e < source.length; e++) {
        for (int entry = 0; entry < couplings.size(); entry++) {
          int j = couplings.second(entry);
          int degree = (int) Math.sqrt(j);
          for (int c = 0; c < channels; c++) {
            double scale = in.a() == null ? 1 : in.a().getDouble(e, c);
            double radial =
                in.h().rank() == 3 ? in.h().getDouble(e, degree, c) : in.h().getDouble(e, degree);
            out[(destination[e] * n3 + couplings.out(entry)) * channels + c] +=
                couplings.value(entry)
                    * radial
                    * values.getDouble(e, j)
                    * scale
                    * in.x().getDouble(source[e], couplings.first(entry), c);
          }
        }
      }
    }
    return out;
  }

  /** Largest distance over the largest expected value. */
  static double distance(Tensor got, double[] expected) {
    return GoldenTensors.distance(got.toDoubleArray(), expected);
  }

  /** Sum of the products of all elements. */
  static double dot(Tensor a, Tensor b) {
    double[] x = a.toDoubleArray();
    double[] y = b.toDoubleArray();
    double sum = 0;
    for (int i = 0; i < x.length; i++) {
      sum += x[i] * y[i];
    }
    return sum;
  }
}
