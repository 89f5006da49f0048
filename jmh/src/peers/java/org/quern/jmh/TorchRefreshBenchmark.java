package org.quern.jmh;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;

/**
 * The update of one inverse factor as the released MKOR writes it, operation by operation, in
 * PyTorch: ten reads and seven writes of the matrix.
 */
public class TorchRefreshBenchmark extends TorchBenchmark {
  /** One factor and one vector. */
  @State(Scope.Benchmark)
  public static class Factor {
    @Param({"768", "1024", "4096"})
    int d;

    private NDManager manager;
    private NDArray factor;
    private NDArray vector;

    /** Starts at the identity and checks one update, whose result is known in closed form. */
    @Setup(Level.Trial)
    public void prepare() {
      manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
      factor = manager.eye(d, d, 0, DataType.FLOAT32);
      vector = manager.randomNormal(0, 1, new Shape(d), DataType.FLOAT32);
      update();
      // From I the quadratic form is |v|^2, and J v = v / (1 + |v|^2), a difference of two nearly
      // equal vectors whose rounding the factor 1 + |v|^2 then shows.
      float squares = vector.mul(vector).sum().getFloat();
      float error = factor.matMul(vector).mul(1 + squares).sub(vector).abs().max().getFloat();
      if (!(error < 1e-5 * squares)) {
        throw new IllegalStateException("expected J v = v / (1 + v.v), got an error of " + error);
      }
    }

    float update() {
      try (NDManager step = manager.newSubManager()) {
        factor.tempAttach(step);
        NDArray leak = step.eye(d, d, 0, DataType.FLOAT32).mul(0.05f);
        NDArray mixed = factor.mul(0.95f).add(leak);
        NDArray column = mixed.matMul(vector);
        NDArray row = vector.matMul(mixed);
        float quadraticForm = vector.dot(column).getFloat();
        NDArray scaled = column.div(1 + quadraticForm);
        NDArray updated = mixed.sub(scaled.reshape(d, 1).mul(row.reshape(1, d)));
        float largest = updated.abs().max().getFloat();
        factor.attach(manager);
        factor.close();
        updated.attach(manager);
        factor = updated;
        return largest;
      }
    }

    /** Frees the memory of the engine. */
    @TearDown(Level.Trial)
    public void free() {
      manager.close();
    }
  }

  /** One update. */
  @Benchmark
  public float update(Factor factor) {
    return factor.update();
  }
}
