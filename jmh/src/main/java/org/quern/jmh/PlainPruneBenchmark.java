package org.quern.jmh;

import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/**
 * The straightforward way in plain Java, as a contender: scores in an array, {@link
 * Arrays#sort(float[])} of every row or group, and a threshold. It takes ties as they come.
 */
@BenchmarkMode(Mode.SampleTime)
@Warmup(iterations = 2, time = 500, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 3, time = 500, timeUnit = TimeUnit.MILLISECONDS)
public class PlainPruneBenchmark extends VectorBenchmark {
  private static final int SIZE = 4096;

  /** A layer as arrays of rows. */
  @State(Scope.Benchmark)
  public static class Layer {
    @Param({"0.5", "2:4", "4:8"})
    String pattern;

    private final float[][] weights = new float[SIZE][SIZE];
    private final float[][] fresh = new float[SIZE][SIZE];
    private final float[][] gradients = new float[SIZE][SIZE];
    private final float[] norms = new float[SIZE];
    private int group;
    private int prune;

    /** Makes the layer. */
    @Setup
    public void prepare() {
      int colon = pattern.indexOf(':');
      group = colon < 0 ? SIZE : Integer.parseInt(pattern.substring(colon + 1));
      prune =
          colon < 0
              ? (int) (SIZE * Double.parseDouble(pattern))
              : Integer.parseInt(pattern.substring(0, colon));
      RowKind.GAUSSIAN.fillNorms(norms, new SplittableRandom(1));
      for (int i = 0; i < SIZE; i++) {
        RowKind.GAUSSIAN.fill(fresh[i], gradients[i], new SplittableRandom(i));
      }
    }

    /** Restores the weights. */
    @Setup(Level.Invocation)
    public void restore() {
      for (int i = 0; i < SIZE; i++) {
        System.arraycopy(fresh[i], 0, weights[i], 0, SIZE);
      }
    }
  }

  /** Prunes all rows. */
  @Benchmark
  public float[][] sort(Layer layer) {
    float[] scores = new float[SIZE];
    for (int i = 0; i < SIZE; i++) {
      float[] w = layer.weights[i];
      float[] g = layer.gradients[i];
      for (int j = 0; j < SIZE; j++) {
        float size = Math.abs(w[j]);
        scores[j] = size * layer.norms[j] + size * Math.abs(g[j]);
      }
      float[] sorted = scores.clone();
      for (int from = 0; from < SIZE; from += layer.group) {
        Arrays.sort(sorted, from, from + layer.group);
        float threshold = sorted[from + layer.prune - 1];
        for (int j = from; j < from + layer.group; j++) {
          if (scores[j] <= threshold) {
            w[j] = 0;
          }
        }
      }
    }
    return layer.weights;
  }
}
