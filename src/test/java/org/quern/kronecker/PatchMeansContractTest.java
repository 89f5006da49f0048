package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Patch means of every tier against the unfolded input. */
class PatchMeansContractTest {
  static Stream<Tier> tiers() {
    return InverseFactor.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static Tensor images(
      Arena arena, Random random, DType type, int n, int channels, int height, int width) {
    long stride = (long) width + random.nextInt(3);
    long rows = (long) n * channels * height;
    Tensor images =
        Tensor.of(
            arena.allocate(Math.max(1, rows * stride * type.bytes()), type.bytes()),
            type,
            stride,
            new long[] {n, channels, height, width});
    for (int i = 0; i < n; i++) {
      for (int c = 0; c < channels; c++) {
        for (int y = 0; y < height; y++) {
          for (int x = 0; x < width; x++) {
            images.setDouble(random.nextGaussian() + 0.5, i, c, y, x);
          }
        }
      }
    }
    return images;
  }

  /** Mean over the samples of the clamped means over the outputs. */
  private static float[] expected(Tensor x, Window v, Window h, double limit) {
    int n = (int) x.dim(0);
    int channels = (int) x.dim(1);
    long outY = v.outputs(x.dim(2));
    long outX = h.outputs(x.dim(3));
    float[] means = new float[channels * v.kernel() * h.kernel()];
    for (int entry = 0; entry < means.length; entry++) {
      int kj = entry % h.kernel();
      int ki = entry / h.kernel() % v.kernel();
      int c = entry / h.kernel() / v.kernel();
      double total = 0;
      for (int i = 0; i < n; i++) {
        double sum = 0;
        for (long oy = 0; oy < outY; oy++) {
          for (long ox = 0; ox < outX; ox++) {
            long row = oy * v.stride() - v.padding() + (long) ki * v.dilation();
            long column = ox * h.stride() - h.padding() + (long) kj * h.dilation();
            if (row >= 0 && row < x.dim(2) && column >= 0 && column < x.dim(3)) {
              sum += x.getDouble(i, c, row, column);
            }
          }
        }
        total += Math.clamp(sum / (outY * outX), -limit, limit);
      }
      means[entry] = (float) (total / n);
    }
    return means;
  }

  private static float[] means(
      Arena arena, Tensor x, Window v, Window h, double limit, int threads, Tier tier) {
    PatchMeans patches = PatchMeans.create(arena, (int) x.dim(1), 1, v, h, threads, tier);
    ColumnMeans target = ColumnMeans.create(arena, patches.columns(), 1, tier);
    patches.add(x, limit, target);
    Tensor out = Tensor.allocate(arena, DType.F32, patches.columns());
    target.mean(out);
    return out.toFloatArray();
  }

  private static Window window(Random random, int extent) {
    while (true) {
      Window window =
          new Window(
              1 + random.nextInt(5),
              1 + random.nextInt(4),
              random.nextInt(4),
              1 + random.nextInt(3));
      if (window.outputs(extent) > 0) {
        return window;
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void equalTheMeansOfTheUnfoldedInput(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    DType[] types = {DType.F32, DType.F16, DType.BF16};
    for (int i = 0; i < 400; i++) {
      try (Arena arena = Arena.ofConfined()) {
        int height = 1 + random.nextInt(9);
        int width = 1 + random.nextInt(i % 10 == 0 ? 70 : 20);
        Window v = window(random, height);
        Window h = window(random, width);
        DType type = types[random.nextInt(3)];
        double limit = random.nextBoolean() ? 0.3 : Double.POSITIVE_INFINITY;
        Tensor x = images(arena, random, type, 1 + random.nextInt(3), 2, height, width);
        assertArrayEquals(
            expected(x, v, h, limit),
            means(arena, x, v, h, limit, 1, tier),
            3e-6f,
            () -> type + " " + height + " x " + width + " " + v + " " + h + ", seed " + seed);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void threadsDoNotChangeABit(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    try (Arena arena = Arena.ofShared()) {
      Window window = new Window(3, 1, 1, 1);
      Tensor x = images(arena, random, DType.F32, 3, 13, 14, 14);
      assertArrayEquals(
          means(arena, x, window, window, 0.1, 1, tier),
          means(arena, x, window, window, 0.1, 3, tier),
          "seed " + seed);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void pointsGiveTheMeanOverThePositions(Tier tier) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    try (Arena arena = Arena.ofConfined()) {
      Tensor dy = images(arena, random, DType.F32, 4, 5, 6, 7);
      PatchMeans points = PatchMeans.create(arena, 5, 1, Window.point(), Window.point(), 1, tier);
      ColumnMeans sums = ColumnMeans.create(arena, 5, 1, tier);
      points.add(dy, Double.POSITIVE_INFINITY, sums);
      Tensor g = Tensor.allocate(arena, DType.F32, 5);
      sums.sum(g, 1);
      for (int c = 0; c < 5; c++) {
        double bias = 0;
        for (int i = 0; i < 4 * 42; i++) {
          bias += dy.getDouble(i / 42, c, i % 42 / 7, i % 7);
        }
        assertEquals(bias / 42, g.getDouble(c), 1e-6, "seed " + seed);
      }
    }
  }

  @Test
  void argumentsAreChecked() {
    try (Arena arena = Arena.ofConfined()) {
      Window window = new Window(3, 1, 0, 1);
      assertThrows(
          UnsupportedOperationException.class,
          () -> PatchMeans.create(arena, 4, 2, window, window, 1, null));
      PatchMeans patches = PatchMeans.create(arena, 2, 1, window, window, 1, null);
      ColumnMeans target = ColumnMeans.create(arena, patches.columns());
      double limit = 100;
      assertRefused("x", () -> patches.add(tensor(arena, 1, 3, 4, 4), limit, target));
      assertRefused("x", () -> patches.add(tensor(arena, 2, 4, 4), limit, target));
      assertRefused("x", () -> patches.add(tensor(arena, 1, 2, 2, 4), limit, target));
      assertRefused("limit", () -> patches.add(tensor(arena, 1, 2, 4, 4), -1, target));
      ColumnMeans other = ColumnMeans.create(arena, 5);
      assertRefused("target", () -> patches.add(tensor(arena, 1, 2, 4, 4), limit, other));
      assertEquals(0, target.rows());
      assertRefused("kernel", () -> new Window(0, 1, 0, 1));
      assertRefused("padding", () -> new Window(1, 1, -1, 1));
    }
  }

  private static Tensor tensor(Arena arena, long... shape) {
    return Tensor.allocate(arena, DType.F32, shape);
  }

  private static void assertRefused(String argument, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().startsWith(argument + ": expected"), e.getMessage());
  }
}
