package org.quern.jmh;

import java.lang.foreign.Arena;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.OperationsPerInvocation;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.quern.gaunt.Algorithm;
import org.quern.gaunt.GauntProduct;
import org.quern.gaunt.GauntWorkspace;
import org.quern.gaunt.ProductGradients;
import org.quern.gaunt.ProductWeights;
import org.quern.tensor.Tensor;

/**
 * Gaunt products, F32, one thread, of a batch that stays in the second-level cache; time per
 * product and channel.
 */
@OutputTimeUnit(TimeUnit.NANOSECONDS)
@Warmup(iterations = 10, time = 500, timeUnit = TimeUnit.MILLISECONDS)
public class GauntBenchmark extends VectorBenchmark {
  private static final int CHANNELS = 128;
  private static final int ROWS = 2;

  /** Products of one call. */
  private static final int PRODUCTS = CHANNELS * ROWS;

  /** A batch. */
  @State(Scope.Benchmark)
  public static class Batch {
    @Param({"2,2,4", "3,3,6", "4,4,8", "6,6,12", "8,8,16", "10,10,20"})
    String degrees;

    /** An algorithm, or AUTO for the one that the plan chooses. */
    @Param("AUTO")
    String algorithm;

    private Arena arena;
    private GauntProduct product;
    private GauntWorkspace workspace;
    private Tensor x1;
    private Tensor x2;
    private Tensor out;
    private Tensor gx1;
    private Tensor gx2;

    /** Makes the operands and checks one component of the product. */
    @Setup
    public void prepare() {
      String[] parts = degrees.split(",", -1);
      int[] d = new int[3];
      for (int i = 0; i < 3; i++) {
        d[i] = Integer.parseInt(parts[i].strip());
      }
      arena = Arena.ofShared();
      workspace = new GauntWorkspace();
      GauntProduct.Builder builder = GauntProduct.builder(d[0], d[1], d[2]);
      if (!algorithm.equals("AUTO")) {
        builder.algorithm(Algorithm.valueOf(algorithm.toUpperCase(Locale.ROOT)));
      }
      product = builder.build();
      SplittableRandom random = new SplittableRandom(1);
      x1 = random(d[0], random);
      x2 = random(d[1], random);
      out = random(d[2], random);
      gx1 = random(d[0], random);
      gx2 = random(d[1], random);
      // The component of degree 0 is a scaled inner product.
      int common = Math.min((d[0] + 1) * (d[0] + 1), (d[1] + 1) * (d[1] + 1));
      double expected = 0;
      for (int i = 0; i < common; i++) {
        expected += x1.getDouble(0, i, 0) * x2.getDouble(0, i, 0) / Math.sqrt(4 * Math.PI);
      }
      product.multiply(x1, x2, out);
      double got = out.getDouble(0, 0, 0);
      if (!(Math.abs(got - expected) <= 1e-5)) {
        throw new IllegalStateException(degrees + ": expected " + expected + ", got " + got);
      }
    }

    private Tensor random(int degree, SplittableRandom random) {
      int n = (degree + 1) * (degree + 1);
      float[] values = new float[ROWS * n * CHANNELS];
      for (int i = 0; i < values.length; i++) {
        values[i] = random.nextFloat() - 0.5f;
      }
      return Tensor.copyOf(arena, values, ROWS, n, CHANNELS);
    }

    /** Frees the memory. */
    @TearDown
    public void free() {
      workspace.close();
      arena.close();
    }
  }

  /** The product. */
  @Benchmark
  @OperationsPerInvocation(PRODUCTS)
  public void multiply(Batch batch) {
    batch.product.multiply(batch.x1, batch.x2, ProductWeights.NONE, batch.out, batch.workspace);
  }

  /** The gradients by both inputs. */
  @Benchmark
  @OperationsPerInvocation(PRODUCTS)
  public void gradients(Batch batch) {
    batch.product.gradients(
        batch.x1,
        batch.x2,
        ProductWeights.NONE,
        batch.out,
        ProductGradients.ofInputs(batch.gx1, batch.gx2),
        batch.workspace);
  }
}
