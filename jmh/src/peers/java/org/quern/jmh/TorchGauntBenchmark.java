package org.quern.jmh;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.Shape;
import java.lang.foreign.Arena;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.quern.gaunt.Couplings;
import org.quern.gaunt.GauntCoefficients;
import org.quern.gaunt.SphericalHarmonics;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The products of {@link GauntBenchmark} in PyTorch, of [products, components] matrices: by the
 * route of Luo, Chen and Krishnapriyan (arXiv 2401.10216) through double Fourier series, and by the
 * dense matrix of the coefficients.
 */
@Warmup(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 200, timeUnit = TimeUnit.MILLISECONDS)
public class TorchGauntBenchmark extends TorchBenchmark {
  private static final double TOLERANCE = 1e-5;

  /** The same batch, and tables. */
  @State(Scope.Benchmark)
  public static class Operands {
    @Param({"4-4-8", "6-6-12"})
    String degrees;

    @Param("32")
    int rows;

    private final int[] n = new int[3];
    private long products;
    private NDManager manager;
    private NDArray x1;
    private NDArray x2;
    private NDArray series1;
    private NDArray series2;
    private NDArray integrals;
    private NDArray coefficients;

    /** Frequencies of both inputs in each direction, and of their product. */
    private final long[] sizes = new long[3];

    /** Brings the batch over and checks both routes by the product of this library. */
    @Setup(Level.Trial)
    public void prepare() {
      GauntState state = new GauntState();
      state.degrees = degrees;
      state.algorithm = "AUTO";
      state.rows = rows;
      state.prepare();
      int[] d = GauntState.degrees(degrees);
      for (int i = 0; i < 3; i++) {
        n[i] = GauntState.components(d[i]);
      }
      sizes[0] = 2L * d[0] + 1;
      sizes[1] = 2L * d[1] + 1;
      sizes[2] = 2L * (d[0] + d[1]) + 1;
      products = (long) rows * GauntState.CHANNELS;
      manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
      x1 = matrix(state.x1, n[0]);
      x2 = matrix(state.x2, n[1]);
      series1 = series(d[0]);
      series2 = series(d[1]);
      integrals = integrals(d[2], d[0] + d[1]);
      coefficients = coefficients(d);
      NDArray expected = matrix(state.out, n[2]);
      check("Fourier route", fourier(), expected);
      check("dense matrix", dense(), expected);
      expected.close();
      state.free();
    }

    /** [rows, components, channels] to [products, components]. */
    private NDArray matrix(Tensor tensor, int components) {
      NDArray array =
          manager.create(tensor.toFloatArray(), new Shape(rows, components, GauntState.CHANNELS));
      return array.transpose(0, 2, 1).reshape(products, components).duplicate();
    }

    private static void check(String route, NDArray got, NDArray expected) {
      try (got) {
        double error = got.sub(expected).square().sum().getFloat();
        double size = expected.square().sum().getFloat();
        if (!(error <= TOLERANCE * TOLERANCE * size)) {
          throw new IllegalStateException(route + ": relative error " + Math.sqrt(error / size));
        }
      }
    }

    /**
     * The Fourier coefficients {re, im} of harmonics: of angles theta and alpha that both go around
     * fully, and are sampled at as many points as there are frequencies.
     */
    private static double[][][] transform(int degree) {
      int size = 2 * degree + 1;
      int components = GauntState.components(degree);
      double[][][] transform = new double[components][size * size][2];
      try (Arena arena = Arena.ofConfined()) {
        Tensor points = Tensor.allocate(arena, DType.F64, (long) size * size, 3);
        Tensor values = Tensor.allocate(arena, DType.F64, (long) size * size, components);
        for (int p = 0; p < size * size; p++) {
          double theta = 2 * Math.PI * (p / size) / size;
          double alpha = 2 * Math.PI * (p % size) / size;
          points.setDouble(Math.sin(theta) * Math.sin(alpha), p, 0);
          points.setDouble(Math.cos(theta), p, 1);
          points.setDouble(Math.sin(theta) * Math.cos(alpha), p, 2);
        }
        SphericalHarmonics.builder(degree).build().values(points, values);
        for (int f = 0; f < size * size; f++) {
          for (int p = 0; p < size * size; p++) {
            int turn = (f / size - degree) * (p / size) + (f % size - degree) * (p % size);
            double angle = -2 * Math.PI * turn / size;
            for (int i = 0; i < components; i++) {
              double value = values.getDouble(p, i) / ((double) size * size);
              transform[i][f][0] += value * Math.cos(angle);
              transform[i][f][1] += value * Math.sin(angle);
            }
          }
        }
      }
      return transform;
    }

    private NDArray series(int degree) {
      double[][][] transform = transform(degree);
      int frequencies = transform[0].length;
      float[] table = new float[transform.length * frequencies * 2];
      for (int i = 0; i < transform.length; i++) {
        for (int f = 0; f < frequencies; f++) {
          table[(i * frequencies + f) * 2] = (float) transform[i][f][0];
          table[(i * frequencies + f) * 2 + 1] = (float) transform[i][f][1];
        }
      }
      return manager.create(table, new Shape(transform.length, 2L * frequencies));
    }

    /** What takes real and imaginary parts of a series up to {@code most} to coefficients. */
    private NDArray integrals(int degree, int most) {
      double[][][] transform = transform(degree);
      int size = 2 * most + 1;
      int own = 2 * degree + 1;
      int components = transform.length;
      float[] table = new float[size * size * 2 * components];
      for (int u = -most; u <= most; u++) {
        for (int v = -Math.min(most, degree); v <= Math.min(most, degree); v++) {
          int at = ((u + most) * size + v + most) * 2 * components;
          for (int i = 0; i < components; i++) {
            double re = 0;
            double im = 0;
            for (int w = -degree; w <= degree; w++) {
              // Times the integral of exp(i (u + w) theta) sin(theta) over half a turn.
              double[] c = transform[i][(w + degree) * own + degree - v];
              int k = u + w;
              double a = k % 2 == 0 ? 2 / (1 - (double) k * k) : 0;
              double b = Math.abs(k) == 1 ? k * Math.PI / 2 : 0;
              re += c[0] * a - c[1] * b;
              im += c[0] * b + c[1] * a;
            }
            table[at + i] = (float) (2 * Math.PI * re);
            table[at + components + i] = (float) (-2 * Math.PI * im);
          }
        }
      }
      return manager.create(table, new Shape(2L * size * size, components));
    }

    private NDArray coefficients(int[] d) {
      Couplings couplings = GauntCoefficients.table(d[0], d[1], d[2]);
      float[] table = new float[n[0] * n[1] * n[2]];
      for (int e = 0; e < couplings.size(); e++) {
        int pair = couplings.first(e) * n[1] + couplings.second(e);
        table[pair * n[2] + couplings.out(e)] = (float) couplings.value(e);
      }
      return manager.create(table, new Shape((long) n[0] * n[1], n[2]));
    }

    NDArray fourier() {
      try (NDManager step = manager.newSubManager()) {
        NDArray f = amplitudes(step, x1, series1, sizes[0]);
        f = f.mul(amplitudes(step, x2, series2, sizes[1]));
        long[] size = {sizes[2], sizes[2]};
        f = f.ifft2(size, new long[] {1, 2}).real();
        NDArray out = f.reshape(products, 2 * sizes[2] * sizes[2]).matMul(integrals);
        out.attach(manager);
        return out;
      }
    }

    private NDArray amplitudes(NDManager step, NDArray x, NDArray series, long size) {
      x.tempAttach(step);
      NDArray f = x.matMul(series).reshape(products, size, size, 2).complex();
      return f.fft2(new long[] {sizes[2], sizes[2]}, new long[] {1, 2});
    }

    NDArray dense() {
      try (NDManager step = manager.newSubManager()) {
        x1.tempAttach(step);
        NDArray pairs = x1.expandDims(2).mul(x2.expandDims(1));
        NDArray out = pairs.reshape(products, (long) n[0] * n[1]).matMul(coefficients);
        out.attach(manager);
        return out;
      }
    }

    /** Frees the memory of the engine. */
    @TearDown(Level.Trial)
    public void free() {
      manager.close();
    }
  }

  /** The route through double Fourier series. */
  @Benchmark
  public void fourier(Operands operands) {
    operands.fourier().close();
  }

  /** The products of all pairs of components, times the matrix of coefficients. */
  @Benchmark
  public void dense(Operands operands) {
    operands.dense().close();
  }
}
