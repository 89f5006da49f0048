package org.quern.jmh;

import ai.djl.Device;
import ai.djl.engine.Engine;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDList;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import ai.djl.nn.Activation;
import ai.djl.nn.core.Linear;
import ai.djl.training.GradientCollector;
import java.util.ArrayList;
import java.util.List;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * Forward and backward pass of the network of {@link KroneckerStepBenchmark} in PyTorch. Gradients
 * add up from step to step, as they do in DJL where nobody sets them to zero.
 */
public class TorchStepBenchmark extends TorchBenchmark {
  /** The network and one batch. */
  @State(Scope.Benchmark)
  public static class Layers {
    @Param("768")
    int d;

    private final List<NDArray> weights = new ArrayList<>();
    private final List<NDArray> biases = new ArrayList<>();
    private NDManager manager;
    private NDArray input;
    private NDArray target;

    /** Draws weights of the size that keeps signals as they are. */
    @Setup(Level.Trial)
    public void prepare() {
      manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
      int batch = KroneckerStepBenchmark.BATCH;
      input = manager.randomNormal(0, 1, new Shape(batch, d), DataType.FLOAT32);
      target = manager.randomNormal(0, 1, new Shape(batch, d), DataType.FLOAT32);
      float size = (float) Math.sqrt(2.0 / d);
      for (int k = 0; k < KroneckerStepBenchmark.LAYERS; k++) {
        NDArray w = manager.randomNormal(0, size, new Shape(d, d), DataType.FLOAT32);
        NDArray b = manager.zeros(new Shape(d));
        w.setRequiresGradient(true);
        b.setRequiresGradient(true);
        weights.add(w);
        biases.add(b);
      }
    }

    float pass() {
      try (NDManager step = manager.newSubManager();
          GradientCollector collector = Engine.getEngine("PyTorch").newGradientCollector()) {
        input.tempAttach(step);
        target.tempAttach(step);
        NDArray x = input;
        for (int k = 0; k < weights.size(); k++) {
          NDList sums = Linear.linear(x, weights.get(k), biases.get(k));
          x = k < weights.size() - 1 ? Activation.relu(sums).head() : sums.head();
        }
        NDArray error = x.sub(target);
        NDArray loss = error.mul(error).sum().div(2 * KroneckerStepBenchmark.BATCH);
        collector.backward(loss);
        return loss.getFloat();
      }
    }

    /** Frees the memory of the engine. */
    @TearDown(Level.Trial)
    public void free() {
      manager.close();
    }
  }

  /** Forward, loss and backward. */
  @Benchmark
  public float pass(Layers layers) {
    return layers.pass();
  }
}
