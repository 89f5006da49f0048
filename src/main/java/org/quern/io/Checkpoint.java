package org.quern.io;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.Closeable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.Tensor;

/**
 * The tensors of a model in one safetensors file or several: the shards. A set of shards is a
 * directory, described by an index {@code NAME.safetensors.index.json} with {@code {"weight_map":
 * {tensor: shard}}} where it has one. Every tensor is in exactly one shard.
 */
public final class Checkpoint implements Closeable {
  private static final String SUFFIX = ".safetensors";
  private static final String INDEX_SUFFIX = ".safetensors.index.json";

  private final Path model;
  private final @Nullable Path index;
  private final List<Path> companions;
  private final List<SafetensorsFile> shards = new ArrayList<>();
  private final Map<String, SafetensorsFile> shardOf = new LinkedHashMap<>();

  private Checkpoint(Path model, @Nullable Path index, List<Path> companions) {
    this.model = model;
    this.index = index;
    this.companions = Collections.unmodifiableList(companions);
  }

  /**
   * Opens a model and validates the headers of all its shards.
   *
   * @param model a safetensors file, an index, or a directory that holds an index or safetensors
   *     files
   * @throws FormatException where a shard is not valid, the index does not agree with the shards,
   *     or two shards have the same tensor
   */
  public static Checkpoint open(Path model) throws IOException {
    if (Files.isDirectory(model)) {
      return openDirectory(model);
    }
    if (model.toString().endsWith(".json")) {
      return openIndex(model);
    }
    return open(model, null, List.of(), List.of(model), Map.of());
  }

  private static Checkpoint openDirectory(Path directory) throws IOException {
    List<Path> files = files(directory);
    List<Path> indexes =
        files.stream().filter(file -> file.toString().endsWith(INDEX_SUFFIX)).toList();
    if (indexes.size() > 1) {
      throw new FormatException(
          directory.toString(),
          "expected one index, got several; name the one to open: " + names(indexes));
    }
    if (indexes.size() == 1) {
      return openIndex(indexes.getFirst());
    }
    List<Path> shards = files.stream().filter(file -> file.toString().endsWith(SUFFIX)).toList();
    if (shards.isEmpty()) {
      throw new FormatException(
          directory.toString(), "expected a file *" + SUFFIX + ", found none");
    }
    return open(directory, null, companions(directory), shards, Map.of());
  }

  private static Checkpoint openIndex(Path index) throws IOException {
    JsonObject document = Json.readObject(index);
    if (!(document.get("weight_map") instanceof JsonObject weights) || weights.isEmpty()) {
      throw new FormatException(
          index.toString(), "weight_map: expected an object of tensor names to shard files");
    }
    Path directory = parent(index);
    Map<String, Path> expected = LinkedHashMap.newLinkedHashMap(weights.size());
    Set<Path> shards = new TreeSet<>();
    for (Map.Entry<String, JsonElement> weight : weights.entrySet()) {
      String place = "weight_map: tensor " + FormatException.quote(weight.getKey());
      if (!(weight.getValue() instanceof JsonPrimitive shard) || !shard.isString()) {
        throw new FormatException(index.toString(), place + ": expected the name of a shard");
      }
      String name = shard.getAsString();
      Path path = inside(directory, name);
      if (path == null) {
        throw new FormatException(
            index.toString(),
            place
                + ": expected a file in the directory of the index, got "
                + FormatException.quote(name));
      }
      expected.put(weight.getKey(), directory.resolve(path));
      shards.add(directory.resolve(path));
    }
    for (Path shard : shards) {
      if (!Files.isRegularFile(shard)) {
        throw new FormatException(
            index.toString(),
            "weight_map: the shard " + FormatException.quote(shard.toString()) + " is missing");
      }
    }
    return open(index, index, companions(directory), List.copyOf(shards), expected);
  }

  private static Path parent(Path file) {
    Path parent = file.getParent();
    return parent == null ? file.getFileSystem().getPath("") : parent;
  }

  /**
   * The plain relative path of a shard's name, or null where it is none or would leave the
   * directory.
   */
  private static @Nullable Path inside(Path directory, String name) {
    try {
      Path path = directory.getFileSystem().getPath(name);
      boolean plain = !path.isAbsolute() && path.equals(path.normalize()) && !path.startsWith("..");
      return plain && !name.isEmpty() ? path : null;
    } catch (InvalidPathException e) {
      return null;
    }
  }

  private static Checkpoint open(
      Path model,
      @Nullable Path index,
      List<Path> companions,
      List<Path> shards,
      Map<String, Path> expected)
      throws IOException {
    Checkpoint checkpoint = new Checkpoint(model, index, companions);
    try {
      for (Path shard : shards) {
        checkpoint.add(shard, expected);
      }
      for (Map.Entry<String, Path> weight : expected.entrySet()) {
        if (!checkpoint.shardOf.containsKey(weight.getKey())) {
          throw new FormatException(
              weight.getValue().toString(),
              "expected a tensor "
                  + FormatException.quote(weight.getKey())
                  + " as the index says, found none");
        }
      }
      return checkpoint;
    } catch (IOException | RuntimeException e) {
      checkpoint.close();
      throw e;
    }
  }

  private void add(Path path, Map<String, Path> expected) throws IOException {
    SafetensorsFile shard = SafetensorsFile.open(path);
    shards.add(shard);
    for (SafetensorsEntry entry : shard.entries()) {
      String place = "tensor " + FormatException.quote(entry.name());
      SafetensorsFile other = shardOf.putIfAbsent(entry.name(), shard);
      if (other != null) {
        throw new FormatException(
            path.toString(),
            place
                + ": expected in one shard, but "
                + other.path()
                + " has it too"
                + (index == null
                    ? "; open a single file, or add an index that lists the shards"
                    : ""));
      }
      if (index != null && !path.equals(expected.get(entry.name()))) {
        Path listed = expected.get(entry.name());
        throw new FormatException(
            path.toString(),
            place
                + ": expected "
                + (listed == null
                    ? "to be listed in " + index
                    : "in " + listed + " as the index says"));
      }
    }
  }

  /** The shards in the order of their names. */
  public List<SafetensorsFile> shards() {
    return Collections.unmodifiableList(shards);
  }

  /** The index, or null where the model has none. */
  public @Nullable Path index() {
    return index;
  }

  /** The directory that holds the shards, or null where a single file was opened. */
  public @Nullable Path directory() {
    if (index != null) {
      return parent(index);
    }
    return Files.isDirectory(model) ? model : null;
  }

  /**
   * The files beside the shards of a directory, such as its configuration and tokenizer, in the
   * order of their names; the index, hidden files and further safetensors files are not among them.
   * Empty where a single file was opened.
   */
  public List<Path> companions() {
    return companions;
  }

  /** The names of all tensors, shard by shard in the order of their bytes. */
  public Set<String> names() {
    return Collections.unmodifiableSet(shardOf.keySet());
  }

  /**
   * The shard that holds a tensor.
   *
   * @throws FormatException where no shard has it
   */
  public SafetensorsFile shardOf(String name) throws FormatException {
    SafetensorsFile shard = shardOf.get(name);
    if (shard == null) {
      throw new FormatException(
          model.toString(), "expected a tensor " + FormatException.quote(name) + ", found none");
    }
    return shard;
  }

  /**
   * Copies a tensor into 64-byte aligned native memory of {@code arena}, as {@link
   * SafetensorsFile#load} does.
   */
  public Tensor load(String name, Arena arena) throws IOException {
    return shardOf(name).load(name, arena);
  }

  /** Closes all shards. */
  @Override
  public void close() throws IOException {
    for (SafetensorsFile shard : shards) {
      shard.close();
    }
  }

  private static List<Path> companions(Path directory) throws IOException {
    return files(directory).stream().filter(file -> !isPart(file)).toList();
  }

  /** True where a file in a directory is taken for a shard or an index. */
  static boolean isPart(Path file) {
    String name = file.getFileName().toString();
    return !name.startsWith(".") && (name.endsWith(SUFFIX) || name.endsWith(INDEX_SUFFIX));
  }

  private static List<Path> files(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files
          .filter(
              file -> Files.isRegularFile(file) && !file.getFileName().toString().startsWith("."))
          .sorted()
          .toList();
    }
  }

  private static List<Path> names(List<Path> files) {
    return files.stream().map(Path::getFileName).toList();
  }
}
