package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Measures convolutions over neighbours on a lattice with jitter, 64 channels, one thread: {@code
 * java -cp ... ConvolutionRateTool DEGREE EDGES...}. Prints the least of several times of the
 * processor, in nanoseconds per edge and channel.
 */
public final class ConvolutionRateTool {
  private static final int CHANNELS = 64;
  private static final ThreadMXBean CLOCK = ManagementFactory.getThreadMXBean();
  private static final double REACH = 2.13;

  private ConvolutionRateTool() {}

  /** Runs it. */
  public static void main(String[] args) {
    int degree = Integer.parseInt(args[0]);
    peak();
    for (int i = 1; i < args.length; i++) {
      measure(degree, (int) Double.parseDouble(args[i]));
    }
  }

  /** The rate of multiply-adds that the same kernels reach out of the first-level cache. */
  private static void peak() {
    SampleKernels kernels = new VectorSampleKernels();
    try (Arena arena = Arena.ofShared()) {
      double[][] matrix = new double[64][48];
      TileTable table = TileTable.of(arena, DType.F32, matrix);
      Tensor in = Tensor.allocate(arena, DType.F32, 48, 16);
      Tensor out = Tensor.allocate(arena, DType.F32, 64, 16);
      double least = Double.POSITIVE_INFINITY;
      for (int i = 0; i < 3000; i++) {
        long start = System.nanoTime();
        for (int j = 0; j < 50; j++) {
          kernels.mix(table.memory(), 0, 64, 48, in.memory(), 0, 64, out.memory(), 0, 64, false);
        }
        least = Math.min(least, (double) (System.nanoTime() - start));
      }
      System.out.printf(Locale.ROOT, "%.1f multiply-adds per ns%n", 50.0 * 64 * 48 * 16 / least);
    }
  }

  private static void measure(int degree, int edgesWanted) {
    // About 40 neighbours each; cells of 4 x 4 x 4 nodes keep neighbours close in memory.
    int side = Math.max(2, (int) Math.round(Math.cbrt(edgesWanted / 36.0)));
    Philox random = new Philox(7, side);
    List<double[]> places = new ArrayList<>();
    int cell = 4;
    for (int cx = 0; cx < side; cx += cell) {
      for (int cy = 0; cy < side; cy += cell) {
        for (int cz = 0; cz < side; cz += cell) {
          for (int x = cx; x < Math.min(side, cx + cell); x++) {
            for (int y = cy; y < Math.min(side, cy + cell); y++) {
              for (int z = cz; z < Math.min(side, cz + cell); z++) {
                places.add(
                    new double[] {
                      x + 0.3 * random.nextDouble(),
                      y + 0.3 * random.nextDouble(),
                      z + 0.3 * random.nextDouble()
                    });
              }
            }
          }
        }
      }
    }
    int nodes = places.size();
    java.util.Map<Long, List<Integer>> grid = new java.util.HashMap<>();
    for (int i = 0; i < nodes; i++) {
      grid.computeIfAbsent(key(places.get(i), 0, 0, 0), k -> new ArrayList<>()).add(i);
    }
    List<int[]> pairs = new ArrayList<>();
    for (int i = 0; i < nodes; i++) {
      for (int dx = -3; dx <= 3; dx++) {
        for (int dy = -3; dy <= 3; dy++) {
          for (int dz = -3; dz <= 3; dz++) {
            for (int j : grid.getOrDefault(key(places.get(i), dx, dy, dz), List.of())) {
              if (i != j && distance(places.get(i), places.get(j)) < REACH) {
                pairs.add(new int[] {j, i});
              }
            }
          }
        }
      }
    }
    int edges = pairs.size();
    int[] source = new int[edges];
    int[] destination = new int[edges];
    float[] r = new float[3 * edges];
    for (int e = 0; e < edges; e++) {
      source[e] = pairs.get(e)[0];
      destination[e] = pairs.get(e)[1];
      for (int axis = 0; axis < 3; axis++) {
        r[3 * e + axis] = (float) (places.get(source[e])[axis] - places.get(destination[e])[axis]);
      }
    }
    int n = (degree + 1) * (degree + 1);
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      Tensor x = Tensor.allocate(arena, DType.F32, nodes, n, CHANNELS);
      random.fillNormal(x.memory());
      Tensor h = Tensor.allocate(arena, DType.F32, edges, degree + 1);
      random.fillNormal(h.memory());
      ConvolutionInputs in = new ConvolutionInputs(x, Tensor.copyOf(arena, r, edges, 3), h, null);
      Tensor out = Tensor.allocate(arena, DType.F32, nodes, n, CHANNELS);
      Edges graph = Edges.of(nodes, source, destination);
      GauntConvolution plan =
          GauntConvolution.builder(degree, degree, degree).channels(CHANNELS).build();
      double forward = least(edges, () -> plan.forward(graph, in, out, workspace));
      double backward = Double.NaN;
      if (edges < 200_000) {
        ConvolutionGradients gradients =
            new ConvolutionGradients(
                Tensor.allocate(arena, DType.F32, x.shape()),
                Tensor.allocate(arena, DType.F32, edges, 3),
                Tensor.allocate(arena, DType.F32, edges, degree + 1),
                null);
        backward = least(edges, () -> plan.backward(graph, in, out, gradients, workspace));
      }
      System.out.printf(
          Locale.ROOT,
          "L %d, %d nodes, %d edges: forward %.2f ns, backward %.2f ns per edge and channel%n",
          degree,
          nodes,
          edges,
          forward,
          backward);
    }
  }

  private static double least(int edges, Runnable work) {
    double least = Double.POSITIVE_INFINITY;
    int repeats = Math.max(3, Math.min(400, 1_000_000 / Math.max(1, edges)));
    for (int i = 0; i < repeats; i++) {
      long start = CLOCK.getCurrentThreadCpuTime();
      work.run();
      least =
          Math.min(least, (CLOCK.getCurrentThreadCpuTime() - start) / ((double) edges * CHANNELS));
    }
    return least;
  }

  private static long key(double[] place, int dx, int dy, int dz) {
    long x = (long) Math.floor(place[0]) + dx;
    long y = (long) Math.floor(place[1]) + dy;
    long z = (long) Math.floor(place[2]) + dz;
    return ((x + 1000) * 4096 + y + 1000) * 4096 + z + 1000;
  }

  private static double distance(double[] a, double[] b) {
    double square = 0;
    for (int axis = 0; axis < 3; axis++) {
      square += (a[axis] - b[axis]) * (a[axis] - b[axis]);
    }
    return Math.sqrt(square);
  }
}
