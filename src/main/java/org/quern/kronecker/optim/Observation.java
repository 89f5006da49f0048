package org.quern.kronecker.optim;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.quern.tensor.Tensor;

/**
 * What a layer has seen since the last refresh: sums in double of its mean inputs a and its output
 * gradients g, with their weights, by {@link Accumulation}.
 */
final class Observation {
  private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final ValueLayout.OfDouble F64 = ValueLayout.JAVA_DOUBLE_UNALIGNED;

  private final Accumulation accumulation;
  private final int microBatches;
  private final double[] a;
  private final double[] g;
  private double inputWeight;
  private double outputRows;
  private double outputWeight;
  private int inputs;
  private int outputs;
  private boolean finished;

  Observation(Accumulation accumulation, int microBatches, int inputs, int outputs) {
    this.accumulation = accumulation;
    this.microBatches = microBatches;
    this.a = new double[inputs];
    this.g = new double[outputs];
  }

  /** Doubles that it takes in the vector of an exchange. */
  int length() {
    return 2 + a.length + g.length;
  }

  /** Vectors that are what the factors take. */
  void finished(Tensor input, Tensor output, double scale) {
    finished = true;
    addInput(input, 1);
    addOutput(output, 1, scale);
  }

  void addInput(Tensor input, double rows) {
    double weight = accumulation == Accumulation.RELEASED ? 1 : rows;
    inputs++;
    inputWeight += weight;
    add(a, input, weight);
  }

  /**
   * Adds an output gradient.
   *
   * @param scale by what it is multiplied, to take a scale of the loss out of it
   */
  void addOutput(Tensor output, double rows, double scale) {
    boolean mean = accumulation == Accumulation.MEAN;
    outputs++;
    outputRows += rows;
    outputWeight = mean ? outputRows : 1;
    add(g, output, mean ? rows * scale : scale);
  }

  private static void add(double[] sum, Tensor vector, double weight) {
    MemorySegment values = vector.memory();
    for (int i = 0; i < sum.length; i++) {
      sum[i] += weight * values.get(F32, 4L * i);
    }
  }

  boolean hasInput() {
    return inputs > 0;
  }

  boolean hasOutput() {
    return outputs > 0;
  }

  boolean isFinished() {
    return finished;
  }

  void clear() {
    Arrays.fill(a, 0);
    Arrays.fill(g, 0);
    inputWeight = 0;
    outputRows = 0;
    outputWeight = 0;
    inputs = 0;
    outputs = 0;
    finished = false;
  }

  /**
   * By what g is still to be multiplied: a layer used several times in a micro-batch has its rows
   * counted as often, but its gradients add up; the released program divides twice.
   */
  private double uses() {
    if (finished || outputs == 0) {
      return 1;
    }
    return switch (accumulation) {
      case SUM -> 1;
      case MEAN -> (double) outputs / microBatches;
      case RELEASED -> 1.0 / microBatches;
    };
  }

  /** Writes weights and weighted vectors for an exchange. */
  void pack(MemorySegment flat, long at) {
    flat.set(F64, at, inputWeight);
    flat.set(F64, at + 8, outputRows);
    double weight = outputs == 0 ? 0 : uses() * outputRows / outputWeight;
    long next = at + 16;
    for (double x : a) {
      flat.set(F64, next, x);
      next += 8;
    }
    for (double x : g) {
      flat.set(F64, next, weight * x);
      next += 8;
    }
  }

  /** Takes the sums over all workers. */
  void unpack(MemorySegment flat, long at) {
    inputWeight = flat.get(F64, at);
    outputWeight = flat.get(F64, at + 8);
    inputs = inputWeight > 0 ? 1 : 0;
    outputs = outputWeight > 0 ? 1 : 0;
    finished = true;
    for (int i = 0; i < a.length; i++) {
      a[i] = flat.get(F64, at + 16 + 8L * i);
    }
    for (int i = 0; i < g.length; i++) {
      g[i] = flat.get(F64, at + 16 + 8L * (a.length + i));
    }
  }

  /** Writes the mean input; finite elements beyond the clip are brought to it. */
  void input(Tensor out, float clip) {
    write(a, inputWeight, 1, out, clip);
  }

  /** Writes the output gradient; finite elements beyond the clip are brought to it. */
  void output(Tensor out, float clip) {
    write(g, outputWeight, uses(), out, clip);
  }

  private static void write(double[] sum, double weight, double factor, Tensor out, float clip) {
    MemorySegment memory = out.memory();
    for (int i = 0; i < sum.length; i++) {
      float value = (float) (sum[i] / weight * factor);
      if (Float.isFinite(value)) {
        value = Math.min(Math.max(value, -clip), clip);
      }
      memory.set(F32, 4L * i, value);
    }
  }
}
