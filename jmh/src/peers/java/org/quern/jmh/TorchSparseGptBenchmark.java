package org.quern.jmh;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.index.NDIndex;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import java.lang.foreign.Arena;
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
import org.quern.prune.Pattern;
import org.quern.prune.reconstruct.InputGram;
import org.quern.prune.reconstruct.SparseGpt;
import org.quern.tensor.Tensor;

/**
 * The sweep of the released SparseGPT program, operation by operation, in PyTorch: blocks of 128
 * columns, a column at a time. The factor U is given, because DJL offers no Cholesky factorization.
 */
@Warmup(iterations = 2, time = 1, timeUnit = TimeUnit.SECONDS)
@Measurement(iterations = 5, time = 1, timeUnit = TimeUnit.SECONDS)
public class TorchSparseGptBenchmark extends TorchBenchmark {
  private static final int BLOCK = 128;

  /** The layer of {@link SparseGptBenchmark}. */
  @State(Scope.Benchmark)
  public static class Layer {
    @Param({"1024", "2048"})
    int columns;

    @Param({"0.5", "2:4"})
    String pattern;

    private NDManager manager;
    private NDArray weights;
    private NDArray upper;

    /** Makes the layer and checks one sweep by the zeros and the loss that Quern has. */
    @Setup(Level.Trial)
    public void prepare() {
      manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
      int rows = SparseGptBenchmark.ROWS;
      try (Arena arena = Arena.ofShared()) {
        SplittableRandom random = new SplittableRandom(columns);
        Tensor dense = SparseGptBenchmark.random(arena, random, 0, rows, columns);
        InputGram moments = new InputGram(arena, columns, 1);
        moments.add(SparseGptBenchmark.random(arena, random, 0.5f, 2 * rows, columns));
        SparseGpt plan = SparseGpt.builder().pattern(Pattern.parse(pattern)).build();
        var factor = plan.factor(arena, "layer", moments.hessian(arena));
        weights = manager.create(dense.toFloatArray(), new Shape(rows, columns));
        upper = manager.create(factor.upper().toFloatArray(), new Shape(columns, columns));
        double expected = plan.prune("layer", dense, factor).objective();
        double got = sweep();
        if (!(Math.abs(got - expected) <= 1e-3 * expected)) {
          throw new IllegalStateException("expected a loss of " + expected + ", got " + got);
        }
      }
    }

    double sweep() {
      try (NDManager step = manager.newSubManager()) {
        weights.tempAttach(step);
        upper.tempAttach(step);
        NDArray w = weights.duplicate();
        double loss = 0;
        for (int from = 0; from < columns; from += BLOCK) {
          loss += block(step, w, from, Math.min(columns, from + BLOCK));
        }
        weights.attach(manager);
        upper.attach(manager);
        return loss / 2;
      }
    }

    private double block(NDManager step, NDArray w, int from, int to) {
      int rows = SparseGptBenchmark.ROWS;
      NDArray block = w.get(new NDIndex(":, {}:{}", from, to)).duplicate();
      NDArray u = upper.get(new NDIndex("{}:{}, {}:{}", from, to, from, to));
      NDArray squares = u.diagonal().reshape(1, to - from).square();
      NDArray kept = step.zeros(new Shape(rows, to - from), DataType.FLOAT32);
      NDArray errors = step.zeros(new Shape(rows, to - from), DataType.FLOAT32);
      NDArray keep = step.ones(new Shape(rows, to - from), DataType.FLOAT32);
      boolean runs = pattern.equals("2:4");
      if (!runs) {
        NDArray scores = block.square().div(squares);
        long rank = (long) (scores.size() * Double.parseDouble(pattern));
        float threshold = scores.flatten().sort().getFloat(rank);
        keep = scores.gt(threshold).toType(DataType.FLOAT32, false);
      }
      for (int i = 0; i < to - from; i++) {
        if (runs && i % 4 == 0) {
          NDIndex run = new NDIndex(":, {}:{}", i, i + 4);
          NDArray scores = block.get(run).square().div(squares.get(run));
          NDArray least = scores.topK(2, 1, false, true).get(1);
          NDArray zeros = step.zeros(new Shape(rows, 2), DataType.FLOAT32);
          keep.set(run, keep.get(run).scatter(least, zeros, 1));
        }
        NDIndex column = new NDIndex(":, {}", i);
        NDArray weight = block.get(column);
        NDArray q = weight.mul(keep.get(column));
        NDArray error = weight.sub(q).div(u.getFloat(i, i));
        kept.set(column, q);
        errors.set(column, error);
        NDArray row = u.get(new NDIndex("{}:{}, {}:", i, i + 1, i));
        block.get(new NDIndex(":, {}:", i)).subi(error.reshape(rows, 1).matMul(row));
      }
      w.set(new NDIndex(":, {}:{}", from, to), kept);
      if (to < columns) {
        NDArray right = upper.get(new NDIndex("{}:{}, {}:", from, to, to));
        w.get(new NDIndex(":, {}:", to)).subi(errors.matMul(right));
      }
      return errors.square().sum().getFloat();
    }

    /** Frees the memory of the engine. */
    @TearDown(Level.Trial)
    public void free() {
      manager.close();
    }
  }

  /** One sweep. */
  @Benchmark
  public double sweep(Layer layer) {
    return layer.sweep();
  }
}
