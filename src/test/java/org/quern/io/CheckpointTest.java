package org.quern.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.tensor.Tensor;

/** A model is one file, an index, or a directory; its index and its shards must agree. */
class CheckpointTest {
  private static final String FIRST = "model-00001-of-00002.safetensors";
  private static final String SECOND = "model-00002-of-00002.safetensors";

  @TempDir Path directory;

  @BeforeEach
  void writeShards() throws IOException {
    shard(FIRST, "b", "a");
    shard(SECOND, "c");
    Files.writeString(directory.resolve("config.json"), "{}");
    Files.writeString(directory.resolve("tokenizer.json"), "{}");
    Files.writeString(directory.resolve(".hidden"), "");
  }

  @Test
  void anIndexAndItsDirectoryAreTheSameModel() throws IOException {
    Path index = index(Map.of("a", FIRST, "b", FIRST, "c", SECOND));
    for (Path model : List.of(directory, index)) {
      try (Checkpoint checkpoint = Checkpoint.open(model);
          Arena arena = Arena.ofConfined()) {
        assertEquals(List.of(FIRST, SECOND), shardNames(checkpoint));
        assertEquals(List.of("b", "a", "c"), List.copyOf(checkpoint.names()));
        assertEquals(index, checkpoint.index());
        assertEquals(
            List.of(directory.resolve("config.json"), directory.resolve("tokenizer.json")),
            checkpoint.companions());
        assertEquals(SECOND, checkpoint.shardOf("c").path().getFileName().toString());
        assertEquals('a', checkpoint.load("a", arena).memory().get(ValueLayout.JAVA_FLOAT, 0));
        assertEquals(
            index + ": expected a tensor \"d\", found none",
            assertThrows(FormatException.class, () -> checkpoint.load("d", arena)).getMessage());
      }
    }
  }

  @Test
  void shardsWithoutAnIndexAreASet() throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      assertEquals(List.of(FIRST, SECOND), shardNames(checkpoint));
      assertNull(checkpoint.index());
    }
    shard("other.safetensors", "a");
    assertRejected(
        directory,
        directory.resolve("other.safetensors")
            + ": tensor \"a\": expected in one shard, but "
            + directory.resolve(FIRST)
            + " has it too; open a single file, or add an index that lists the shards");
  }

  @Test
  void aSingleFileStandsAlone() throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(directory.resolve(FIRST))) {
      assertEquals(List.of(FIRST), shardNames(checkpoint));
      assertEquals(List.of(), checkpoint.companions());
    }
    Files.delete(directory.resolve(SECOND));
    try (Checkpoint checkpoint = Checkpoint.open(directory)) {
      assertEquals(List.of(FIRST), shardNames(checkpoint));
      assertEquals(2, checkpoint.companions().size());
    }
  }

  @Test
  void anIndexThatDisagreesIsRejected() throws IOException {
    Path index = index(Map.of("a", FIRST, "b", FIRST, "c", "none.safetensors"));
    assertRejected(
        index,
        index
            + ": weight_map: the shard \""
            + directory.resolve("none.safetensors")
            + "\" is missing");
    index(Map.of("a", FIRST, "b", FIRST, "c", FIRST));
    assertRejected(
        directory,
        directory.resolve(FIRST) + ": expected a tensor \"c\" as the index says, found none");
    index(Map.of("a", FIRST, "b", SECOND, "c", SECOND));
    assertRejected(
        directory,
        directory.resolve(FIRST)
            + ": tensor \"b\": expected in "
            + directory.resolve(SECOND)
            + " as the index says");
    index(Map.of("a", FIRST, "c", SECOND));
    assertRejected(
        directory, directory.resolve(FIRST) + ": tensor \"b\": expected to be listed in " + index);
    shard(SECOND, "c", "a");
    index(Map.of("a", FIRST, "b", FIRST, "c", SECOND));
    assertRejected(
        directory,
        directory.resolve(SECOND)
            + ": tensor \"a\": expected in one shard, but "
            + directory.resolve(FIRST)
            + " has it too");
    Files.copy(index, directory.resolve("second.safetensors.index.json"));
    assertRejected(
        directory,
        directory
            + ": expected one index, got several; name the one to open:"
            + " [model.safetensors.index.json, second.safetensors.index.json]");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "../model.safetensors",
        "a/../../model.safetensors",
        "/model.safetensors",
        "./x",
        "..",
        "",
        "a\0b"
      })
  void aShardMayNotLeaveTheDirectory(String name) throws IOException {
    Path index = index(Map.of("a", name));
    assertRejected(
        index,
        index
            + ": weight_map: tensor \"a\": expected a file in the directory of the index, got \""
            + name.replace("\0", "\\u0000")
            + "\"");
  }

  @Test
  void aMalformedIndexIsRejected() throws IOException {
    Path index = directory.resolve("model.safetensors.index.json");
    for (String document : List.of("{}", "{\"weight_map\":[]}", "{\"weight_map\":{}}")) {
      Files.writeString(index, document);
      assertRejected(
          index, index + ": weight_map: expected an object of tensor names to shard files");
    }
    Files.writeString(index, "{\"weight_map\":{\"a\":1}}");
    assertRejected(index, index + ": weight_map: tensor \"a\": expected the name of a shard");
    Files.writeString(index, "{\"weight_map\":{\"a\":\"x\",\"a\":\"x\"}}");
    assertRejected(index, index + ": line 1 column 27: duplicate name \"a\"");
  }

  @Test
  void aDirectoryWithoutTensorsIsRejected(@TempDir Path empty) throws IOException {
    assertRejected(empty, empty + ": expected a file *.safetensors, found none");
    Path none = empty.resolve("none");
    assertRejected(none, none + ": expected a safetensors file, found none");
  }

  private static void assertRejected(Path model, String message) {
    assertEquals(
        message, assertThrows(FormatException.class, () -> Checkpoint.open(model)).getMessage());
  }

  private static List<String> shardNames(Checkpoint checkpoint) {
    return checkpoint.shards().stream()
        .map(shard -> shard.path().getFileName().toString())
        .toList();
  }

  /** A shard of tensors that hold the first letter of their name. */
  private void shard(String file, String... names) throws IOException {
    try (Arena arena = Arena.ofConfined()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (String name : names) {
        tensors.put(name, Tensor.copyOf(arena, new float[] {name.charAt(0), 0}, 2));
      }
      SafetensorsWriter.write(directory.resolve(file), tensors, Map.of());
    }
  }

  private Path index(Map<String, String> weights) throws IOException {
    JsonObject map = new JsonObject();
    weights.forEach(map::addProperty);
    JsonObject document = new JsonObject();
    document.add("weight_map", map);
    Path file = directory.resolve("model.safetensors.index.json");
    Json.write(file, document);
    return file;
  }
}
