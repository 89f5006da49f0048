package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.quern.family.Chart;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.family.TourRow;
import org.quern.random.Philox;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Prunes one layer of the size of a large language model's by GBLM and shows the rate, beside the
 * straightforward way: score a row or group, sort it, zero its smallest. That way runs on the first
 * rows only, with the same number of threads, and its time is scaled to all rows.
 */
final class LayerTour {
  private static final int ROWS = 4096;
  private static final int COLUMNS = 11008;

  /** Rows that the straightforward way and the oracle prune. */
  private static final int SAMPLE_ROWS = 128;

  private static final int WARM_UPS = 3;
  private static final int REPEATS = 5;
  private static final long SEED = 20231104;
  private static final List<Pattern> PATTERNS =
      List.of(Pattern.unstructured(0.5), Pattern.nm(2, 4), Pattern.nm(4, 8));

  /** Bytes moved per weight: W and G read, W written. */
  private static final long BYTES_PER_WEIGHT = 3 * Float.BYTES;

  private final TourContext context;

  LayerTour(TourContext context) {
    this.context = context;
  }

  TourReport run() {
    List<TourRow> rows = new ArrayList<>();
    List<Double> times = new ArrayList<>();
    List<Double> plainTimes = new ArrayList<>();
    try (Arena arena = Arena.ofShared()) {
      Layer layer = new Layer(arena);
      layer.fill(context.threads());
      for (Pattern pattern : PATTERNS) {
        context.progress().report("pruning a 4096 x 11008 layer", rows.size(), PATTERNS.size());
        boolean[][] plain = new boolean[SAMPLE_ROWS][COLUMNS];
        double plainSeconds = timePlain(layer, pattern, plain);
        double seconds = time(layer, pattern);
        boolean same = layer.zeroesWhere(plain) && layer.startsWith(oracle(layer, pattern, arena));
        rows.add(row(pattern, seconds, plainSeconds, same));
        times.add(1e3 * seconds);
        plainTimes.add(1e3 * plainSeconds);
      }
      context.progress().report("pruning a 4096 x 11008 layer", rows.size(), PATTERNS.size());
    }
    Chart chart =
        new Chart(
            "A 4096 x 11008 layer pruned by GBLM, " + threads(),
            Chart.Kind.BARS,
            "pattern",
            "milliseconds",
            true,
            PATTERNS.stream().map(Pattern::toString).toList(),
            List.of(
                new Chart.Series("plain Java", List.of(), plainTimes),
                new Chart.Series("Quern, " + context.tier().label(), List.of(), times)));
    return new TourReport(rows, List.of(chart));
  }

  private TourRow row(Pattern pattern, double seconds, double plainSeconds, boolean same) {
    double rate = (double) ROWS * COLUMNS * BYTES_PER_WEIGHT / seconds * 1e-9;
    String check =
        String.format(
            Locale.ROOT,
            "%d rows %s scalar tier and plain Java; %.1f GB/s",
            SAMPLE_ROWS,
            same ? "equal" : "differ from",
            rate);
    return new TourRow(
        PruneFamily.NAME,
        "4096 x 11008 F32 layer by gblm at " + pattern + ", " + threads(),
        context.tier(),
        seconds,
        plainSeconds / seconds,
        "plain Java: score, sort, zero; " + threads() + ", " + SAMPLE_ROWS + " rows, scaled",
        check,
        same);
  }

  private String threads() {
    return context.threads() == 1 ? "1 thread" : context.threads() + " threads";
  }

  /** Median time to prune the whole layer; leaves it pruned. */
  private double time(Layer layer, Pattern pattern) {
    Pruner pruner =
        Pruner.builder().pattern(pattern).tier(context.tier()).threads(context.threads()).build();
    double[] seconds = new double[REPEATS];
    try (PruneWorkspace workspace = new PruneWorkspace()) {
      for (int i = -WARM_UPS; i < REPEATS; i++) {
        layer.restore();
        long start = System.nanoTime();
        pruner.prune("layer", layer.weights, layer.statistics(), workspace);
        seconds[Math.max(i, 0)] = (System.nanoTime() - start) * 1e-9;
      }
    }
    Arrays.sort(seconds);
    return seconds[REPEATS / 2];
  }

  /** The first rows as the scalar tier prunes them. */
  private static Tensor oracle(Layer layer, Pattern pattern, Arena arena) {
    Tensor rows = layer.dense.rows(0, SAMPLE_ROWS).to(DType.F32, arena);
    Statistics statistics = new Statistics(layer.gradients.rows(0, SAMPLE_ROWS), layer.norms);
    Pruner.builder().pattern(pattern).tier(Tier.SCALAR).build().prune(rows, statistics);
    return rows;
  }

  /** Median time of the straightforward way, scaled to all rows; marks what it prunes. */
  private double timePlain(Layer layer, Pattern pattern, boolean[][] pruned) {
    float[][] weights = layer.sample(layer.dense);
    float[][] gradients = layer.sample(layer.gradients);
    float[] norms = layer.norms.toFloatArray();
    double[] seconds = new double[REPEATS];
    for (int i = -WARM_UPS; i < REPEATS; i++) {
      long start = System.nanoTime();
      Parallel.forRanges(
          SAMPLE_ROWS,
          1,
          context.threads(),
          (from, to, worker) -> {
            int row = (int) from;
            PlainPruning.prune(weights[row], gradients[row], norms, pattern, pruned[row]);
          });
      seconds[Math.max(i, 0)] = (System.nanoTime() - start) * 1e-9;
    }
    Arrays.sort(seconds);
    return seconds[REPEATS / 2] * ROWS / SAMPLE_ROWS;
  }

  /** Random weights with gradients and norms, and a copy to start anew from. */
  private static final class Layer {
    final Tensor dense;
    final Tensor weights;
    final Tensor gradients;
    final Tensor norms;

    Layer(Arena arena) {
      dense = Tensor.allocate(arena, DType.F32, ROWS, COLUMNS);
      weights = Tensor.allocate(arena, DType.F32, ROWS, COLUMNS);
      gradients = Tensor.allocate(arena, DType.F32, ROWS, COLUMNS);
      norms = Tensor.allocate(arena, DType.F32, COLUMNS);
    }

    void fill(int threads) {
      Philox random = new Philox(SEED, ROWS);
      for (int j = 0; j < COLUMNS; j++) {
        norms.memory().setAtIndex(JAVA_FLOAT, j, 0.1f + random.nextFloat());
      }
      Parallel.forRanges(
          ROWS,
          1,
          threads,
          (row, to, worker) -> {
            Philox stream = new Philox(SEED, row);
            for (int j = 0; j < COLUMNS; j++) {
              // The sum of two uniform numbers leans to small weights, the square to small
              // gradients.
              float weight = stream.nextFloat() + stream.nextFloat() - 1;
              float gradient = stream.nextFloat();
              dense.memory().setAtIndex(JAVA_FLOAT, row * COLUMNS + j, weight);
              gradients.memory().setAtIndex(JAVA_FLOAT, row * COLUMNS + j, gradient * gradient);
            }
          });
    }

    Statistics statistics() {
      return new Statistics(gradients, norms);
    }

    void restore() {
      weights.memory().copyFrom(dense.memory());
    }

    float[][] sample(Tensor tensor) {
      float[][] rows = new float[SAMPLE_ROWS][];
      Arrays.setAll(rows, row -> tensor.row(row).toFloatArray());
      return rows;
    }

    /** True where the first rows are +0.0 at the marks and untouched elsewhere. */
    boolean zeroesWhere(boolean[][] pruned) {
      float[][] now = sample(weights);
      float[][] before = sample(dense);
      for (int row = 0; row < SAMPLE_ROWS; row++) {
        for (int j = 0; j < COLUMNS; j++) {
          float wanted = pruned[row][j] ? 0 : before[row][j];
          if (Float.floatToRawIntBits(now[row][j]) != Float.floatToRawIntBits(wanted)) {
            return false;
          }
        }
      }
      return true;
    }

    boolean startsWith(Tensor rows) {
      MemorySegment first = weights.memory().asSlice(0, rows.memory().byteSize());
      return first.mismatch(rows.memory()) < 0;
    }
  }
}
