package org.quern.jmh;

import ai.djl.Device;
import ai.djl.ndarray.NDArray;
import ai.djl.ndarray.NDManager;
import ai.djl.ndarray.types.DataType;
import ai.djl.ndarray.types.Shape;
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

/** {@code P = L G R} as two dense products in PyTorch, as the released MKOR has it. */
@Warmup(iterations = 2, time = 300, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 5, time = 100, timeUnit = TimeUnit.MILLISECONDS)
public class TorchPreconditionBenchmark extends TorchBenchmark {
  /** Two factors and a gradient. */
  @State(Scope.Benchmark)
  public static class Operands {
    @Param({"768", "1024", "4096"})
    int d;

    private NDManager manager;
    private NDArray left;
    private NDArray gradient;
    private NDArray right;

    /** Draws the operands. */
    @Setup(Level.Trial)
    public void prepare() {
      manager = NDManager.newBaseManager(Device.cpu(), "PyTorch");
      left = draw();
      gradient = draw();
      right = draw();
    }

    private NDArray draw() {
      return manager.randomNormal(0, 1, new Shape(d, d), DataType.FLOAT32);
    }

    /** Frees the memory of the engine. */
    @TearDown(Level.Trial)
    public void free() {
      manager.close();
    }
  }

  /** Both products. */
  @Benchmark
  public void precondition(Operands operands) {
    try (NDArray half = operands.left.matMul(operands.gradient);
        NDArray whole = half.matMul(operands.right)) {
      whole.getShape();
    }
  }
}
