package org.quern.jmh;

import java.lang.foreign.Arena;
import java.util.Arrays;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.quern.kronecker.net.Activation;
import org.quern.kronecker.net.Loss;
import org.quern.kronecker.net.Network;
import org.quern.random.Philox;

/**
 * A training step of four square layers on a small batch, where the cost of an optimizer shows
 * most.
 */
public class KroneckerStepBenchmark extends VectorBenchmark {
  /** Layers of the network, all of one width, rectifiers between them. */
  static final int LAYERS = 4;

  /** Rows of a batch. */
  static final int BATCH = 64;

  /** The network and one batch. */
  @State(Scope.Benchmark)
  public static class Training {
    @Param("768")
    int d;

    @Param("1")
    int threads;

    private Arena arena;
    private Network network;

    /** Draws weights and a batch. */
    @Setup(Level.Trial)
    public void prepare() {
      arena = Arena.ofShared();
      int[] widths = new int[LAYERS + 1];
      Arrays.fill(widths, d);
      network = Network.create(arena, widths, BATCH, Activation.RELU, Loss.SQUARED, threads, null);
      network.initialize(1);
      new Philox(2, 0).fillNormal(network.input().memory());
      new Philox(2, 1).fillNormal(network.target().memory());
    }

    /** Frees the memory. */
    @TearDown(Level.Trial)
    public void free() {
      arena.close();
    }
  }

  /** Forward, loss and backward. */
  @Benchmark
  public double pass(Training training) {
    double loss = training.network.forward();
    training.network.backward();
    return loss;
  }
}
