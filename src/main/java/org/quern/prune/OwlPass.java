package org.quern.prune;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.function.ToDoubleFunction;
import org.jspecify.annotations.Nullable;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Parallel;
import org.quern.runtime.Progress;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The pass over a checkpoint that finds the {@link OwlRatios} of its blocks before anything is
 * pruned: reads every matrix of a block twice, for the mean of its scores and for those above it, a
 * chunk of rows per thread. The result does not depend on the number of threads.
 */
final class OwlPass {
  /** Bytes of weights per chunk. */
  private static final long CHUNK = 1 << 19;

  private final Thread owner = Thread.currentThread();
  private final OwlRatios owl;
  private final Layout layout;
  private final int threads;
  private final Progress progress;
  private final Pruner scorer;

  OwlPass(OwlRatios owl, Layout layout, @Nullable Tier tier, int threads, Progress progress) {
    this.owl = owl;
    this.layout = layout;
    this.threads = threads;
    this.progress = progress;
    scorer = Pruner.builder().method(Method.WANDA).tier(tier).build();
  }

  /** A matrix to prune, with its activation statistic. */
  record Matrix(
      SafetensorsFile file, SafetensorsEntry entry, CalibrationFiles.Source activations) {}

  /** Rows of a matrix as stored. */
  private record Rows(Matrix matrix, long from, long to) {}

  /**
   * The ratio of every block.
   *
   * @param ratio share to prune on average
   * @throws IllegalArgumentException where a matrix is in no block, or a score is not finite
   */
  LayerRatios find(List<Matrix> matrices, double ratio) throws IOException {
    Map<String, List<Matrix>> blocks = new LinkedHashMap<>();
    for (Matrix matrix : matrices) {
      blocks
          .computeIfAbsent(LayerSelection.blockOf(matrix.entry.name()), block -> new ArrayList<>())
          .add(matrix);
    }
    List<String> names = List.copyOf(blocks.keySet());
    double[] outliers = new double[names.size()];
    for (int i = 0; i < outliers.length; i++) {
      progress.report("outliers by block", i, outliers.length);
      outliers[i] = outliers(blocks.getOrDefault(names.get(i), List.of()));
    }
    progress.report("outliers by block", outliers.length, outliers.length);
    return LayerRatios.ofBlocks(names, owl.ratios(outliers, ratio));
  }

  private double outliers(List<Matrix> block) throws IOException {
    List<Rows> chunks = new ArrayList<>();
    long count = 0;
    for (Matrix matrix : block) {
      long rows = matrix.entry.shape()[0];
      // A matrix that is stored transposed has all outputs in every row.
      long step =
          layout == Layout.IN_OUT
              ? rows
              : Math.max(1, CHUNK * rows / Math.max(1, matrix.entry.bytes()));
      for (long from = 0; from < rows; from += step) {
        chunks.add(new Rows(matrix, from, Math.min(from + step, rows)));
      }
      count += rows * matrix.entry.shape()[1];
    }
    if (count == 0) {
      return 0;
    }
    double bound = owl.bound(overRows(chunks, row -> OwlRatios.sum(row, columns(row))), count);
    double above = overRows(chunks, row -> OwlRatios.above(row, columns(row), bound));
    return OwlRatios.percent((long) above, count);
  }

  private static int columns(MemorySegment row) {
    return (int) (row.byteSize() / Float.BYTES);
  }

  /**
   * The sum of a function over all rows of scores: within chunks in order, then over the chunks.
   */
  private double overRows(List<Rows> chunks, ToDoubleFunction<MemorySegment> function)
      throws IOException {
    double[] sums = new double[chunks.size()];
    try {
      Parallel.forRanges(
          sums.length,
          1,
          threads,
          (from, to, worker) -> {
            if (owner.isInterrupted()) {
              throw new CancellationException("interrupted");
            }
            try {
              score(chunks.get((int) from), row -> sums[(int) from] += function.applyAsDouble(row));
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    return Arrays.stream(sums).reduce(0, Double::sum);
  }

  private void score(Rows rows, Pruner.ScoreVisitor visitor) throws IOException {
    SafetensorsEntry entry = rows.matrix.entry;
    DType type = DType.valueOf(entry.type().name());
    long height = rows.to - rows.from;
    long width = entry.shape()[1];
    try (Arena arena = Arena.ofConfined();
        PruneWorkspace workspace = new PruneWorkspace()) {
      Tensor weights = Tensor.allocate(arena, type, height, width);
      rows.matrix.file.read(entry.name(), rows.from * width * type.bytes(), weights.memory());
      if (layout == Layout.IN_OUT) {
        Tensor stored = weights;
        weights = Tensor.allocate(arena, type, width, height);
        PruneStream.transpose(
            stored.memory(), width, 0, weights.memory(), height, 0, type, height, width);
      }
      Tensor norms = CalibrationFiles.columnNorms(rows.matrix.activations, arena);
      scorer.visitScores(
          rows.matrix.file.path() + ": " + entry.name(),
          weights,
          new Statistics(null, norms),
          layout == Layout.IN_OUT ? 0 : rows.from,
          workspace,
          visitor);
    }
  }
}
