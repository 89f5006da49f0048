package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.random.Philox;
import org.quern.runtime.Allocations;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Prints, in a JVM of its own, the bytes that a warm product, its gradients and a warm convolution
 * allocate on the vector tier; with the property {@link #POLLUTED}, after other code has used the
 * accessors of segments on arrays.
 */
final class GauntAllocations {
  /** Names the property. */
  static final String POLLUTED = "quern.test.polluted";

  private static final int CALLS = 50;
  private static final int SECONDS = 10;
  private static final int ROWS = 4;
  private static final int CHANNELS = 48;
  private static final int NODES = 30;
  private static final int EDGES = 120;

  private GauntAllocations() {}

  /** Prints bytes of calls. */
  public static void main(String[] args) {
    if (Boolean.getBoolean(POLLUTED)) {
      System.out.println("pollution=" + pollute());
    }
    try (Arena arena = Arena.ofConfined()) {
      Philox random = new Philox(5, 1);
      products(arena, random, "product", "gradients", Algorithm.HYBRID, 2, 2, 3);
      products(arena, random, "written", "writtenGradients", Algorithm.DIRECT, 1, 1, 2);
      convolution(arena, random);
    }
  }

  private static Tensor normal(Arena arena, Philox random, long... shape) {
    Tensor tensor = Tensor.allocate(arena, DType.F32, shape);
    random.fillNormal(tensor.memory());
    return tensor;
  }

  private static void products(
      Arena arena,
      Philox random,
      String product,
      String gradients,
      Algorithm algorithm,
      int... degrees) {
    Tensor[] x = new Tensor[5];
    for (int i = 0; i < x.length; i++) {
      int n = (degrees[i % 3] + 1) * (degrees[i % 3] + 1);
      x[i] = normal(arena, random, ROWS, n, CHANNELS);
    }
    GauntProduct plan =
        GauntProduct.builder(degrees[0], degrees[1], degrees[2]).algorithm(algorithm).build();
    ProductGradients targets = ProductGradients.ofInputs(x[3], x[4]);
    ProductWeights none = ProductWeights.NONE;
    try (GauntWorkspace workspace = new GauntWorkspace()) {
      print(product, () -> plan.multiply(x[0], x[1], none, x[2], workspace));
      print(gradients, () -> plan.gradients(x[0], x[1], none, x[2], targets, workspace));
    }
  }

  private static void convolution(Arena arena, Philox random) {
    int[] source = new int[EDGES];
    int[] destination = new int[EDGES];
    for (int e = 0; e < EDGES; e++) {
      source[e] = e * 7 % NODES;
      destination[e] = e % NODES;
    }
    Edges edges = Edges.of(NODES, source, destination);
    Tensor x = normal(arena, random, NODES, 9, CHANNELS);
    Tensor r = normal(arena, random, EDGES, 3);
    Tensor h = normal(arena, random, EDGES, 3);
    ConvolutionInputs in = new ConvolutionInputs(x, r, h, null);
    Tensor out = Tensor.allocate(arena, DType.F32, x.shape());
    GauntConvolution convolution = GauntConvolution.builder(2, 2, 2).channels(CHANNELS).build();
    try (LayerWorkspace workspace = new LayerWorkspace()) {
      print("convolution", () -> convolution.forward(edges, in, out, workspace));
    }
  }

  private static void print(String name, Runnable work) {
    // Vectors are objects until the compiler has come: the first round without them counts.
    System.out.println(name + "=" + Allocations.perCall(SECONDS, CALLS, call -> work.run()));
  }

  /** Gives the accessors of the Vector API more than one type of segment. */
  private static float pollute() {
    float sum = 0;
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment[] kinds = {
        MemorySegment.ofArray(new float[64]),
        MemorySegment.ofArray(new byte[256]),
        arena.allocate(256, 64)
      };
      for (int call = 0; call < 60_000; call++) {
        sum += VectorPollution.run(kinds[call % kinds.length]);
      }
    }
    return sum;
  }
}
