package org.quern.prune.sparse;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.quern.io.Checkpoint;
import org.quern.io.CheckpointWriter;
import org.quern.io.FileWork;
import org.quern.io.Json;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsHeader;
import org.quern.io.SafetensorsType;
import org.quern.runtime.Progress;
import org.quern.tensor.DType;

/**
 * A copy of a checkpoint in which some tensors are replaced by others: new headers and index, the
 * other tensors copied, and the pieces of the new ones in bounded memory by several threads.
 */
final class Repacking {
  /** Bytes of dense rows in a piece: they stay in a core's own cache. */
  static final long CHUNK = 1 << 19;

  private final Checkpoint source;
  private final int threads;
  private final Progress progress;
  private final String step;
  private final Map<SafetensorsFile, List<Added>> tensors = new LinkedHashMap<>();
  private final Map<String, SafetensorsFile> places = new LinkedHashMap<>();
  private final List<Piece> pieces = new ArrayList<>();
  private final Map<String, byte[]> contents = new HashMap<>();
  private final AtomicLong bytesDone = new AtomicLong();
  private long bytesTotal;
  private int copied;

  /** Work for one thread. */
  interface Work {
    /** Writes to the copy. */
    void run(CheckpointWriter writer) throws IOException;
  }

  /** A tensor of the copy. */
  private record Added(String name, SafetensorsType type, long[] shape) {}

  /** Work and the bytes by which it advances the whole. */
  private record Piece(long bytes, Work work) {}

  Repacking(Checkpoint source, int threads, Progress progress, String step) {
    this.source = source;
    this.threads = threads;
    this.progress = progress;
    this.step = step;
    for (SafetensorsFile shard : source.shards()) {
      tensors.put(shard, new ArrayList<>());
    }
  }

  /** Copies a tensor as it is. */
  void copy(SafetensorsFile shard, SafetensorsEntry entry) {
    add(shard, entry.name(), entry.type(), entry.shape());
    copied++;
    work(entry.bytes(), writer -> writer.writer(shard).copy(entry.name(), shard));
  }

  /**
   * Adds a tensor to a shard of the copy, behind those added before whose elements are no narrower:
   * so every tensor begins at a multiple of the width of its elements, which readers rely on.
   */
  void add(SafetensorsFile shard, String name, DType type, long... shape) {
    add(shard, name, SafetensorsType.of(type), shape);
  }

  private void add(SafetensorsFile shard, String name, SafetensorsType type, long... shape) {
    if (places.putIfAbsent(name, shard) != null) {
      throw new IllegalArgumentException(
          shard.path() + ": the name " + name + ", which is needed, is taken");
    }
    tensors.computeIfAbsent(shard, each -> new ArrayList<>()).add(new Added(name, type, shape));
  }

  /** Adds work that writes part of the tensors added. */
  void work(long bytes, Work work) {
    pieces.add(new Piece(bytes, work));
    bytesTotal += bytes;
  }

  /** Writes other bytes for a file beside the shards. */
  void replace(String file, byte[] content) {
    contents.put(file, content);
  }

  /** The configuration of the model, or null where it has none. */
  @Nullable Path config() {
    return source.companions().stream()
        .filter(file -> file.getFileName().toString().equals(SparsityConfig.FILE))
        .findFirst()
        .orElse(null);
  }

  /**
   * Writes the copy. Whatever fails, and where the calling thread is interrupted, nothing is left
   * at {@code output} but what stood there before.
   */
  PackReport run(
      Path model, Path output, boolean overwrite, List<PackReport.PackedLayer> layers, long start)
      throws IOException {
    Map<SafetensorsFile, SafetensorsHeader> built = new LinkedHashMap<>();
    tensors.forEach((shard, added) -> built.put(shard, header(shard, added)));
    Path index = source.index();
    if (index != null) {
      contents.put(index.getFileName().toString(), index(index, built.values()));
    }
    try (CheckpointWriter writer =
        CheckpointWriter.create(source, output, overwrite, built, contents)) {
      FileWork.forRanges(
          pieces.size(),
          1,
          threads,
          (from, to, worker) -> {
            Piece piece = pieces.get((int) from);
            piece.work.run(writer);
            progress.report(step, bytesDone.addAndGet(piece.bytes) >> 20, bytesTotal >> 20);
          });
      writer.commit();
      return new PackReport(
          model,
          output,
          layers,
          copied,
          writer.notCopied(),
          source.shards().stream().mapToLong(shard -> shard.header().fileSize()).sum(),
          built.values().stream().mapToLong(SafetensorsHeader::fileSize).sum(),
          (System.nanoTime() - start) * 1e-9);
    }
  }

  private static SafetensorsHeader header(SafetensorsFile shard, List<Added> tensors) {
    SafetensorsHeader.Builder header = SafetensorsHeader.builder().metadata(shard.metadata());
    tensors.stream()
        .sorted(Comparator.comparingInt((Added tensor) -> -tensor.type.bits()))
        .forEach(tensor -> header.add(tensor.name, tensor.type, tensor.shape));
    return header.build();
  }

  /** The index with the new names, and the new size where it has one. */
  private byte[] index(Path index, Collection<SafetensorsHeader> headers) throws IOException {
    JsonObject document = Json.readObject(index);
    Path directory = source.directory();
    JsonObject weights = new JsonObject();
    places.forEach((name, shard) ->
        weights.addProperty(
            name,
            directory == null
                ? shard.path().getFileName().toString()
                : directory.relativize(shard.path()).toString().replace('\\', '/')));
    document.add("weight_map", weights);
    if (document.get("metadata") instanceof JsonObject metadata && metadata.has("total_size")) {
      long total = 0;
      for (SafetensorsHeader header : headers) {
        total += header.fileSize() - header.dataBegin();
      }
      metadata.addProperty("total_size", total);
    }
    String text =
        new GsonBuilder()
            .setPrettyPrinting()
            .disableHtmlEscaping()
            .serializeNulls()
            .create()
            .toJson(document);
    return (text + '\n').getBytes(StandardCharsets.UTF_8);
  }

  /** Gives a failure its meaning where the calling thread was interrupted. */
  static void checkInterrupted(Path model, Exception failure) throws InterruptedIOException {
    if (Thread.currentThread().isInterrupted()) {
      InterruptedIOException interrupted =
          new InterruptedIOException(model + ": interrupted while it was read");
      interrupted.initCause(failure);
      throw interrupted;
    }
  }
}
