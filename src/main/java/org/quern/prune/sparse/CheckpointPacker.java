package org.quern.prune.sparse;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.quern.io.Checkpoint;
import org.quern.io.CheckpointWriter;
import org.quern.io.FileWork;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsWriter;
import org.quern.runtime.Progress;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Packs a pruned checkpoint on disk in a layout of compressed-tensors: matrices {@code NAME.weight}
 * with enough zeros become {@code NAME.shape}, {@code NAME.compressed}, {@code NAME.bitmask} and,
 * without a 2:4 pattern, {@code NAME.row_offsets}; all other tensors are the same bytes. The model
 * is read twice, once to count and once to pack, in bounded memory. Immutable, and safe to share
 * between threads.
 *
 * <p>Zeros of either sign come back as +0.0; all else keeps its bits.
 */
public final class CheckpointPacker {
  /** A layout. */
  public enum Format {
    /** 2:4 where all matrices with enough zeros have that pattern, else the bitmask. */
    AUTO,
    /** {@link BitmaskMatrix}. */
    BITMASK,
    /** {@link TwoOfFourMatrix}; a matrix with enough zeros but not the pattern is an error. */
    TWO_OF_FOUR
  }

  /** The least share of zeros of a matrix to pack, unless another is set. */
  public static final double DEFAULT_MIN_SPARSITY = 0.3;

  private final Format format;
  private final double minSparsity;
  private final int threads;
  private final boolean overwrite;
  private final Progress progress;

  private CheckpointPacker(Builder builder) {
    format = builder.format;
    minSparsity = builder.minSparsity;
    threads = builder.threads;
    overwrite = builder.overwrite;
    progress = builder.progress;
  }

  /** A builder with the format AUTO, matrices of at least 30 % zeros, and one thread. */
  public static Builder builder() {
    return new Builder();
  }

  /** A matrix that may be packed, and what the first reading counts. */
  private static final class Candidate {
    final SafetensorsFile shard;
    final SafetensorsEntry entry;
    final DType type;
    final int rows;
    final int columns;

    /** Rows of a chunk. */
    final int chunk;

    /** Elements that are not zero in each chunk. */
    final long[] nonZeros;

    /** For each chunk the first row that is not 2:4, or -1. */
    final int[] badRow;

    /** The column at which the bad row of each chunk is not 2:4. */
    final int[] badColumn;

    Candidate(SafetensorsFile shard, SafetensorsEntry entry, DType type) {
      this.shard = shard;
      this.entry = entry;
      this.type = type;
      this.rows = Math.toIntExact(entry.shape()[0]);
      this.columns = Math.toIntExact(entry.shape()[1]);
      this.chunk = Math.clamp(Repacking.CHUNK / rowBytes(), 1, 1 << 20);
      int chunks = Math.ceilDiv(rows, chunk);
      this.nonZeros = new long[chunks];
      this.badRow = new int[chunks];
      this.badColumn = new int[chunks];
    }

    long rowBytes() {
      return (long) columns * type.bytes();
    }

    long nonZeros() {
      long sum = 0;
      for (long count : nonZeros) {
        sum += count;
      }
      return sum;
    }

    double sparsity() {
      return 1 - nonZeros() / ((double) rows * columns);
    }

    /** What keeps the matrix from 2:4, or null. */
    @Nullable String notTwoOfFour() {
      if (columns % TwoOfFourMatrix.GROUP != 0) {
        return "expected a multiple of 4 columns, got " + columns;
      }
      for (int i = 0; i < badRow.length; i++) {
        if (badRow[i] >= 0) {
          return TwoOfFourMatrix.tooMany(badRow[i], badColumn[i]);
        }
      }
      return null;
    }

    Tensor read(int index, Arena arena) throws IOException {
      int from = index * chunk;
      int count = Math.min(chunk, rows - from);
      Tensor dense = Tensor.allocate(arena, type, count, columns);
      MemorySegment bytes = dense.memory().asSlice(0, count * rowBytes());
      shard.read(entry.name(), from * rowBytes(), bytes);
      return dense;
    }

    void count(int index) throws IOException {
      try (Arena arena = Arena.ofConfined()) {
        Tensor dense = read(index, arena);
        badRow[index] = -1;
        for (int row = 0; row < dense.dim(0); row++) {
          long at = row * rowBytes();
          nonZeros[index] += MaskedRows.countNonZeros(dense.memory(), at, type, columns);
          if (badRow[index] < 0 && columns % TwoOfFourMatrix.GROUP == 0) {
            badColumn[index] = TwoOfFourMatrix.findTooMany(dense.memory(), at, type, columns);
            badRow[index] = badColumn[index] < 0 ? -1 : index * chunk + row;
          }
        }
      }
    }
  }

  /**
   * Writes a packed copy. Whatever fails, and where the calling thread is interrupted, nothing is
   * left at {@code output} but what stood there before.
   *
   * @param model a safetensors file, an index {@code *.safetensors.index.json}, or a directory that
   *     holds either
   * @param output the file to write where the model is a single file, else the directory
   * @throws IllegalArgumentException where no matrix has enough zeros, one of those that have is
   *     not 2:4 although that was demanded, or the model is packed or quantized already; the
   *     message names the tensor, and the row and the column
   * @throws InterruptedIOException where the calling thread is interrupted; it stays marked as
   *     interrupted
   * @throws IOException where a file is not valid or cannot be read or written
   */
  public PackReport pack(Path model, Path output) throws IOException {
    long start = System.nanoTime();
    try (Checkpoint checkpoint = Checkpoint.open(model)) {
      List<Candidate> candidates = candidates(checkpoint);
      count(candidates);
      List<Candidate> packed =
          candidates.stream().filter(each -> each.sparsity() >= minSparsity).toList();
      if (packed.isEmpty()) {
        throw nothingToPack(checkpoint, candidates);
      }
      boolean twoOfFour = isTwoOfFour(packed);
      Repacking copy = new Repacking(checkpoint, threads, progress, "packing (MiB)");
      List<PackReport.PackedLayer> layers = new ArrayList<>();
      List<String> dense = new ArrayList<>();
      for (SafetensorsFile shard : checkpoint.shards()) {
        for (SafetensorsEntry entry : shard.entries()) {
          Candidate candidate = find(packed, entry);
          if (candidate != null) {
            layers.add(plan(candidate, twoOfFour, copy));
          } else {
            copy.copy(shard, entry);
            if (find(candidates, entry) != null) {
              dense.add(PackedTensor.stem(entry.name(), PackedTensor.WEIGHT));
            }
          }
        }
      }
      Path config = copy.config();
      if (config != null) {
        copy.replace(
            SparsityConfig.FILE,
            SparsityConfig.insert(
                config.toString(), Files.readAllBytes(config), twoOfFour, sparsity(packed), dense));
      }
      return copy.run(model, output, overwrite, layers, start);
    } catch (IOException | RuntimeException e) {
      Repacking.checkInterrupted(model, e);
      throw e;
    }
  }

  private static List<Candidate> candidates(Checkpoint checkpoint) {
    List<Candidate> candidates = new ArrayList<>();
    for (SafetensorsFile shard : checkpoint.shards()) {
      for (SafetensorsEntry entry : shard.entries()) {
        if (PackedTensor.isValues(shard, entry.name())) {
          throw new IllegalArgumentException(
              shard.path() + ": expected a dense model, but " + entry.name() + " is packed");
        }
        DType type = entry.type().type();
        boolean floats = type == DType.F32 || type == DType.F16 || type == DType.BF16;
        if (floats
            && entry.shape().length == 2
            && entry.bytes() > 0
            && entry.name().endsWith(PackedTensor.WEIGHT)) {
          candidates.add(new Candidate(shard, entry, type));
        }
      }
    }
    return candidates;
  }

  private void count(List<Candidate> candidates) throws IOException {
    long total = candidates.stream().mapToLong(each -> each.entry.bytes()).sum();
    long done = 0;
    for (Candidate each : candidates) {
      FileWork.forRanges(
          each.nonZeros.length, 1, threads, (from, to, worker) -> each.count((int) from));
      done += each.entry.bytes();
      progress.report("counting (MiB)", done >> 20, total >> 20);
    }
  }

  private IllegalArgumentException nothingToPack(
      Checkpoint checkpoint, List<Candidate> candidates) {
    String best = "found no matrix at all";
    double most = -1;
    for (Candidate each : candidates) {
      if (each.sparsity() > most) {
        most = each.sparsity();
        best = each.entry.name() + " has most, " + percent(most);
      }
    }
    return new IllegalArgumentException(
        checkpoint.shards().getFirst().path()
            + ": expected a matrix NAME.weight with at least "
            + percent(minSparsity)
            + " zeros, "
            + best
            + "; prune the model first, or lower the least share of zeros");
  }

  private static String percent(double share) {
    return String.format(Locale.ROOT, "%.1f %%", 100 * share);
  }

  private boolean isTwoOfFour(List<Candidate> packed) {
    if (format == Format.BITMASK) {
      return false;
    }
    for (Candidate each : packed) {
      String problem = each.notTwoOfFour();
      if (problem != null && format == Format.TWO_OF_FOUR) {
        throw new IllegalArgumentException(
            each.shard.path() + ": tensor " + each.entry.name() + ": " + problem);
      }
      if (problem != null) {
        return false;
      }
    }
    return true;
  }

  private static double sparsity(List<Candidate> packed) {
    double zeros = 0;
    double all = 0;
    for (Candidate each : packed) {
      double size = (double) each.rows * each.columns;
      zeros += size - each.nonZeros();
      all += size;
    }
    return zeros / all;
  }

  private static @Nullable Candidate find(List<Candidate> candidates, SafetensorsEntry entry) {
    for (Candidate each : candidates) {
      if (each.entry == entry) {
        return each;
      }
    }
    return null;
  }

  private static PackReport.PackedLayer plan(Candidate matrix, boolean twoOfFour, Repacking copy) {
    String module = PackedTensor.stem(matrix.entry.name(), PackedTensor.WEIGHT);
    long maskBytes = MaskedRows.maskBytes(matrix.columns);
    long stored = twoOfFour ? (long) matrix.rows * (matrix.columns / 2) : matrix.nonZeros();
    SafetensorsFile shard = matrix.shard;
    long[] shape = {matrix.rows, matrix.columns};
    if (twoOfFour) {
      copy.add(shard, module + PackedTensor.SHAPE, DType.I64, 2, 1);
      copy.add(
          shard, module + PackedTensor.COMPRESSED, matrix.type, matrix.rows, matrix.columns / 2);
    } else {
      copy.add(shard, module + PackedTensor.SHAPE, DType.I64, 2);
      copy.add(shard, module + PackedTensor.COMPRESSED, matrix.type, stored);
    }
    copy.add(shard, module + PackedTensor.BITMASK, DType.U8, matrix.rows, maskBytes);
    long bytes = 16 + stored * matrix.type.bytes() + matrix.rows * maskBytes;
    if (!twoOfFour) {
      copy.add(shard, module + PackedTensor.ROW_OFFSETS, DType.I64, matrix.rows);
      bytes += 8L * matrix.rows;
    }
    copy.work(
        0,
        writer ->
            writer
                .writer(shard)
                .write(module + PackedTensor.SHAPE, 0, MemorySegment.ofArray(bytes(shape))));
    long before = 0;
    for (int i = 0; i < matrix.nonZeros.length; i++) {
      int index = i;
      long firstValue = twoOfFour ? (long) i * matrix.chunk * (matrix.columns / 2) : before;
      copy.work(
          Math.min(matrix.chunk, matrix.rows - i * matrix.chunk) * matrix.rowBytes(),
          writer -> write(matrix, index, module, twoOfFour, firstValue, writer));
      before += matrix.nonZeros[i];
    }
    return new PackReport.PackedLayer(
        matrix.entry.name(),
        twoOfFour ? TwoOfFourMatrix.FORMAT : BitmaskMatrix.FORMAT,
        matrix.rows,
        matrix.columns,
        matrix.type,
        stored,
        matrix.entry.bytes(),
        bytes);
  }

  private static void write(
      Candidate matrix,
      int index,
      String module,
      boolean twoOfFour,
      long firstValue,
      CheckpointWriter output)
      throws IOException {
    SafetensorsWriter writer = output.writer(matrix.shard);
    int from = index * matrix.chunk;
    try (Arena arena = Arena.ofConfined()) {
      Tensor dense = matrix.read(index, arena);
      SparseMatrix packed =
          twoOfFour ? TwoOfFourMatrix.pack(dense, arena) : BitmaskMatrix.pack(dense, arena);
      int width = matrix.type.bytes();
      writer.write(
          module + PackedTensor.COMPRESSED,
          firstValue * width,
          packed.values.asSlice(0, packed.valueCount * width));
      writer.write(
          module + PackedTensor.BITMASK,
          from * packed.maskStride,
          packed.mask.asSlice(0, packed.rows * packed.maskStride));
      if (packed instanceof BitmaskMatrix) {
        long[] offsets = new long[packed.rows];
        for (int row = 0; row < offsets.length; row++) {
          offsets[row] = firstValue + packed.valuesBefore(row);
        }
        writer.write(
            module + PackedTensor.ROW_OFFSETS, 8L * from, MemorySegment.ofArray(bytes(offsets)));
      }
    }
  }

  /** Little-endian bytes, which the writer wants of heap segments. */
  private static byte[] bytes(long[] numbers) {
    byte[] bytes = new byte[8 * numbers.length];
    MemorySegment target = MemorySegment.ofArray(bytes);
    for (int i = 0; i < numbers.length; i++) {
      target.set(MaskedRows.LONG, 8L * i, numbers[i]);
    }
    return bytes;
  }

  /** Collects the settings of a {@link CheckpointPacker}. */
  public static final class Builder {
    private Format format = Format.AUTO;
    private double minSparsity = DEFAULT_MIN_SPARSITY;
    private int threads = 1;
    private boolean overwrite;
    private Progress progress = Progress.NONE;

    private Builder() {}

    /** The layout; AUTO by default. One layout serves the whole model. */
    public Builder format(Format format) {
      this.format = format;
      return this;
    }

    /**
     * The least share of zeros of a matrix to pack, above 0 and at most 1. Below 1/32 for F32 and
     * 1/16 for 16 bits, packing makes a matrix larger.
     */
    public Builder minSparsity(double minSparsity) {
      if (!(minSparsity > 0 && minSparsity <= 1)) {
        throw new IllegalArgumentException(
            "minSparsity: expected more than 0 and at most 1, got " + minSparsity);
      }
      this.minSparsity = minSparsity;
      return this;
    }

    /** Threads that read, pack and write at a time, at least 1; 1 by default. */
    public Builder threads(int threads) {
      if (threads < 1) {
        throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
      }
      this.threads = threads;
      return this;
    }

    /** Whether files that stand at the output may be replaced; false by default. */
    public Builder overwrite(boolean overwrite) {
      this.overwrite = overwrite;
      return this;
    }

    /** Receives the advance, in MiB. */
    public Builder progress(Progress progress) {
      this.progress = progress;
      return this;
    }

    /** The packer. */
    public CheckpointPacker build() {
      return new CheckpointPacker(this);
    }
  }
}
