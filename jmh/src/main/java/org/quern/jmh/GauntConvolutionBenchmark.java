package org.quern.jmh;

import java.lang.foreign.Arena;
import java.util.Arrays;
import java.util.SplittableRandom;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.quern.gaunt.ConvolutionGradients;
import org.quern.gaunt.ConvolutionInputs;
import org.quern.gaunt.Edges;
import org.quern.gaunt.GauntConvolution;
import org.quern.gaunt.LayerWorkspace;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Convolutions of degree 4 on graphs with {@link Lattice#NEIGHBOURS} edges to a node. */
@Warmup(iterations = 6, time = 400, timeUnit = TimeUnit.MILLISECONDS)
@Measurement(iterations = 10, time = 100, timeUnit = TimeUnit.MILLISECONDS)
public class GauntConvolutionBenchmark extends VectorBenchmark {
  /** Channels. */
  static final int CHANNELS = 64;

  /** Multiply-adds per edge and channel: one for each point of the grid, 7 rings of 16. */
  static final int MULTIPLY_ADDS = 112;

  private static final int DEGREE = 4;
  private static final int COMPONENTS = 25;

  /** A graph and its operands. */
  @State(Scope.Benchmark)
  public static class Graph {
    /** Number of edges. */
    @Param({"1000", "10000", "100000", "1000000"})
    int edges;

    private Arena arena;
    private GauntConvolution convolution;
    private Edges graph;
    private ConvolutionInputs inputs;
    private ConvolutionGradients gradients;
    private Tensor out;
    private LayerWorkspace workspace;

    /** Makes the operands and checks a node by the matrices of its edges. */
    @Setup
    public void prepare() {
      Lattice lattice = Lattice.of(edges);
      arena = Arena.ofShared();
      workspace = new LayerWorkspace();
      convolution = GauntConvolution.builder(DEGREE, DEGREE, DEGREE).channels(CHANNELS).build();
      graph = Edges.of(lattice.nodes(), lattice.source(), lattice.destination());
      Tensor x = random(lattice.nodes(), COMPONENTS, CHANNELS);
      Tensor r = Tensor.copyOf(arena, lattice.vectors(), edges, 3);
      Tensor h = random(edges, DEGREE + 1);
      inputs = new ConvolutionInputs(x, r, h, null);
      gradients =
          new ConvolutionGradients(
              Tensor.allocate(arena, DType.F32, x.shape()),
              Tensor.allocate(arena, DType.F32, r.shape()),
              Tensor.allocate(arena, DType.F32, h.shape()),
              null);
      out = Tensor.allocate(arena, DType.F32, x.shape());
      forward();
      check(lattice);
      if (edges <= 10_000) {
        Compilation.await(this::forward);
        Compilation.await(this::backward);
      }
    }

    private Tensor random(long... shape) {
      SplittableRandom random = new SplittableRandom(shape.length);
      float[] values =
          new float[Math.toIntExact(Arrays.stream(shape).reduce(1, Math::multiplyExact))];
      for (int i = 0; i < values.length; i++) {
        values[i] = random.nextFloat() - 0.5f;
      }
      return Tensor.copyOf(arena, values, shape);
    }

    private void check(Lattice lattice) {
      int first = edges - Lattice.NEIGHBOURS;
      int node = lattice.nodes() - 1;
      GauntConvolution matrices =
          GauntConvolution.builder(DEGREE, DEGREE, DEGREE)
              .channels(CHANNELS)
              .form(GauntConvolution.Form.EDGE_MATRIX)
              .build();
      Tensor expected = Tensor.allocate(arena, DType.F32, out.shape());
      matrices.forward(
          Edges.of(
              lattice.nodes(),
              Arrays.copyOfRange(lattice.source(), first, edges),
              Arrays.copyOfRange(lattice.destination(), first, edges)),
          new ConvolutionInputs(
              inputs.x(), inputs.r().rows(first, edges), inputs.h().rows(first, edges), null),
          expected,
          workspace);
      for (int i = 0; i < COMPONENTS; i++) {
        double want = expected.getDouble(node, i, CHANNELS - 1);
        double got = out.getDouble(node, i, CHANNELS - 1);
        if (!(Math.abs(got - want) <= 1e-5)) {
          throw new IllegalStateException("component " + i + ": expected " + want + ", got " + got);
        }
      }
    }

    void forward() {
      convolution.forward(graph, inputs, out, workspace);
    }

    void backward() {
      convolution.backward(graph, inputs, out, gradients, workspace);
    }

    /** Frees the memory. */
    @TearDown
    public void free() {
      workspace.close();
      arena.close();
    }
  }

  /** The twin of a graph in a JVM whose segment profile other code has polluted. */
  @State(Scope.Benchmark)
  public static class PollutedGraph extends Graph {
    /** Keeps the pollution from being optimised away. */
    float pollution;

    @Override
    public void prepare() {
      pollution = Pollution.run();
      super.prepare();
    }
  }

  /** The convolution. */
  @Benchmark
  public void forward(Graph state) {
    state.forward();
  }

  /** The convolution after the pollution. */
  @Benchmark
  public void polluted(PollutedGraph state) {
    state.forward();
  }

  /** Gradients by features, edge vectors and radial values. */
  @Benchmark
  public void backward(Graph state) {
    state.backward();
  }
}
