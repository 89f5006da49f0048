package org.quern.prune.sparse;

import java.io.IOException;
import java.lang.foreign.Arena;
import org.quern.io.Checkpoint;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A packed matrix in a safetensors file: the tensors that stand for {@code NAME.weight}, which are
 * {@code NAME.shape}, {@code NAME.compressed}, {@code NAME.bitmask} and, where the format is {@link
 * BitmaskMatrix#FORMAT}, {@code NAME.row_offsets}, as compressed-tensors names them.
 */
final class PackedTensor {
  static final String WEIGHT = ".weight";
  static final String SHAPE = ".shape";
  static final String COMPRESSED = ".compressed";
  static final String BITMASK = ".bitmask";
  static final String ROW_OFFSETS = ".row_offsets";

  final SafetensorsFile file;

  /** The name without its last part. */
  final String module;

  /** Without row offsets. */
  final boolean twoOfFour;

  final DType type;
  final int rows;
  final int columns;
  final long valueCount;

  private PackedTensor(
      SafetensorsFile file, String module, boolean twoOfFour, int[] shape, SafetensorsEntry values)
      throws FormatException {
    this.file = file;
    this.module = module;
    this.twoOfFour = twoOfFour;
    this.rows = shape[0];
    this.columns = shape[1];
    DType stored = values.type().type();
    if (stored != DType.F32 && stored != DType.F16 && stored != DType.BF16) {
      throw error(COMPRESSED, "expected F32, F16 or BF16, got " + values.type());
    }
    this.type = stored;
    long[] extents = values.shape();
    this.valueCount = extents.length == 0 ? 0 : values.bytes() / stored.bytes();
    if (twoOfFour) {
      if (columns % TwoOfFourMatrix.GROUP != 0) {
        throw error(SHAPE, "expected a multiple of 4 columns, got " + columns);
      }
      file.requireShape(module + COMPRESSED, rows, columns / 2);
    } else {
      file.requireShape(module + COMPRESSED, -1);
      requireType(ROW_OFFSETS, DType.I64);
      file.requireShape(module + ROW_OFFSETS, rows);
    }
    requireType(BITMASK, DType.U8);
    file.requireShape(module + BITMASK, rows, MaskedRows.maskBytes(columns));
  }

  /** True for the name of the values of a packed matrix whose other parts are there, too. */
  static boolean isValues(SafetensorsFile file, String name) {
    String module = stem(name, COMPRESSED);
    return name.endsWith(COMPRESSED)
        && file.header().find(module + SHAPE) != null
        && file.header().find(module + BITMASK) != null;
  }

  /**
   * The packed matrix that stands for {@code NAME.weight}.
   *
   * @throws FormatException where a part is missing or does not fit
   */
  static PackedTensor open(SafetensorsFile file, String module) throws IOException {
    SafetensorsEntry values = file.entry(module + COMPRESSED);
    try (Arena scratch = Arena.ofConfined()) {
      int[] shape = SparseMatrix.checkShape(file.load(module + SHAPE, scratch));
      boolean twoOfFour = file.header().find(module + ROW_OFFSETS) == null;
      return new PackedTensor(file, module, twoOfFour, shape, values);
    } catch (IllegalArgumentException e) {
      throw new FormatException(file.path().toString(), module + ": " + e.getMessage());
    }
  }

  /** The name without {@code suffix}. */
  static String stem(String name, String suffix) {
    return name.endsWith(suffix) ? name.substring(0, name.length() - suffix.length()) : name;
  }

  /** The names of the parts, in the order in which they are written. */
  static String[] parts(boolean twoOfFour) {
    return twoOfFour
        ? new String[] {SHAPE, COMPRESSED, BITMASK}
        : new String[] {SHAPE, COMPRESSED, BITMASK, ROW_OFFSETS};
  }

  /**
   * Reads rows {@code [from, to)}, checked.
   *
   * @param scratch gives memory that the result does not need
   * @param arena gives that of the result
   */
  SparseMatrix read(int from, int to, Arena scratch, Arena arena) throws IOException {
    int count = to - from;
    long maskBytes = MaskedRows.maskBytes(columns);
    Tensor shape = Tensor.copyOf(scratch, new long[] {count, columns}, 2);
    Tensor mask = Tensor.allocate(scratch, DType.U8, count, maskBytes);
    file.read(module + BITMASK, from * maskBytes, mask.memory().asSlice(0, count * maskBytes));
    try {
      if (twoOfFour) {
        Tensor values = Tensor.allocate(scratch, type, count, columns / 2);
        readValues(values, (long) from * (columns / 2));
        return TwoOfFourMatrix.of(from, shape, values, mask, arena);
      }
      Tensor offsets = Tensor.allocate(scratch, DType.I64, count);
      file.read(module + ROW_OFFSETS, 8L * from, offsets.memory().asSlice(0, 8L * count));
      long first = from == 0 || count == 0 ? 0 : offsets.getLong(0);
      long next = to == rows ? valueCount : rowOffset(to, scratch);
      if (first < 0 || next < first || next > valueCount) {
        throw error(
            ROW_OFFSETS,
            "expected ascending numbers up to the "
                + valueCount
                + " values, got "
                + first
                + " for row "
                + from
                + " and "
                + next
                + " for row "
                + to);
      }
      Tensor values = Tensor.allocate(scratch, type, next - first);
      readValues(values, first);
      return BitmaskMatrix.of(from, first, shape, values, mask, offsets, arena);
    } catch (IllegalArgumentException e) {
      throw new FormatException(file.path().toString(), module + "." + e.getMessage());
    }
  }

  /** Bytes of all parts. */
  long bytes() throws FormatException {
    long bytes = 0;
    for (String part : parts(twoOfFour)) {
      bytes += file.entry(module + part).bytes();
    }
    return bytes;
  }

  private void readValues(Tensor values, long first) throws IOException {
    long bytes = values.size() * type.bytes();
    file.read(module + COMPRESSED, first * type.bytes(), values.memory().asSlice(0, bytes));
  }

  private long rowOffset(int row, Arena scratch) throws IOException {
    Tensor offset = Tensor.allocate(scratch, DType.I64, 1);
    file.read(module + ROW_OFFSETS, 8L * row, offset.memory());
    return offset.getLong(0);
  }

  private void requireType(String part, DType wanted) throws FormatException {
    if (file.entry(module + part).type().type() != wanted) {
      throw error(part, "expected " + wanted + ", got " + file.entry(module + part).type());
    }
  }

  private FormatException error(String part, String problem) {
    return new FormatException(file.path().toString(), module + part + ": " + problem);
  }

  /** The packed matrix of a checkpoint that stands for a dense one. */
  static PackedTensor open(Checkpoint checkpoint, String name) throws IOException {
    String module = stem(name, WEIGHT);
    return open(checkpoint.shardOf(module + COMPRESSED), module);
  }
}
