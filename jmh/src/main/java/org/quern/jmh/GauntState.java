package org.quern.jmh;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.Locale;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.quern.gaunt.Algorithm;
import org.quern.gaunt.Couplings;
import org.quern.gaunt.GauntCoefficients;
import org.quern.gaunt.GauntProduct;
import org.quern.gaunt.GauntWorkspace;
import org.quern.gaunt.ProductGradients;
import org.quern.gaunt.ProductWeights;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** A Gaunt product, F32, one thread, and a batch of it. */
@State(Scope.Benchmark)
public class GauntState {
  /** Channels of a row. */
  static final int CHANNELS = 128;

  /** Highest degrees of the inputs and of the result. */
  @Param({"2-2-4", "3-3-6", "4-4-8", "6-6-12", "8-8-16", "10-10-20"})
  String degrees;

  /** An algorithm, or AUTO for the one that the plan chooses. */
  @Param("AUTO")
  String algorithm;

  /** Rows of the batch; two stay in the second-level cache. */
  @Param("2")
  int rows;

  GauntProduct product;
  GauntWorkspace workspace;
  Tensor x1;
  Tensor x2;
  Tensor out;
  private ProductGradients gradients;
  private Arena arena;

  /** Makes the operands and checks a channel of the last row against the sum of coefficients. */
  @Setup
  public void prepare() {
    int[] d = degrees(degrees);
    arena = Arena.ofShared();
    workspace = new GauntWorkspace();
    GauntProduct.Builder builder = GauntProduct.builder(d[0], d[1], d[2]);
    if (!algorithm.equals("AUTO")) {
      builder.algorithm(Algorithm.valueOf(algorithm.toUpperCase(Locale.ROOT)));
    }
    product = builder.build();
    x1 = random(d[0]);
    x2 = random(d[1]);
    out = zeros(d[2]);
    gradients = ProductGradients.ofInputs(zeros(d[0]), zeros(d[1]));
    multiply();
    check(d);
    Compilation.await(this::multiply);
    Compilation.await(this::differentiate);
  }

  /** The numbers of {@code "4-4-8"}. */
  static int[] degrees(String text) {
    return Arrays.stream(text.split("-", -1))
        .mapToInt(part -> Integer.parseInt(part.strip()))
        .toArray();
  }

  /** Components of degrees 0 to a highest one. */
  static int components(int degree) {
    return (degree + 1) * (degree + 1);
  }

  private Tensor zeros(int degree) {
    return Tensor.allocate(arena, DType.F32, rows, components(degree), CHANNELS);
  }

  private Tensor random(int degree) {
    SplittableRandom random = new SplittableRandom(degree);
    float[] values = new float[Math.toIntExact((long) rows * components(degree) * CHANNELS)];
    for (int i = 0; i < values.length; i++) {
      values[i] = random.nextFloat() - 0.5f;
    }
    return Tensor.copyOf(arena, values, rows, components(degree), CHANNELS);
  }

  private void check(int[] d) {
    Couplings couplings = GauntCoefficients.table(d[0], d[1], d[2]);
    double[] expected = new double[components(d[2])];
    int row = rows - 1;
    int channel = CHANNELS - 1;
    for (int e = 0; e < couplings.size(); e++) {
      expected[couplings.out(e)] +=
          couplings.value(e)
              * x1.getDouble(row, couplings.first(e), channel)
              * x2.getDouble(row, couplings.second(e), channel);
    }
    double error = 0;
    double size = 0;
    for (int i = 0; i < expected.length; i++) {
      error += Math.pow(out.getDouble(row, i, channel) - expected[i], 2);
      size += expected[i] * expected[i];
    }
    if (!(error <= 1e-12 * size)) {
      throw new IllegalStateException(
          product + ": relative error " + Math.sqrt(error / size) + " against the coefficients");
    }
  }

  /** The product. */
  void multiply() {
    product.multiply(x1, x2, ProductWeights.NONE, out, workspace);
  }

  /** The gradients by both inputs. */
  void differentiate() {
    product.gradients(x1, x2, ProductWeights.NONE, out, gradients, workspace);
  }

  /** Frees the memory. */
  @TearDown
  public void free() {
    workspace.close();
    arena.close();
  }
}
