package org.quern.jmh;

import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.quern.linalg.Gemm;
import org.quern.prune.GradientNorm;
import org.quern.prune.GradientProduct;
import org.quern.prune.GradientStatistics;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The gradient of a layer's weights for one sequence, added to its statistics without being written
 * (K2f), beside the plain product that writes it, on the same kernels.
 */
@BenchmarkMode(Mode.SampleTime)
@Warmup(iterations = 4, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 8, time = 500, timeUnit = TimeUnit.MILLISECONDS)
public class GradientProductBenchmark extends VectorBenchmark {
  /** What computes the products. */
  public enum Products {
    /** The vector tier. */
    OWN,
    /** OpenBLAS. */
    LIBRARY
  }

  /** A square layer and one sequence. */
  @State(Scope.Benchmark)
  public static class Layer {
    @Param({"1024", "2048"})
    int size;

    @Param({"96", "2048"})
    int tokens;

    @Param("OWN")
    Products products;

    private Arena arena;
    private Tensor deltas;
    private Tensor inputs;
    private Tensor gradient;
    private Gemm gemm;
    private GradientProduct product;
    private GradientStatistics one;
    private GradientStatistics both;

    /** Draws the sequence. */
    @Setup
    public void prepare() {
      arena = Arena.ofShared();
      Tier tier = products == Products.OWN ? Tier.VECTOR : null;
      if (products == Products.LIBRARY && Gemm.library().startsWith("own")) {
        throw new IllegalStateException("expected OpenBLAS, got " + Gemm.library());
      }
      SplittableRandom random = new SplittableRandom(size);
      deltas = draw(random);
      inputs = draw(random);
      gradient = Tensor.allocate(arena, DType.F32, size, size);
      gemm = Gemm.create(arena, 1, tier);
      product = GradientProduct.create(arena, 1, tier);
      one = GradientStatistics.builder(size, size).build(arena);
      both =
          GradientStatistics.builder(size, size)
              .norms(GradientNorm.L1, GradientNorm.L2)
              .build(arena);
    }

    private Tensor draw(SplittableRandom random) {
      float[] values = new float[tokens * size];
      for (int i = 0; i < values.length; i++) {
        values[i] = random.nextFloat() - 0.5f;
      }
      return Tensor.copyOf(arena, values, tokens, size);
    }

    /** Frees all memory. */
    @TearDown
    public void free() {
      arena.close();
    }
  }

  /** The product alone, written. */
  @Benchmark
  public void plain(Layer layer) {
    layer.gemm.multiply(true, false, 1, layer.deltas, layer.inputs, 0, layer.gradient);
  }

  /** Its magnitudes, summed. */
  @Benchmark
  public void fused(Layer layer) {
    layer.product.add(layer.one, layer.deltas, layer.inputs);
  }

  /** Its magnitudes and squares, summed. */
  @Benchmark
  public void fusedBoth(Layer layer) {
    layer.product.add(layer.both, layer.deltas, layer.inputs);
  }
}
