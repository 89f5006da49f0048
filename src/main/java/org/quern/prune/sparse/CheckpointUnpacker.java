package org.quern.prune.sparse;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.quern.io.Checkpoint;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Progress;
import org.quern.tensor.Tensor;

/**
 * Turns a packed checkpoint on disk back into a dense one: the inverse of {@link CheckpointPacker},
 * and a reader of what compressed-tensors packs. Streams the model in bounded memory and checks
 * every mask and offset. Immutable, and safe to share between threads.
 */
public final class CheckpointUnpacker {
  private final int threads;
  private final boolean overwrite;
  private final Progress progress;

  /**
   * An unpacker.
   *
   * @param threads threads that read, unpack and write at a time, at least 1
   * @param overwrite true to replace files that stand at the output
   * @param progress receives the advance, in MiB
   */
  public CheckpointUnpacker(int threads, boolean overwrite, Progress progress) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    this.threads = threads;
    this.overwrite = overwrite;
    this.progress = progress;
  }

  /**
   * Writes a dense copy. Whatever fails, and where the calling thread is interrupted, nothing is
   * left at {@code output} but what stood there before.
   *
   * @param model a safetensors file, an index {@code *.safetensors.index.json}, or a directory that
   *     holds either
   * @param output the file to write where the model is a single file, else the directory
   * @throws IllegalArgumentException where nothing in the model is packed, or the output does not
   *     fit
   * @throws InterruptedIOException where the calling thread is interrupted; it stays marked as
   *     interrupted
   * @throws IOException where a file is not valid or cannot be read or written; the message names
   *     the tensor and the row
   */
  public PackReport unpack(Path model, Path output) throws IOException {
    long start = System.nanoTime();
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      Repacking copy = new Repacking(checkpoint, threads, progress, "unpacking (MiB)");
      List<PackReport.PackedLayer> layers = new ArrayList<>();
      for (SafetensorsFile shard : checkpoint.shards()) {
        plan(shard, copy, layers);
      }
      if (layers.isEmpty()) {
        throw new IllegalArgumentException(
            checkpoint.shards().getFirst().path()
                + ": expected packed tensors NAME.compressed with NAME.bitmask and NAME.shape,"
                + " found none");
      }
      Path config = copy.config();
      if (config != null) {
        copy.replace(
            SparsityConfig.FILE,
            SparsityConfig.remove(config.toString(), Files.readAllBytes(config)));
      }
      return copy.run(model, output, overwrite, layers, start);
    } catch (IOException | RuntimeException e) {
      Repacking.checkInterrupted(model, e);
      throw e;
    }
  }

  private static void plan(
      SafetensorsFile shard, Repacking copy, List<PackReport.PackedLayer> layers)
      throws IOException {
    Set<String> parts = new HashSet<>();
    for (SafetensorsEntry entry : shard.entries()) {
      if (PackedTensor.isValues(shard, entry.name())) {
        PackedTensor packed =
            PackedTensor.open(shard, PackedTensor.stem(entry.name(), PackedTensor.COMPRESSED));
        for (String part : PackedTensor.parts(packed.twoOfFour)) {
          parts.add(packed.module + part);
        }
      }
    }
    for (SafetensorsEntry entry : shard.entries()) {
      if (!parts.contains(entry.name())) {
        copy.copy(shard, entry);
      } else if (entry.name().endsWith(PackedTensor.COMPRESSED)) {
        // The dense tensor takes the place of its values.
        String module = PackedTensor.stem(entry.name(), PackedTensor.COMPRESSED);
        layers.add(plan(PackedTensor.open(shard, module), copy));
      }
    }
  }

  private static PackReport.PackedLayer plan(PackedTensor packed, Repacking copy)
      throws IOException {
    String name = packed.module + PackedTensor.WEIGHT;
    copy.add(packed.file, name, packed.type, packed.rows, packed.columns);
    long rowBytes = (long) packed.columns * packed.type.bytes();
    int chunk = Math.clamp(Repacking.CHUNK / Math.max(1, rowBytes), 1, 1 << 20);
    for (int from = 0; from < packed.rows; from += chunk) {
      int first = from;
      int last = Math.min(packed.rows - from, chunk) + from;
      copy.work(
          (last - first) * rowBytes,
          writer -> {
            try (Arena arena = Arena.ofConfined()) {
              Tensor dense = packed.read(first, last, arena, arena).unpack(arena);
              writer
                  .writer(packed.file)
                  .write(
                      name, first * rowBytes, dense.memory().asSlice(0, (last - first) * rowBytes));
            }
          });
    }
    return new PackReport.PackedLayer(
        name,
        packed.twoOfFour ? TwoOfFourMatrix.FORMAT : BitmaskMatrix.FORMAT,
        packed.rows,
        packed.columns,
        packed.type,
        packed.valueCount,
        packed.rows * rowBytes,
        packed.bytes());
  }
}
