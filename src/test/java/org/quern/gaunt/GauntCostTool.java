package org.quern.gaunt;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SplittableRandom;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * Measures products (L, L, 2L) by every algorithm for L from 1 to 16, one tile in cache on the best
 * tier, against the operations that {@link CostModel} counts. Prints the table, the exponents of L
 * and the rates, and draws the plot. The least of many short samples of each.
 *
 * <pre>{@code
 * java -Xbatch --add-modules jdk.incubator.vector --enable-native-access=ALL-UNNAMED
 *   -cp target/classes:target/test-classes:target/lib/* org.quern.gaunt.GauntCostTool
 *   F32 docs/gaunt-cost.svg 60
 * }</pre>
 *
 * <p>The last argument is the most seconds that a product may warm up; one that is not compiled by
 * then is left out. On a machine with nothing else to do it takes some minutes.
 */
public final class GauntCostTool {
  private static final int HIGHEST = 16;

  /** Highest degrees that build in little time: exact coefficients, choices of points. */
  private static final int HIGHEST_DIRECT = 8;

  private static final int HIGHEST_POINTS = 8;

  /** Calls after which the second compiler has come. */
  private static final int CALLS = 7000;

  /** Nanoseconds of warming up, at least, and of measuring. */
  private static final long WARM = 200_000_000;

  private static final long MEASURE = 150_000_000;

  /** Degrees that the exponents are fitted to: constants count less there. */
  private static final int FIT_FROM = 6;

  private GauntCostTool() {}

  /** Runs it. */
  public static void main(String[] args) throws IOException {
    DType type = DType.valueOf(args[0]);
    long limit = 1_000_000_000L * Long.parseLong(args[2]);
    Tier tier = GauntProduct.builder(0, 0, 0).build().tier();
    Map<Algorithm, List<double[]>> points = new EnumMap<>(Algorithm.class);
    System.out.println("| L | algorithm | multiply-adds | ns | estimated ns |\n|-|-|-|-|-|");
    for (Algorithm algorithm : Algorithm.values()) {
      List<double[]> measured = new ArrayList<>();
      int missing = 0;
      for (int degree = 1; degree <= highest(algorithm); degree++) {
        TrilinearForm form = form(degree);
        CostModel.Cost cost = CostModel.of(algorithm, form, type, tier, Resolution.LEAST);
        double nanoseconds =
            measure(GauntProduct.algorithm(algorithm, form, type, tier), form, type, limit);
        if (Double.isNaN(nanoseconds)) {
          System.out.printf("| %d | %s | not compiled in time |%n", degree, algorithm);
          if (++missing == 2) {
            break;
          }
          continue;
        }
        measured.add(new double[] {degree, nanoseconds, cost.multiplyAdds(), cost.nanoseconds()});
        System.out.printf(
            Locale.ROOT,
            "| %d | %s | %.0f | %.1f | %.1f |%n",
            degree,
            algorithm,
            cost.multiplyAdds(),
            nanoseconds,
            cost.nanoseconds());
      }
      points.put(algorithm, measured);
    }
    List<LogPlot.Line> lines = new ArrayList<>();
    System.out.println(
        "\n| algorithm | exponent of L | of the operations | multiply-adds per ns |");
    System.out.println("|-|-|-|-|");
    points.forEach((algorithm, all) -> {
      List<double[]> high =
          all.subList(Math.max(0, Math.min(FIT_FROM - 1, all.size() - 4)), all.size());
      double[] x = column(high, 0);
      double rate = median(high.stream().mapToDouble(p -> p[2] / p[1]).toArray());
      double exponent = slope(x, column(high, 1));
      System.out.printf(
          Locale.ROOT,
          "| %s | %.1f | %.1f | %.1f |%n",
          algorithm,
          exponent,
          slope(x, column(high, 2)),
          rate);
      double[] counted = Arrays.stream(column(all, 2)).map(count -> count / rate).toArray();
      String name = String.format(Locale.ROOT, "%s, L^%.1f", algorithm, exponent);
      lines.add(new LogPlot.Line(name, column(all, 0), column(all, 1), counted));
    });
    String title =
        "Gaunt product (L, L, 2L), " + type + ", one core: measured, and operations at one rate";
    String plot = LogPlot.draw(title, "degree L", "ns per product and channel", lines);
    Files.writeString(Path.of(args[1]), plot);
  }

  private static int highest(Algorithm algorithm) {
    return switch (algorithm) {
      case DIRECT -> HIGHEST_DIRECT;
      case POINTS -> HIGHEST_POINTS;
      default -> HIGHEST;
    };
  }

  private static TrilinearForm form(int degree) {
    int[] degrees = {degree, degree, 2 * degree};
    double[][] scales = new double[3][];
    for (int i = 0; i < 3; i++) {
      scales[i] = new double[degrees[i] + 1];
      Arrays.fill(scales[i], 1);
    }
    return new TrilinearForm(degrees, scales);
  }

  /** The least nanoseconds per channel. */
  private static double measure(
      ProductAlgorithm algorithm, TrilinearForm form, DType type, long limit) {
    try (Arena arena = Arena.ofConfined()) {
      SplittableRandom random = new SplittableRandom(1);
      long step = (long) algorithm.channels() * type.bytes();
      MemorySegment[] x = new MemorySegment[3];
      for (int i = 0; i < 3; i++) {
        x[i] = arena.allocate(form.components(i) * step, 64);
        for (long at = 0; at < x[i].byteSize(); at += type.bytes()) {
          Cells.set(x[i], type, at, random.nextDouble(-1, 1));
        }
      }
      MemorySegment scratch = arena.allocate(Math.max(1, algorithm.scratchBytes()), 64);
      Runnable call =
          () -> algorithm.contract(2, x[0], 0, step, x[1], 0, step, x[2], 0, step, scratch);
      // A written class is compiled by the number of its calls, the others have been long before.
      boolean written = algorithm instanceof VectorDirect || algorithm instanceof VectorHybrid;
      int fewest = written ? CALLS : 3;
      long start = System.nanoTime();
      for (int calls = 0; calls < fewest || System.nanoTime() < start + WARM; calls++) {
        if (System.nanoTime() > start + limit) {
          return Double.NaN;
        }
        call.run();
      }
      double least = Double.POSITIVE_INFINITY;
      long end = System.nanoTime() + MEASURE;
      int batch = 1;
      do {
        long begin = System.nanoTime();
        for (int i = 0; i < batch; i++) {
          call.run();
        }
        long took = System.nanoTime() - begin;
        least = Math.min(least, (double) took / batch);
        batch = (int) Math.max(1, Math.min(1000, 20_000 / least));
      } while (System.nanoTime() < end);
      return least / algorithm.channels();
    }
  }

  private static double[] column(List<double[]> rows, int column) {
    return rows.stream().mapToDouble(row -> row[column]).toArray();
  }

  private static double median(double[] values) {
    Arrays.sort(values);
    return values[values.length / 2];
  }

  /** The slope of log y over log x. */
  private static double slope(double[] x, double[] y) {
    double mx = Arrays.stream(x).map(Math::log).average().orElse(0);
    double my = Arrays.stream(y).map(Math::log).average().orElse(0);
    double xy = 0;
    double xx = 0;
    for (int i = 0; i < x.length; i++) {
      xy += (Math.log(x[i]) - mx) * (Math.log(y[i]) - my);
      xx += (Math.log(x[i]) - mx) * (Math.log(x[i]) - mx);
    }
    return xy / xx;
  }
}
