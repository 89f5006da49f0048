package org.quern.linalg;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.util.Arrays;
import java.util.function.LongSupplier;
import org.quern.tensor.Tensor;

/**
 * A tool, not a test: prints GFLOP/s of the product and their share of the multiply-add peak
 * measured in the same process. Arguments: number of threads (1), number of samples (15).
 */
final class GemmTiming {
  private static final long WARM_UP = 1_000_000_000;
  private static volatile float sink;

  /**
   * Processor time of one thread, which other work on the machine disturbs less; elapsed time for
   * several.
   */
  private static LongSupplier clock = ManagementFactory.getThreadMXBean()::getCurrentThreadCpuTime;

  private GemmTiming() {}

  public static void main(String[] arguments) {
    int threads = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 1;
    int samples = arguments.length > 1 ? Integer.parseInt(arguments[1]) : 15;
    if (threads > 1) {
      clock = System::nanoTime;
    }
    try (Arena arena = Arena.ofShared()) {
      Gemm gemm = Gemm.create(arena, threads);
      double peak =
          report("peak of one thread", FusedPeak.flops(), samples, 0, () -> sink = FusedPeak.run());
      int[][] cubes = {
        {64, 64, 64}, {128, 128, 128}, {256, 256, 256}, {512, 512, 512}, {1024, 1024, 1024}
      };
      int[][] layers = {
        {96, 64, 64}, {96, 176, 64}, {96, 64, 176}, {96, 64, 96}, {1, 1024, 1024}, {8, 1024, 1024}
      };
      for (int[] shape : cubes) {
        product(gemm, arena, shape, false, false, samples, peak);
      }
      product(gemm, arena, cubes[4], false, true, samples, peak);
      product(gemm, arena, cubes[4], true, false, samples, peak);
      for (int[] shape : layers) {
        product(gemm, arena, shape, false, false, samples, peak);
        product(gemm, arena, shape, false, true, samples, peak);
        product(gemm, arena, shape, true, false, samples, peak);
      }
      int rows = 2048;
      int columns = 1024;
      MemorySegment x = random(arena, rows, columns);
      MemorySegment c = random(arena, columns, columns);
      report(
          "gram " + rows + " x " + columns,
          (double) rows * columns * (columns + 1),
          samples,
          peak,
          () -> gemm.gram(rows, columns, 1, x, columns, 0, c, columns));
      factors(gemm, arena, 1024, samples, peak);
      factors(gemm, arena, 2048, samples, peak);
    }
  }

  private static void product(
      Gemm gemm,
      Arena arena,
      int[] shape,
      boolean transposeA,
      boolean transposeB,
      int samples,
      double peak) {
    int m = shape[0];
    int n = shape[1];
    int k = shape[2];
    MemorySegment a = random(arena, m, k);
    MemorySegment b = random(arena, k, n);
    MemorySegment c = random(arena, m, n);
    report(
        (transposeA ? "T" : "N") + (transposeB ? "T " : "N ") + m + " x " + n + " x " + k,
        2.0 * m * n * k,
        samples,
        peak,
        () ->
            gemm.multiply(
                transposeA,
                transposeB,
                m,
                n,
                k,
                1,
                a,
                transposeA ? m : k,
                b,
                transposeB ? k : n,
                0,
                c,
                n));
  }

  private static void factors(Gemm gemm, Arena arena, int n, int samples, double peak) {
    MemorySegment a = random(arena, n, n);
    MemorySegment l = random(arena, n, n);
    for (int i = 0; i < n; i++) {
      a.setAtIndex(ValueLayout.JAVA_FLOAT, (long) i * n + i, n);
    }
    double cube = (double) n * n * n;
    report(
        "Cholesky " + n,
        cube / 3,
        samples,
        peak,
        () -> {
          l.copyFrom(a);
          Cholesky.factor(gemm, n, l, n);
        });
    report(
        "inverse factor " + n,
        2 * cube / 3,
        samples,
        peak,
        () -> {
          l.copyFrom(a);
          Cholesky.inverseFactor(gemm, n, l, n);
        });
  }

  private static double report(String name, double flops, int samples, double peak, Runnable work) {
    int calls = (int) Math.max(1, 2e7 / flops);
    for (long end = System.nanoTime() + WARM_UP; System.nanoTime() < end; ) {
      work.run();
    }
    double[] rates = new double[samples];
    for (int i = 0; i < samples; i++) {
      long start = clock.getAsLong();
      for (int j = 0; j < calls; j++) {
        work.run();
      }
      rates[i] = flops * calls / (clock.getAsLong() - start);
    }
    Arrays.sort(rates);
    double median = rates[samples / 2];
    double best = rates[samples - 1];
    System.out.printf("%-30s median %7.1f  best %7.1f GFLOP/s", name, median, best);
    System.out.println(
        peak == 0
            ? ""
            : "  %3.0f, %3.0f %% of peak".formatted(100 * median / peak, 100 * best / peak));
    return median;
  }

  private static MemorySegment random(Arena arena, int rows, int columns) {
    MemorySegment memory = arena.allocate(Math.max(1, 4L * rows * columns), Tensor.ALIGNMENT);
    for (long i = 0; i < (long) rows * columns; i++) {
      memory.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) Math.sin(i * 0.7 + 1));
    }
    return memory;
  }
}
