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
import org.quern.kronecker.ColumnMeans;
import org.quern.kronecker.Storage;
import org.quern.kronecker.net.Activation;
import org.quern.kronecker.net.DenseLayer;
import org.quern.kronecker.net.Loss;
import org.quern.kronecker.net.Network;
import org.quern.kronecker.optim.Mkor;
import org.quern.kronecker.optim.MkorBuilder;
import org.quern.kronecker.optim.MkorLayer;
import org.quern.kronecker.optim.Sgd;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A training step of four square layers on a small batch, where the cost of an optimizer shows
 * most: without it, and with it.
 */
public class KroneckerStepBenchmark extends VectorBenchmark {
  /** Layers of the network, all of one width, rectifiers between them. */
  static final int LAYERS = 4;

  /** Rows of a batch. */
  static final int BATCH = 64;

  /** Batches in turn: vectors that repeat would leave a factor at a low rank. */
  private static final int BATCHES = 64;

  private static final double RATE = 1e-6;

  /** How the optimizer keeps its factors. */
  public enum Factors {
    /** None: descent with momentum alone. */
    NONE,
    /** 32 columns. */
    LOW_RANK,
    /** 32 columns at first, and more where the tolerance demands it, as by default. */
    GROWING,
    /** Every element. */
    TILES
  }

  /** The network and its batches. */
  @State(Scope.Benchmark)
  public static class Training {
    @Param("768")
    int d;

    @Param("1")
    int threads;

    private Arena arena;
    private Network network;
    private Tensor inputs;
    private int batch;

    /** Draws weights and batches. */
    @Setup(Level.Trial)
    public void prepare() {
      arena = Arena.ofShared();
      int[] widths = new int[LAYERS + 1];
      Arrays.fill(widths, d);
      network = Network.create(arena, widths, BATCH, Activation.RELU, Loss.SQUARED, threads, null);
      network.initialize(1);
      inputs = Tensor.allocate(arena, DType.F32, BATCHES, BATCH, d);
      // Not centred, as pixels and the outputs of rectifiers.
      new Philox(2, 0).fillUniform(inputs.memory());
      new Philox(2, 1).fillNormal(network.target().memory());
    }

    double pass() {
      long bytes = network.input().memory().byteSize();
      batch = (batch + 1) % BATCHES;
      network.input().memory().copyFrom(inputs.memory().asSlice(batch * bytes, bytes));
      double loss = network.forward();
      network.backward();
      return loss;
    }

    /** Frees the memory. */
    @TearDown(Level.Trial)
    public void free() {
      arena.close();
    }
  }

  /** The optimizer of the network. */
  @State(Scope.Benchmark)
  public static class Optimizer {
    @Param Factors factors;

    /** Steps from one refresh to the next. */
    @Param({"10", "1"})
    int every;

    private Mkor mkor;
    private MkorLayer[] layers;
    private ColumnMeans[] means;
    private Tensor[] a;

    /** Binds all layers. */
    @Setup(Level.Trial)
    public void prepare(Training training) {
      MkorBuilder settings =
          Mkor.builder().backEnd(new Sgd(0.9)).refreshEvery(every).threads(training.threads);
      switch (factors) {
        case NONE -> settings.exclude("");
        case LOW_RANK -> settings.storage(Storage.lowRank(32, Double.POSITIVE_INFINITY));
        case GROWING -> {}
        case TILES -> settings.storage(Storage.symmetricTiles());
      }
      mkor = settings.build();
      layers = new MkorLayer[LAYERS];
      means = new ColumnMeans[LAYERS];
      a = new Tensor[LAYERS];
      for (int k = 0; k < LAYERS; k++) {
        DenseLayer layer = training.network.layers().get(k);
        layers[k] = mkor.layer("layer" + k, training.d, training.d, true);
        layers[k].bind(layer.weights(), layer.bias(), layer.weightGradient(), layer.biasGradient());
        means[k] = ColumnMeans.create(training.arena, training.d, training.threads, null);
        a[k] = Tensor.allocate(training.arena, DType.F32, training.d + 1L);
      }
    }

    void step(Network network) {
      if (factors != Factors.NONE && mkor.isRefresh()) {
        for (int k = 0; k < LAYERS; k++) {
          DenseLayer layer = network.layers().get(k);
          means[k].reset();
          means[k].add(layer.input());
          means[k].mean(a[k]);
          layers[k].observe(a[k], layer.biasGradient());
        }
      }
      mkor.step(RATE);
    }

    /** Frees the optimizer. */
    @TearDown(Level.Trial)
    public void free() {
      mkor.close();
    }
  }

  /** Forward, loss and backward. */
  @Benchmark
  public double pass(Training training) {
    return training.pass();
  }

  /** Forward, loss, backward and the optimizer's step. */
  @Benchmark
  public double train(Training training, Optimizer optimizer) {
    double loss = training.pass();
    optimizer.step(training.network);
    return loss;
  }
}
