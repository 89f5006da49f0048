package org.quern.prune;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.quern.family.Chart;
import org.quern.io.Checkpoint;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Where a matrix keeps its weights: the share that is not zero in every tile of a grid over outputs
 * and inputs, and by output. Pruned rows, columns and heads show as pale bands.
 *
 * @param name of the matrix
 * @param outputs rows of the matrix
 * @param inputs columns of the matrix
 * @param tiles share kept by tile, in [0, 1], one list for each row of tiles from the first output
 * @param byOutput share kept by runs of outputs
 */
public record KeptWeights(
    String name, long outputs, long inputs, List<List<Double>> tiles, List<Double> byOutput) {
  private static final int TILE_ROWS = 64;
  private static final int TILE_COLUMNS = 128;
  private static final int OUTPUT_BINS = 128;

  /** Copies the lists. */
  public KeptWeights {
    tiles = tiles.stream().map(List::copyOf).toList();
    byOutput = List.copyOf(byOutput);
  }

  /**
   * Looks at a matrix in memory.
   *
   * @param weights F32, F16 or BF16, [outputs, inputs], not empty
   */
  public static KeptWeights of(String name, Tensor weights) {
    Count count = new Count(weights.dim(0), weights.dim(1), Layout.OUT_IN);
    for (long row = 0; row < weights.dim(0); row++) {
      count.add(row, weights.row(row).memory(), weights.type());
    }
    return count.kept(name);
  }

  /**
   * Looks at the matrices of a checkpoint that a report names, reading one row of each at a time.
   *
   * @param model the pruned checkpoint
   * @param layers what of it to read; empty matrices are left out
   * @param layout how the matrices are stored
   * @param threads most threads to work at a time
   * @throws IOException where the checkpoint cannot be read or lacks a layer
   */
  public static List<KeptWeights> read(
      Path model, List<PruneReport.Layer> layers, Layout layout, int threads) throws IOException {
    List<PruneReport.Layer> filled = layers.stream().filter(layer -> layer.weights() > 0).toList();
    KeptWeights[] kept = new KeptWeights[filled.size()];
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      Parallel.forRanges(
          kept.length,
          1,
          threads,
          (from, to, worker) -> {
            String name = filled.get((int) from).name();
            try {
              SafetensorsFile shard = checkpoint.shardOf(name);
              kept[(int) from] = read(shard, shard.entry(name), layout);
            } catch (IOException e) {
              throw new UncheckedIOException(e);
            }
          });
    } catch (UncheckedIOException e) {
      throw e.getCause();
    }
    return List.of(kept);
  }

  private static KeptWeights read(SafetensorsFile file, SafetensorsEntry entry, Layout layout)
      throws IOException {
    DType type = DType.valueOf(entry.type().name());
    long rows = entry.shape()[0];
    long columns = entry.shape()[1];
    Count count = new Count(rows, columns, layout);
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment row = arena.allocate(columns * type.bytes(), Tensor.ALIGNMENT);
      for (long i = 0; i < rows; i++) {
        file.read(entry.name(), i * columns * type.bytes(), row);
        count.add(i, row, type);
      }
    }
    return count.kept(entry.name());
  }

  /** Share kept by columns of tiles, from the first input. */
  public List<Double> byInput() {
    List<Double> means = new ArrayList<>();
    for (int j = 0; j < tiles.getFirst().size(); j++) {
      int column = j;
      // Tiles of one column differ by at most one row in height: close enough for a picture.
      means.add(tiles.stream().mapToDouble(row -> row.get(column)).average().orElse(0));
    }
    return means;
  }

  /** The tiles as a picture, outputs down and inputs across. */
  public Chart picture() {
    return new Chart(
        name + ": kept weights (%)",
        Chart.Kind.HEAT,
        "inputs 0 to " + (inputs - 1),
        "outputs 0 to " + (outputs - 1),
        false,
        List.of(),
        tiles.stream().map(row -> new Chart.Series("", List.of(), percent(row))).toList());
  }

  /** The shares by output and by input as lines over the position along either axis. */
  public Chart profile() {
    return new Chart(
        name,
        Chart.Kind.LINES,
        "position along the axis (%)",
        "kept weights (%)",
        false,
        List.of(),
        List.of(
            new Chart.Series("by input", positions(byInput().size()), percent(byInput())),
            new Chart.Series("by output", positions(byOutput.size()), percent(byOutput))));
  }

  private static List<Double> positions(int n) {
    List<Double> positions = new ArrayList<>();
    for (int i = 0; i < n; i++) {
      positions.add(Math.rint(1000 * (i + 0.5) / n) / 10);
    }
    return positions;
  }

  /** In per cent with one decimal, which keeps a page of many pictures small. */
  private static List<Double> percent(List<Double> shares) {
    return shares.stream().map(share -> Math.rint(1000 * share) / 10).toList();
  }

  /** Kept weights by tile of the matrix as stored. */
  private static final class Count {
    private final long rows;
    private final long columns;
    private final Layout layout;
    private final long[][] tiles;
    private final long[] byOutput;
    private final int tileColumns;
    private final int tileRows;

    Count(long rows, long columns, Layout layout) {
      this.rows = rows;
      this.columns = columns;
      this.layout = layout;
      boolean transposed = layout == Layout.IN_OUT;
      tileRows = (int) Math.min(rows, transposed ? TILE_COLUMNS : TILE_ROWS);
      tileColumns = (int) Math.min(columns, TILE_COLUMNS);
      tiles = new long[tileRows][tileColumns];
      byOutput = new long[(int) Math.min(transposed ? columns : rows, OUTPUT_BINS)];
    }

    /** Where part {@code i} of {@code parts} of a length begins. */
    private static long begin(long i, long parts, long length) {
      return Math.ceilDiv(i * length, parts);
    }

    void add(long row, MemorySegment values, DType type) {
      long[] tileRow = tiles[(int) (row * tileRows / rows)];
      long kept = 0;
      for (int tile = 0; tile < tileColumns; tile++) {
        long from = begin(tile, tileColumns, columns);
        long width = begin(tile + 1L, tileColumns, columns) - from;
        MemorySegment part = values.asSlice(from * type.bytes(), width * type.bytes());
        long count = width - Zeros.count(part, type);
        tileRow[tile] += count;
        kept += count;
        if (layout == Layout.IN_OUT) {
          byOutput[tile] += count;
        }
      }
      if (layout == Layout.OUT_IN) {
        byOutput[(int) (row * byOutput.length / rows)] += kept;
      }
    }

    KeptWeights kept(String name) {
      boolean transposed = layout == Layout.IN_OUT;
      long outputs = transposed ? columns : rows;
      long inputs = transposed ? rows : columns;
      List<Double> shares = new ArrayList<>();
      for (int bin = 0; bin < byOutput.length; bin++) {
        shares.add(share(byOutput[bin], extent(bin, byOutput.length, outputs) * inputs));
      }
      List<List<Double>> grid = new ArrayList<>();
      for (int i = 0; i < (transposed ? tileColumns : tileRows); i++) {
        List<Double> line = new ArrayList<>();
        for (int j = 0; j < (transposed ? tileRows : tileColumns); j++) {
          int row = transposed ? j : i;
          int column = transposed ? i : j;
          long area = extent(row, tileRows, rows) * extent(column, tileColumns, columns);
          line.add(share(tiles[row][column], area));
        }
        grid.add(line);
      }
      return new KeptWeights(name, outputs, inputs, grid, shares);
    }

    private static long extent(long i, long parts, long length) {
      return begin(i + 1, parts, length) - begin(i, parts, length);
    }

    private static double share(long kept, long all) {
      return (double) kept / all;
    }
  }
}
