package org.quern.prune.sparse;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.io.Checkpoint;
import org.quern.io.FormatException;
import org.quern.io.Json;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsWriter;
import org.quern.runtime.Progress;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Models on disk, packed and unpacked. */
class CheckpointPackerTest {
  private static final String CONFIG = "{\n  \"model_type\": \"llama\",\n  \"eps\": 1e-05\n}\n";

  @TempDir private Path directory;
  private final Arena arena = Arena.ofShared();

  @AfterEach
  void close() {
    arena.close();
  }

  private static Random random() {
    long seed = new Random().nextLong();
    System.out.println("CheckpointPackerTest seed " + seed);
    return new Random(seed);
  }

  /** Matrices of several chunks, of three types, with an embedding that stays. */
  private Map<String, Tensor> tensors(Random random, boolean twoOfFour) {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    tensors.put("model.embed_tokens.weight", filled(random, DType.F32, 30, 64));
    tensors.put("model.norm.weight", filled(random, DType.F32, 64));
    String[] names = {"up_proj", "down_proj", "q_proj"};
    DType[] types = {DType.F32, DType.F16, DType.BF16};
    int[][] shapes = {{300, 1024}, {70, 68}, {5, 400}};
    for (int i = 0; i < 3; i++) {
      int rows = shapes[i][0];
      int columns = shapes[i][1];
      tensors.put(
          "model.layers.0." + names[i] + ".weight",
          twoOfFour
              ? SampleWeights.twoOfFour(arena, random, types[i], rows, columns)
              : SampleWeights.unstructured(arena, random, types[i], rows, columns, 0.5));
    }
    tensors.put("model.layers.0.ids", Tensor.copyOf(arena, DType.U8, new byte[] {1, 2, 3}, 3));
    return tensors;
  }

  private Tensor filled(Random random, DType type, long... shape) {
    Tensor tensor = Tensor.allocate(arena, type, shape);
    tensor.fill(random.nextGaussian());
    return tensor;
  }

  private Path single(Map<String, Tensor> tensors) throws IOException {
    Path model = directory.resolve("model.safetensors");
    SafetensorsWriter.write(model, tensors, Map.of("format", "pt"));
    return model;
  }

  /** Two shards with an index, a configuration and a tokenizer. */
  private Path sharded(Map<String, Tensor> tensors) throws IOException {
    Path model = Files.createDirectory(directory.resolve("model"));
    JsonObject weights = new JsonObject();
    List<Map<String, Tensor>> shards = List.of(new LinkedHashMap<>(), new LinkedHashMap<>());
    tensors.forEach((name, tensor) -> {
      int shard = name.contains("q_proj") ? 1 : 0;
      shards.get(shard).put(name, tensor);
      weights.addProperty(name, shard + ".safetensors");
    });
    for (int i = 0; i < 2; i++) {
      SafetensorsWriter.write(model.resolve(i + ".safetensors"), shards.get(i), Map.of());
    }
    JsonObject metadata = new JsonObject();
    metadata.addProperty("total_size", 1);
    JsonObject index = new JsonObject();
    index.add("metadata", metadata);
    index.add("weight_map", weights);
    Json.write(model.resolve("model.safetensors.index.json"), index);
    Files.writeString(model.resolve("config.json"), CONFIG);
    Files.writeString(model.resolve("tokenizer.json"), "{\"a\": 1}");
    return model;
  }

  private static CheckpointPacker packer(CheckpointPacker.Format format, int threads) {
    return CheckpointPacker.builder().format(format).threads(threads).build();
  }

  private static CheckpointUnpacker unpacker() {
    return new CheckpointUnpacker(2, false, Progress.NONE);
  }

  private void assertSameTensors(Path expected, Path got) throws IOException {
    try (Checkpoint a = Checkpoint.open(expected);
        Checkpoint b = Checkpoint.open(got)) {
      assertEquals(a.names(), b.names());
      for (String name : a.names()) {
        Tensor x = a.load(name, arena);
        Tensor y = b.load(name, arena);
        assertEquals(x.type(), y.type(), name);
        assertArrayEquals(x.shape(), y.shape(), name);
        assertEquals(-1, x.memory().mismatch(y.memory()), name);
      }
    }
  }

  @Test
  void aFileComesBack() throws IOException {
    for (boolean twoOfFour : new boolean[] {false, true}) {
      for (CheckpointPacker.Format format :
          List.of(CheckpointPacker.Format.AUTO, CheckpointPacker.Format.BITMASK)) {
        Path model = single(tensors(random(), twoOfFour));
        Path packed = directory.resolve("packed.safetensors");
        Path back = directory.resolve("back.safetensors");
        PackReport report = packer(format, 1).pack(model, packed);
        assertEquals(3, report.tensors().size());
        assertEquals(Files.size(model), report.bytesBefore());
        assertEquals(Files.size(packed), report.bytesAfter());
        assertTrue(report.bytesAfter() < 0.6 * report.bytesBefore());
        boolean expected = twoOfFour && format == CheckpointPacker.Format.AUTO;
        assertEquals(
            expected ? TwoOfFourMatrix.FORMAT : BitmaskMatrix.FORMAT,
            report.tensors().getFirst().format());
        unpacker().unpack(packed, back);
        assertSameTensors(model, back);
        for (Path file : List.of(model, packed, back)) {
          Files.delete(file);
        }
      }
    }
  }

  @Test
  void shardsComeBackWithTheirConfiguration() throws IOException {
    Path model = sharded(tensors(random(), true));
    Path packed = directory.resolve("packed");
    packer(CheckpointPacker.Format.TWO_OF_FOUR, 3).pack(model, packed);
    JsonObject config =
        Json.readObject(packed.resolve("config.json")).getAsJsonObject("quantization_config");
    assertEquals("compressed-tensors", config.get("quant_method").getAsString());
    JsonObject sparsity = config.getAsJsonObject("sparsity_config");
    assertEquals("sparse-24-bitmask", sparsity.get("format").getAsString());
    assertEquals("2:4", sparsity.get("sparsity_structure").getAsString());
    assertEquals("[\"Linear\"]", sparsity.get("targets").toString());
    assertEquals("[\"model.embed_tokens\"]", sparsity.get("ignore").toString());
    assertTrue(sparsity.get("global_sparsity").getAsDouble() >= 50);
    try (Checkpoint checkpoint = Checkpoint.open(packed)) {
      assertTrue(checkpoint.names().contains("model.layers.0.q_proj.bitmask"));
      assertFalse(checkpoint.names().contains("model.layers.0.q_proj.weight"));
      assertArrayEquals(
          new long[] {2, 1}, checkpoint.load("model.layers.0.q_proj.shape", arena).shape());
      long size =
          Json.readObject(packed.resolve("model.safetensors.index.json"))
              .getAsJsonObject("metadata")
              .get("total_size")
              .getAsLong();
      long bytes = 0;
      for (SafetensorsFile shard : checkpoint.shards()) {
        bytes += shard.header().fileSize() - shard.header().dataBegin();
        shard
            .entries()
            .forEach(entry -> {
              long width = Math.max(1, entry.type().bits() / 8);
              assertEquals(0, entry.begin() % width, entry.toString());
            });
      }
      assertEquals(bytes, size);
    }
    Path back = directory.resolve("back");
    unpacker().unpack(packed, back);
    assertSameTensors(model, back);
    assertEquals(CONFIG, Files.readString(back.resolve("config.json")));
    assertEquals("{\"a\": 1}", Files.readString(back.resolve("tokenizer.json")));
  }

  @Test
  void theBytesDoNotDependOnTheNumberOfThreads() throws IOException {
    Path model = single(tensors(random(), false));
    Path one = directory.resolve("one.safetensors");
    Path four = directory.resolve("four.safetensors");
    packer(CheckpointPacker.Format.BITMASK, 1).pack(model, one);
    packer(CheckpointPacker.Format.BITMASK, 4).pack(model, four);
    assertEquals(-1, Files.mismatch(one, four));
  }

  @Test
  void packedMatricesLoad() throws IOException {
    Map<String, Tensor> tensors = tensors(random(), false);
    Path packed = directory.resolve("packed.safetensors");
    packer(CheckpointPacker.Format.AUTO, 1).pack(single(tensors), packed);
    try (Checkpoint checkpoint = Checkpoint.open(packed)) {
      String name = "model.layers.0.up_proj.weight";
      Tensor dense = SparseMatrix.load(checkpoint, name, arena).unpack(arena);
      assertEquals(-1, tensors.get(name).memory().mismatch(dense.memory()));
      FormatException missing =
          assertThrows(
              FormatException.class,
              () -> SparseMatrix.load(checkpoint, "model.norm.weight", arena));
      assertTrue(missing.getMessage().contains("model.norm.compressed"), missing.getMessage());
    }
  }

  @Test
  void aConfigurationWrittenByOthersLosesItsEntryOnly() throws IOException {
    String written =
        "{\"quantization_config\": {\"quant_method\": \"compressed-tensors\","
            + " \"sparsity_config\": {\"format\": \"sparse-bitmask\"}}, \"eps\": 2}";
    JsonObject removed = (JsonObject) Json.read("c", text(remove(written)));
    assertNull(removed.get("quantization_config"));
    assertEquals(2, removed.get("eps").getAsInt());
    String quantized =
        written.replace("\"quant_method\"", "\"config_groups\": {}, \"quant_method\"");
    JsonObject kept =
        ((JsonObject) Json.read("c", text(remove(quantized))))
            .getAsJsonObject("quantization_config");
    assertTrue(kept.has("config_groups"));
    assertFalse(kept.has("sparsity_config"));
    assertEquals("{\"eps\": 2}", text(remove("{\"eps\": 2}")));
    for (String text : List.of("{}", "{ }\n", CONFIG, "{\"a\": \"}\"}  ")) {
      byte[] inserted =
          SparsityConfig.insert("c", text.getBytes(UTF_8), false, 1.0 / 3, List.of("x"));
      assertEquals(text, text(SparsityConfig.remove("c", inserted)));
    }
  }

  private static String text(byte[] bytes) {
    return new String(bytes, UTF_8);
  }

  private static byte[] remove(String text) throws IOException {
    return SparsityConfig.remove("c", text.getBytes(UTF_8));
  }

  @Test
  void whatCannotBePackedIsRefusedAndNothingIsLeft() throws IOException {
    Map<String, Tensor> tensors = tensors(random(), true);
    tensors.get("model.layers.0.q_proj.weight").fill(1);
    Tensor down = tensors.get("model.layers.0.down_proj.weight");
    for (int j = 4; j < 8; j++) {
      down.setDouble(1, 69, j);
    }
    Path model = single(tensors);
    assertRefused(
        "tensor model.layers.0.down_proj.weight: expected at most 2 of every 4 elements of a row"
            + " other than zero, got more in row 69 from column 4 on",
        () -> packer(CheckpointPacker.Format.TWO_OF_FOUR, 2).pack(model, out()));
    CheckpointPacker greedy = CheckpointPacker.builder().minSparsity(0.9).build();
    assertRefused(
        "expected a matrix NAME.weight with at least 90.0 % zeros, model.layers.0.",
        () -> greedy.pack(model, out()));
    assertRefused(
        "expected packed tensors NAME.compressed with NAME.bitmask and NAME.shape, found none",
        () -> unpacker().unpack(model, out()));
    Path packed = directory.resolve("packed.safetensors");
    assertEquals(2, packer(CheckpointPacker.Format.AUTO, 2).pack(model, packed).tensors().size());
    assertRefused(
        "expected a dense model, but model.layers.0.up_proj.compressed is packed",
        () -> packer(CheckpointPacker.Format.AUTO, 1).pack(packed, out()));
    assertRefused(
        "output: expected a path where nothing stands",
        () -> packer(CheckpointPacker.Format.AUTO, 1).pack(model, packed));
    assertFalse(Files.exists(out()));
  }

  @Test
  void aQuantizedModelIsRefused() throws IOException {
    Path model = sharded(tensors(random(), false));
    Files.writeString(model.resolve("config.json"), "{\"quantization_config\": {}}");
    assertRefused(
        "expected a model that is not quantized or packed",
        () -> packer(CheckpointPacker.Format.AUTO, 1).pack(model, out()));
  }

  @Test
  void settingsOutOfRangeAreRefused() {
    for (double share : new double[] {0, -1, 1.5, Double.NaN}) {
      assertThrows(
          IllegalArgumentException.class, () -> CheckpointPacker.builder().minSparsity(share));
    }
    assertThrows(IllegalArgumentException.class, () -> CheckpointPacker.builder().threads(0));
    assertThrows(
        IllegalArgumentException.class, () -> new CheckpointUnpacker(0, false, Progress.NONE));
  }

  @Test
  void aBrokenPackedFileIsRefusedAndNothingIsLeft() throws IOException {
    Path packed = directory.resolve("packed.safetensors");
    packer(CheckpointPacker.Format.BITMASK, 1).pack(single(tensors(random(), false)), packed);
    String up = "model.layers.0.up_proj";
    assertBroken(
        packed,
        up + ".row_offsets",
        up + ".row_offsets: expected",
        parts -> {
          Tensor offsets = parts.get(up + ".row_offsets");
          offsets.setLong(offsets.getLong(250) + 1, 250);
        });
    assertBroken(
        packed,
        up + ".row_offsets",
        up + ".row_offsets: expected ascending",
        parts -> {
          parts.get(up + ".row_offsets").setLong(1L << 40, 256);
        });
    assertBroken(
        packed,
        up + ".bitmask",
        up + ".row_offsets: expected",
        parts -> {
          Tensor bits = parts.get(up + ".bitmask");
          bits.setLong(bits.getLong(3, 5) ^ 16, 3, 5);
        });
    assertBroken(
        packed,
        up + ".bitmask",
        "tensor \"" + up + ".bitmask\": expected shape",
        parts -> {
          parts.put(up + ".bitmask", Tensor.allocate(arena, DType.U8, 300, 127));
        });
    assertBroken(
        packed,
        up + ".shape",
        up + ": shape: expected two I64 numbers",
        parts -> {
          parts.put(up + ".shape", Tensor.allocate(arena, DType.I64, 3));
        });
    assertBroken(
        packed,
        up + ".compressed",
        up + ".compressed: expected F32, F16",
        parts -> {
          parts.put(up + ".compressed", Tensor.allocate(arena, DType.I32, 7));
        });
    assertBroken(
        packed,
        up + ".row_offsets",
        up + ".row_offsets: expected I64",
        parts -> {
          parts.put(up + ".row_offsets", Tensor.allocate(arena, DType.I32, 300));
        });
  }

  private interface Change {
    void apply(Map<String, Tensor> tensors);
  }

  private void assertBroken(Path packed, String what, String message, Change change)
      throws IOException {
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    try (SafetensorsFile file = SafetensorsFile.open(packed)) {
      file.entries().forEach(entry -> tensors.put(entry.name(), Tensor.allocate(arena, DType.U8)));
      for (String name : tensors.keySet()) {
        tensors.put(name, file.load(name, arena));
      }
    }
    change.apply(tensors);
    Path broken = directory.resolve("broken.safetensors");
    SafetensorsWriter.write(broken, tensors, Map.of());
    FormatException refused =
        assertThrows(FormatException.class, () -> unpacker().unpack(broken, out()), what);
    assertTrue(refused.getMessage().contains(message), refused.getMessage());
    assertFalse(Files.exists(out()));
  }

  @Test
  void anInterruptLeavesNothing() throws IOException {
    Path model = single(tensors(random(), false));
    Thread.currentThread().interrupt();
    assertThrows(
        InterruptedIOException.class,
        () -> packer(CheckpointPacker.Format.AUTO, 2).pack(model, out()));
    assertTrue(Thread.interrupted());
    try (Stream<Path> files = Files.list(directory)) {
      assertEquals(List.of(model), files.toList());
    }
  }

  private Path out() {
    return directory.resolve("out");
  }

  private interface Action {
    void run() throws IOException;
  }

  private static void assertRefused(String message, Action action) {
    IllegalArgumentException refused = assertThrows(IllegalArgumentException.class, action::run);
    assertTrue(refused.getMessage().contains(message), refused.getMessage());
  }
}
