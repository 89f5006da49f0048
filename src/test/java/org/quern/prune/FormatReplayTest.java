package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.family.CaseResult;
import org.quern.family.Replay;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsWriter;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Formats of other sizes, written here by loops of their own. */
class FormatReplayTest {
  @TempDir private Path directory;
  private final Arena arena = Arena.ofShared();

  @AfterEach
  void close() {
    arena.close();
  }

  static Stream<Tier> tiers() {
    return Pruner.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void casesOfOtherSizesPass(Tier tier) throws IOException {
    SafetensorsWriter.write(directory.resolve("sparse.safetensors"), tensors(), Map.of());
    Replay replay = replay(tier);
    assertEquals(15, replay.results().size());
    for (CaseResult result : replay.results()) {
      assertTrue(result.passed(), result.toString());
    }
    assertEquals(Map.of(), replay.skipped());
    assertEquals(List.of(), replay.unclaimed());
  }

  @Test
  void oneWrongElementFails() throws IOException {
    for (String key :
        List.of("values24", "meta24_logical", "compressed_bf16", "y_f64", "y24_f64")) {
      Map<String, Tensor> tensors = tensors();
      Tensor tensor = tensors.get(key);
      long[] index = new long[tensor.rank()];
      tensor.setDouble(tensor.getDouble(index) + 3, index);
      SafetensorsWriter.write(directory.resolve("sparse.safetensors"), tensors, Map.of());
      List<String> failed =
          replay(Tier.SCALAR).results().stream()
              .filter(result -> !result.passed())
              .map(CaseResult::name)
              .toList();
      assertTrue(failed.contains(key), key + ": " + failed);
    }
  }

  @Test
  void aFileThatContradictsItselfIsAnError() throws IOException {
    Map<String, Tensor> tensors = tensors();
    tensors.get("row_offsets").setLong(1, 1);
    SafetensorsWriter.write(directory.resolve("sparse.safetensors"), tensors, Map.of());
    assertThrows(FormatException.class, () -> replay(Tier.SCALAR));
  }

  @Test
  void whatIsIncompleteIsSkippedAloud() throws IOException {
    Map<String, Tensor> tensors = tensors();
    tensors.keySet().removeAll(List.of("values24", "y_f64"));
    SafetensorsWriter.write(directory.resolve("sparse.safetensors"), tensors, Map.of());
    Replay replay = replay(Tier.SCALAR);
    assertEquals(2, replay.skipped().size());
    assertEquals(9, replay.results().size());
  }

  private Replay replay(Tier tier) throws IOException {
    Replay replay = new Replay(directory, tier, result -> {});
    new PruneFamily().replay(replay);
    return replay;
  }

  private Map<String, Tensor> tensors() {
    long seed = new Random().nextLong();
    System.out.println("FormatReplayTest seed " + seed);
    Random random = new Random(seed);
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    int n = 96;
    Tensor x = Tensor.allocate(arena, DType.F32, n);
    for (int j = 0; j < n; j++) {
      x.setDouble(random.nextGaussian() / 4, j);
    }
    tensors.put("x", x);
    addTwoOfFour(random, tensors, 32, n);
    boolean[][] kept = new boolean[7][n];
    for (boolean[] row : kept) {
      for (int j = 0; j < n; j++) {
        row[j] = random.nextInt(3) == 0;
      }
    }
    Tensor dense = Tensor.allocate(arena, DType.F32, 7, n);
    Tensor bits = Tensor.allocate(arena, DType.U8, 7, n / 8);
    Tensor offsets = Tensor.allocate(arena, DType.I64, 7);
    List<Double> values = new ArrayList<>();
    for (int i = 0; i < 7; i++) {
      offsets.setLong(values.size(), i);
      for (int j = 0; j < n; j++) {
        if (kept[i][j]) {
          // Few bits, so that it is the same number in BF16.
          dense.setDouble((random.nextInt(100) + 1) / 64.0, i, j);
          values.add(dense.getDouble(i, j));
          bits.setLong(bits.getLong(i, j / 8) | 1L << j % 8, i, j / 8);
        }
      }
    }
    Tensor compressed = Tensor.allocate(arena, DType.F32, values.size());
    for (int i = 0; i < values.size(); i++) {
      compressed.setDouble(values.get(i), i);
    }
    tensors.put("dense_u", dense);
    tensors.put("bitmask", bits);
    tensors.put("compressed", compressed);
    tensors.put("row_offsets", offsets);
    tensors.put("dense_u_bf16", dense.to(DType.BF16, arena));
    tensors.put("compressed_bf16", compressed.to(DType.BF16, arena));
    tensors.put("y_f64", product(dense, x));
    tensors.put("y_bf16w_f64", product(dense, x));
    return tensors;
  }

  private void addTwoOfFour(Random random, Map<String, Tensor> tensors, int rows, int n) {
    Tensor dense = Tensor.allocate(arena, DType.F16, rows, n);
    Tensor values = Tensor.allocate(arena, DType.F16, rows, n / 2);
    Tensor words = Tensor.allocate(arena, DType.I16, rows, n / 16);
    Tensor reordered = Tensor.allocate(arena, DType.I16, rows, n / 16);
    for (int i = 0; i < rows; i++) {
      for (int group = 0; group < n / 4; group++) {
        int a = random.nextInt(3);
        int b = random.nextInt(a + 1, 4);
        double value = random.nextInt(1, 50);
        dense.setDouble(value, i, 4 * group + a);
        dense.setDouble(-value, i, 4 * group + b);
        values.setDouble(value, i, 2 * group);
        values.setDouble(-value, i, 2 * group + 1);
        long word = words.getLong(i, group / 4) & 0xffff;
        words.setLong((short) (word | (long) (a | b << 2) << group % 4 * 4), i, group / 4);
      }
    }
    for (int i = 0; i < rows; i++) {
      for (int c = 0; c < n / 16; c++) {
        int r = i % 8 * 4 + i / 8;
        int row = r % 2 == c % 2 ? r : r % 2 == 0 ? r + 1 : r - 1;
        int column = r % 2 == c % 2 ? c : c % 2 == 1 ? c - 1 : c + 1;
        int place = column / 2 * 2 * rows + 2 * row + column % 2;
        reordered.setLong(words.getLong(i, c), place / (n / 16), place % (n / 16));
      }
    }
    tensors.put("dense24", dense);
    tensors.put("values24", values);
    tensors.put("meta24_logical", words);
    tensors.put("meta24_cutlass_reordered", reordered);
    tensors.put("y24_f64", product(dense, tensors.get("x")));
  }

  private Tensor product(Tensor dense, Tensor x) {
    Tensor y = Tensor.allocate(arena, DType.F64, dense.dim(0));
    for (int i = 0; i < dense.dim(0); i++) {
      double sum = 0;
      for (int j = 0; j < dense.dim(1); j++) {
        sum += dense.getDouble(i, j) * x.getDouble(j);
      }
      y.setDouble(sum, i);
    }
    return y;
  }
}
