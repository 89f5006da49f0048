package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.quern.io.CheckpointWriter;
import org.quern.io.FileWork;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Progress;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Moves the tensors of a checkpoint to its copy, pruned or as they are, in bounded memory. A layer
 * whose rows are pruned by themselves goes in chunks of rows, each read, pruned and written by one
 * thread while other threads are at other chunks. A layer that is selected from as a whole is held
 * in memory, one at a time, and pruned by all threads.
 */
final class PruneStream implements AutoCloseable {
  /**
   * Bytes of weights per chunk: with as many of gradients it stays in a core's own cache from
   * reading to writing.
   */
  private static final long CHUNK = 1 << 19;

  private static final String STEP = "pruning (MiB)";

  private final int threads;
  private final Progress progress;
  private final AtomicLong bytesDone = new AtomicLong();
  private final Arena arena = Arena.ofShared();
  private final List<Piece> copies = new ArrayList<>();
  private final List<Piece> chunks = new ArrayList<>();
  private final List<LayerPlan> wholes = new ArrayList<>();
  private @Nullable CheckpointWriter output;
  private long bytesTotal;
  private long weightBytes;
  private long gradientBytes;

  /** Work for one thread. */
  private sealed interface Piece {}

  /** A tensor to copy as it is. */
  private record Copy(SafetensorsFile file, SafetensorsEntry entry) implements Piece {}

  /** Rows {@code [from, to)} of a layer. */
  private record Rows(LayerPlan layer, long from, long to) implements Piece {}

  /** Memory of one thread. */
  private record Scratch(
      MemorySegment weights, MemorySegment gradients, PruneWorkspace workspace) {}

  /** A stream without work. */
  PruneStream(int threads, Progress progress) {
    this.threads = threads;
    this.progress = progress;
  }

  /** Adds a tensor to copy. */
  void copy(SafetensorsFile file, SafetensorsEntry entry) {
    copies.add(new Copy(file, entry));
    bytesTotal += entry.bytes();
  }

  /** Adds a layer to prune. */
  void prune(LayerPlan layer) {
    if (layer.entry.bytes() == 0) {
      return;
    }
    long rows = chunkRows(layer);
    weightBytes = Math.max(weightBytes, rows * layer.storedColumns() * layer.type.bytes());
    if (layer.gradients != null) {
      gradientBytes =
          Math.max(gradientBytes, rows * (layer.gradients.entry().bytes() / layer.storedRows()));
    }
    bytesTotal += layer.entry.bytes();
    if (layer.needsWholeMatrix()) {
      wholes.add(layer);
      return;
    }
    for (long from = 0; from < layer.storedRows(); from += rows) {
      chunks.add(new Rows(layer, from, Math.min(from + rows, layer.storedRows())));
    }
  }

  private static long chunkRows(LayerPlan layer) {
    return Math.clamp(CHUNK / (layer.storedColumns() * layer.type.bytes()), 1, layer.storedRows());
  }

  /**
   * Does all work: first the copies, which may be large, then the chunks that even out the threads,
   * then the layers that all threads share.
   *
   * @param output where to write, or null to write nothing
   * @throws CancellationException where the calling thread is interrupted
   */
  void run(@Nullable CheckpointWriter output) throws IOException {
    this.output = output;
    List<Piece> pieces = new ArrayList<>(copies);
    pieces.addAll(chunks);
    Scratch[] scratch = new Scratch[threads];
    for (int i = 0; i < threads; i++) {
      scratch[i] =
          new Scratch(
              arena.allocate(Math.max(1, weightBytes), Tensor.ALIGNMENT),
              arena.allocate(Math.max(1, gradientBytes), Tensor.ALIGNMENT),
              new PruneWorkspace());
    }
    try {
      FileWork.forRanges(
          pieces.size(),
          1,
          threads,
          (from, to, worker) -> run(pieces.get((int) from), scratch[worker]));
      for (LayerPlan layer : wholes) {
        pruneWhole(layer, scratch);
      }
    } finally {
      for (Scratch each : scratch) {
        each.workspace.close();
      }
    }
  }

  private void run(Piece piece, Scratch scratch) throws IOException {
    switch (piece) {
      case Copy(SafetensorsFile file, SafetensorsEntry entry) -> {
        if (output != null) {
          output.writer(file).copy(entry.name(), file);
        }
        advance(entry.bytes());
      }
      case Rows rows -> pruneRows(rows.layer, rows.from, rows.to, scratch);
    }
  }

  private void pruneRows(LayerPlan layer, long from, long to, Scratch scratch) throws IOException {
    long start = System.nanoTime();
    MemorySegment bytes = read(layer.file, layer.entry, layer.type, from, to, scratch.weights);
    layer.zerosBefore.add(Zeros.count(bytes, layer.type));
    long[] shape = {to - from, layer.storedColumns()};
    try (Arena chunk = Arena.ofConfined()) {
      Tensor gradients = null;
      if (layer.gradients != null) {
        DType type = layer.gradients.type();
        gradients =
            Tensor.of(
                read(
                    layer.gradients.file(),
                    layer.gradients.entry(),
                    type,
                    from,
                    to,
                    scratch.gradients),
                type,
                shape);
      }
      Tensor norms =
          layer.activations == null ? null : CalibrationFiles.columnNorms(layer.activations, chunk);
      layer.pruner.pruneRows(
          layer.label,
          Tensor.of(bytes, layer.type, shape),
          new Statistics(gradients, norms),
          from,
          scratch.workspace);
    }
    layer.zerosAfter.add(Zeros.count(bytes, layer.type));
    write(layer, from, bytes);
    layer.nanos.add(System.nanoTime() - start);
  }

  private void pruneWhole(LayerPlan layer, Scratch[] scratch) throws IOException {
    long start = System.nanoTime();
    try (Arena whole = Arena.ofShared();
        PruneWorkspace workspace = new PruneWorkspace()) {
      Tensor weights = load(layer, layer.file, layer.entry, layer.type, whole, scratch);
      long columns = weights.dim(1);
      long grain = Math.max(1, CHUNK / (columns * layer.type.bytes()));
      FileWork.forRanges(
          weights.dim(0),
          grain,
          threads,
          (from, to, worker) -> layer.zerosBefore.add(zeros(weights.rows(from, to))));
      Tensor gradients = null;
      if (layer.gradients != null) {
        gradients =
            load(
                layer,
                layer.gradients.file(),
                layer.gradients.entry(),
                layer.gradients.type(),
                whole,
                scratch);
      }
      Tensor norms =
          layer.activations == null ? null : CalibrationFiles.columnNorms(layer.activations, whole);
      layer.pruner.prune(layer.label, weights, new Statistics(gradients, norms), workspace);
      FileWork.forRanges(
          weights.dim(0),
          grain,
          threads,
          (from, to, worker) -> layer.zerosAfter.add(zeros(weights.rows(from, to))));
      store(layer, weights, scratch);
    }
    layer.nanos.add(System.nanoTime() - start);
  }

  private static long zeros(Tensor rows) {
    return Zeros.count(rows.memory(), rows.type());
  }

  /** A whole matrix [outputs, inputs], from a file that may store it transposed. */
  private Tensor load(
      LayerPlan layer,
      SafetensorsFile file,
      SafetensorsEntry entry,
      DType type,
      Arena whole,
      Scratch[] scratch)
      throws IOException {
    long rows = layer.storedRows();
    long columns = layer.storedColumns();
    Tensor matrix =
        Tensor.allocate(
            whole, type, layer.transposed ? columns : rows, layer.transposed ? rows : columns);
    FileWork.forRanges(
        rows,
        chunkRows(layer),
        threads,
        (from, to, worker) -> {
          if (layer.transposed) {
            boolean weights = entry == layer.entry;
            MemorySegment stored =
                read(
                    file,
                    entry,
                    type,
                    from,
                    to,
                    weights ? scratch[worker].weights : scratch[worker].gradients);
            transpose(stored, columns, 0, matrix.memory(), rows, from, type, to - from, columns);
          } else {
            read(file, entry, type, from, to, matrix.rows(from, to).memory());
          }
        });
    return matrix;
  }

  private void store(LayerPlan layer, Tensor weights, Scratch[] scratch) throws IOException {
    long rows = layer.storedRows();
    long columns = layer.storedColumns();
    FileWork.forRanges(
        rows,
        chunkRows(layer),
        threads,
        (from, to, worker) -> {
          if (layer.transposed) {
            MemorySegment stored =
                scratch[worker].weights.asSlice(0, (to - from) * columns * layer.type.bytes());
            transpose(
                weights.memory(), rows, from, stored, columns, 0, layer.type, columns, to - from);
            write(layer, from, stored);
          } else {
            write(layer, from, weights.rows(from, to).memory());
          }
        });
  }

  /**
   * Writes a matrix transposed: target[j, targetColumn + i] = source[i, sourceColumn + j] for i
   * below {@code rows} and j below {@code columns}, in tiles that share cache lines on both sides.
   *
   * @param sourceStride elements from row to row of the source
   * @param targetStride elements from row to row of the target
   */
  static void transpose(
      MemorySegment source,
      long sourceStride,
      long sourceColumn,
      MemorySegment target,
      long targetStride,
      long targetColumn,
      DType type,
      long rows,
      long columns) {
    int tile = 32;
    for (long i0 = 0; i0 < rows; i0 += tile) {
      for (long j0 = 0; j0 < columns; j0 += tile) {
        for (long i = i0; i < Math.min(i0 + tile, rows); i++) {
          for (long j = j0; j < Math.min(j0 + tile, columns); j++) {
            long from = i * sourceStride + sourceColumn + j;
            long to = j * targetStride + targetColumn + i;
            if (type == DType.F32) {
              target.setAtIndex(JAVA_INT, to, source.getAtIndex(JAVA_INT, from));
            } else {
              target.setAtIndex(JAVA_SHORT, to, source.getAtIndex(JAVA_SHORT, from));
            }
          }
        }
      }
    }
  }

  /** Reads stored rows to the start of {@code memory} and returns that part of it. */
  private static MemorySegment read(
      SafetensorsFile file,
      SafetensorsEntry entry,
      DType type,
      long from,
      long to,
      MemorySegment memory)
      throws IOException {
    long rowBytes = entry.shape()[1] * type.bytes();
    MemorySegment part = memory.asSlice(0, (to - from) * rowBytes);
    file.read(entry.name(), from * rowBytes, part);
    return part;
  }

  private void write(LayerPlan layer, long from, MemorySegment bytes) throws IOException {
    if (output != null) {
      output
          .writer(layer.file)
          .write(layer.entry.name(), from * layer.storedColumns() * layer.type.bytes(), bytes);
    }
    advance(bytes.byteSize());
  }

  private void advance(long bytes) {
    progress.report(STEP, bytesDone.addAndGet(bytes) >> 20, bytesTotal >> 20);
  }

  @Override
  public void close() {
    arena.close();
  }
}
