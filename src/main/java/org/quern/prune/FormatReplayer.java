package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.quern.family.Replay;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.prune.sparse.BitmaskMatrix;
import org.quern.prune.sparse.CutlassMetadata;
import org.quern.prune.sparse.SparseLinear;
import org.quern.prune.sparse.SparseMatrix;
import org.quern.prune.sparse.TwoOfFourMatrix;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Replays recorded sparse formats, in both directions, and the products of the packed matrices with
 * a recorded vector.
 */
final class FormatReplayer {
  private static final String BYTES = "bytes";
  private static final double PRODUCT_TOLERANCE = 1e-4;

  /** For weights of BF16: of the norm of a row. */
  private static final double ROW_TOLERANCE = 2e-2;

  private final Replay replay;
  private final String name;
  private final SafetensorsFile file;
  private final Arena arena;
  private final Set<String> keys;

  FormatReplayer(Replay replay, String name, SafetensorsFile file, Arena arena) {
    this.replay = replay;
    this.name = name;
    this.file = file;
    this.arena = arena;
    this.keys = file.entries().stream().map(SafetensorsEntry::name).collect(Collectors.toSet());
  }

  /** True for the names of a file of this kind. */
  static boolean recognises(Set<String> keys) {
    return keys.contains("bitmask") || keys.contains("dense24");
  }

  void run() throws IOException {
    try {
      if (complete("dense24", "values24", "meta24_logical", "meta24_cutlass_reordered")) {
        replayTwoOfFour();
      }
      if (complete("dense_u", "bitmask", "compressed", "row_offsets")) {
        replayBitmask("dense_u", "compressed", "y_f64");
      }
      if (complete("dense_u_bf16", "bitmask", "compressed_bf16", "row_offsets")) {
        replayBitmask("dense_u_bf16", "compressed_bf16", "y_bf16w_f64");
      }
    } catch (IllegalArgumentException e) {
      throw new FormatException(file.path().toString(), e.getMessage());
    }
  }

  private boolean complete(String... needed) {
    if (keys.containsAll(List.of(needed))) {
      return true;
    }
    replay.skip(name + ": " + needed[0], "expected " + String.join(", ", needed));
    return false;
  }

  private void replayTwoOfFour() throws IOException {
    Tensor dense = file.load("dense24", arena);
    Tensor reordered = file.load("meta24_cutlass_reordered", arena);
    TwoOfFourMatrix packed = TwoOfFourMatrix.pack(dense, arena);
    Tensor words = CutlassMetadata.logical(packed, arena);
    recordBytes("values24", packed.compressed());
    recordBytes("meta24_logical", words);
    recordBytes("meta24_cutlass_reordered", CutlassMetadata.reorder(words, arena));
    TwoOfFourMatrix read =
        CutlassMetadata.ofLogical(
            file.load("values24", arena), CutlassMetadata.restore(reordered, arena), arena);
    recordBytes("dense24", read.unpack(arena));
    replayProduct(dense, read, "y24_f64");
  }

  private void replayBitmask(String denseKey, String valuesKey, String productKey)
      throws IOException {
    Tensor dense = file.load(denseKey, arena);
    BitmaskMatrix packed = BitmaskMatrix.pack(dense, arena);
    recordBytes(valuesKey, packed.compressed());
    recordBytes("bitmask", packed.bitmask());
    recordBytes("row_offsets", packed.rowOffsets());
    BitmaskMatrix read =
        BitmaskMatrix.of(
            Tensor.copyOf(arena, dense.shape(), 2),
            file.load(valuesKey, arena),
            file.load("bitmask", arena),
            file.load("row_offsets", arena),
            arena);
    recordBytes(denseKey, read.unpack(arena));
    replayProduct(dense, read, productKey);
  }

  private void recordBytes(String key, Tensor got) throws IOException {
    file.requireShape(key, got.shape());
    Tensor expected = file.load(key, arena);
    long width = got.size() * got.type().bytes();
    if (expected.type() != got.type()) {
      throw new IllegalArgumentException(
          key + ": expected " + got.type() + ", got " + expected.type());
    }
    long differing = 0;
    for (long at = 0; at < width; at++) {
      byte a = got.memory().get(JAVA_BYTE, at);
      byte b = expected.memory().get(JAVA_BYTE, at);
      differing += a == b ? 0 : 1;
    }
    replay.record(name, key, differing, 0, BYTES);
  }

  private void replayProduct(Tensor dense, SparseMatrix packed, String key) throws IOException {
    if (!complete("x", key)) {
      return;
    }
    file.requireShape("x", packed.columns());
    file.requireShape(key, packed.rows());
    Tensor x = file.load("x", arena);
    Tensor y = Tensor.allocate(arena, DType.F32, packed.rows());
    SparseLinear.create(arena, packed, null, 1, replay.tier()).multiply(x, y);
    Tensor expected = file.load(key, arena);
    boolean byNorm = dense.type() == DType.BF16;
    double worst = 0;
    for (int row = 0; row < packed.rows(); row++) {
      double error = Math.abs(y.getDouble(row) - expected.getDouble(row));
      // NaN stays: it is no match.
      worst = Math.max(worst, byNorm ? error / norm(dense.row(row)) : error);
    }
    replay.record(
        name,
        key,
        worst,
        byNorm ? ROW_TOLERANCE : PRODUCT_TOLERANCE,
        byNorm ? "of the norm of the row" : "absolute error");
  }

  private static double norm(Tensor row) {
    double squares = Double.MIN_NORMAL;
    for (double value : row.toDoubleArray()) {
      squares += value * value;
    }
    return Math.sqrt(squares);
  }
}
