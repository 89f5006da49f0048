package org.quern.jmh;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.SplittableRandom;
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
import org.quern.linalg.Gemm;
import org.quern.prune.Method;
import org.quern.prune.Pattern;
import org.quern.prune.Pruner;
import org.quern.prune.Statistics;
import org.quern.prune.reconstruct.HessianFactor;
import org.quern.prune.reconstruct.InputGram;
import org.quern.prune.reconstruct.SparseGpt;
import org.quern.prune.reconstruct.SurvivorRefit;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The reconstruction of a layer on the vector tier, and its floor: as many multiply-adds as the
 * sweep has, m n^2 / 2, in one dense product.
 */
@Warmup(iterations = 3, time = 1, timeUnit = TimeUnit.SECONDS)
@Measurement(iterations = 5, time = 1, timeUnit = TimeUnit.SECONDS)
public class SparseGptBenchmark extends VectorBenchmark {
  /** Rows of the layers, and the tokens of a batch. */
  static final int ROWS = 1024;

  private static final int BATCHES = 4;

  /** A layer with the moments of its inputs. */
  @State(Scope.Benchmark)
  public static class Layer {
    @Param({"1024", "2048"})
    int columns;

    @Param({"0.5", "2:4"})
    String pattern;

    private Arena arena;
    private Tensor weights;
    private Tensor changed;
    private Tensor inputs;
    private Tensor hessian;
    private Tensor mask;
    private Tensor product;
    private SparseGpt plan;
    private HessianFactor factor;
    private SurvivorRefit refit;
    private Gemm gemm;

    /** Makes a layer whose inputs have a part in common, and its mask. */
    @Setup(Level.Trial)
    public void prepare() {
      arena = Arena.ofShared();
      SplittableRandom random = new SplittableRandom(columns);
      weights = random(arena, random, 0, ROWS, columns);
      changed = Tensor.allocate(arena, DType.F32, ROWS, columns);
      inputs = random(arena, random, 0.5f, 2 * ROWS, columns);
      product = Tensor.allocate(arena, DType.F32, columns, columns);
      gemm = Gemm.create(arena, 1, Tier.VECTOR);
      InputGram moments = new InputGram(arena, columns, 1, Tier.VECTOR);
      moments.add(inputs);
      hessian = moments.hessian(arena);
      Pattern selected = Pattern.parse(pattern);
      plan = SparseGpt.builder().pattern(selected).tier(Tier.VECTOR).build();
      factor = plan.factor(arena, "layer", hessian);
      refit = SurvivorRefit.builder().tier(Tier.VECTOR).build();
      mask =
          Pruner.builder()
              .method(Method.MAGNITUDE)
              .pattern(
                  selected instanceof Pattern.Unstructured ratio
                      ? Pattern.unstructured(ratio.ratio())
                      : selected)
              .build()
              .mask(arena, weights, Statistics.NONE);
    }

    private Tensor fresh() {
      MemorySegment.copy(
          weights.memory(), 0, changed.memory(), 0, (long) Float.BYTES * ROWS * columns);
      return changed;
    }

    /** Frees the memory. */
    @TearDown(Level.Trial)
    public void free() {
      arena.close();
    }
  }

  /** Values around 0 with a part that a row has in common. */
  static Tensor random(Arena arena, SplittableRandom random, float common, int rows, int columns) {
    Tensor tensor = Tensor.allocate(arena, DType.F32, rows, columns);
    for (long row = 0; row < rows; row++) {
      float shared = common * (float) random.nextGaussian();
      for (long j = 0; j < columns; j++) {
        float value = shared + (float) random.nextGaussian();
        tensor.memory().setAtIndex(ValueLayout.JAVA_FLOAT, row * columns + j, value);
      }
    }
    return tensor;
  }

  /** Selection and reconstruction with a given factor, on a fresh copy of the weights. */
  @Benchmark
  public double sweep(Layer layer) {
    return layer.plan.prune("layer", layer.fresh(), layer.factor).objective();
  }

  /** As many multiply-adds as the sweep has. */
  @Benchmark
  public void floor(Layer layer) {
    int n = layer.columns;
    layer.gemm.multiply(
        false,
        false,
        ROWS,
        n / 2,
        n,
        1,
        layer.weights.memory(),
        n,
        layer.hessian.memory(),
        n,
        0,
        layer.changed.memory(),
        n);
  }

  /** The factor of H. */
  @Benchmark
  public double factor(Layer layer) {
    try (Arena own = Arena.ofShared()) {
      return layer.plan.factor(own, "layer", layer.hessian).damp();
    }
  }

  /** Ten steps of conjugate gradients. */
  @Benchmark
  public double refit(Layer layer) {
    return layer.refit.refit("layer", layer.fresh(), layer.hessian, layer.mask).refitted();
  }

  /** The moments of four batches of 2048 tokens, the mirrored triangle included. */
  @Benchmark
  public long moments(Layer layer) {
    try (Arena own = Arena.ofShared()) {
      InputGram moments = new InputGram(own, layer.columns, 1, Tier.VECTOR);
      for (int batch = 0; batch < BATCHES; batch++) {
        moments.add(layer.inputs);
      }
      moments.hessian(own);
      return moments.samples();
    }
  }

  /** As many multiply-adds as the moments have, in dense products. */
  @Benchmark
  public void momentsFloor(Layer layer) {
    int n = layer.columns;
    for (int batch = 0; batch < BATCHES; batch++) {
      layer.gemm.multiply(
          true,
          false,
          n,
          n / 2,
          2 * ROWS,
          1,
          layer.inputs.memory(),
          n,
          layer.inputs.memory(),
          n,
          batch == 0 ? 0 : 1,
          layer.product.memory(),
          n);
    }
  }
}
