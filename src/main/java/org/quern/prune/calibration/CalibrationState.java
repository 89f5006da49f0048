package org.quern.prune.calibration;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.quern.io.FormatException;
import org.quern.io.Json;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsWriter;
import org.quern.prune.GradientStatistics;
import org.quern.prune.StatisticsFile;
import org.quern.prune.StatisticsOrigin;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * What an interrupted run leaves behind for the next: a directory with
 *
 * <pre>
 * state.json                        what the run was asked for
 * gradients/block-000.safetensors   gradient statistics of the dense model, blocks from the last on
 * gradient.safetensors              gradient of the residual stream in front of the last of these
 * pruned/block-000.safetensors      pruned weights, blocks from the first on
 * </pre>
 *
 * <p>Every file appears whole or not at all, so that a run may end at any moment.
 */
final class CalibrationState implements DenseGradients.Sink {
  private static final String STATE = "state.json";
  private static final String GRADIENTS = "gradients";
  private static final String PRUNED = "pruned";
  private static final Pattern BLOCK = Pattern.compile("block-\\d+\\.safetensors");
  private static final String STREAM_GRADIENT = "gradient.safetensors";

  /** Sections of what was asked for: where the data differ, nothing of the state can be used. */
  static final String DATA = "data";

  /** Where these settings differ, gradients and pruned blocks are dropped. */
  static final String OF_GRADIENTS = "gradients";

  /** Where these settings differ, the pruned blocks are dropped. */
  static final String OF_PRUNING = "pruning";

  private final Path directory;
  private final int blocks;
  private final StatisticsOrigin origin;
  private final DType gradientType;

  private CalibrationState(
      Path directory, int blocks, StatisticsOrigin origin, DType gradientType) {
    this.directory = directory;
    this.blocks = blocks;
    this.origin = origin;
    this.gradientType = gradientType;
  }

  /**
   * Opens the state that a run left, or begins one.
   *
   * @param directory where it is; created where it is missing
   * @param asked what the run is asked for: the objects {@link #DATA}, {@link #OF_PRUNING}, and
   *     where the run takes gradients {@link #OF_GRADIENTS}
   * @param origin what the gradient statistics are of
   * @param gradientType element type of the gradient statistics
   * @throws IllegalArgumentException where the directory holds the state of a run over another
   *     model or other tokens, or something else
   */
  static CalibrationState open(
      Path directory, int blocks, JsonObject asked, StatisticsOrigin origin, DType gradientType)
      throws IOException {
    Path file = directory.resolve(STATE);
    CalibrationState state = new CalibrationState(directory, blocks, origin, gradientType);
    if (Files.isRegularFile(file)) {
      JsonObject found = Json.readObject(file);
      String other = difference(found, asked, DATA);
      if (other != null) {
        throw new IllegalArgumentException(
            "state: expected in "
                + directory
                + " a run with "
                + other
                + "; delete the directory or name another (--state)");
      }
      if (!asked.has(OF_GRADIENTS)) {
        asked.add(OF_GRADIENTS, found.get(OF_GRADIENTS));
      } else if (difference(found, asked, OF_GRADIENTS) != null) {
        deleteBlocks(directory.resolve(GRADIENTS));
        Files.deleteIfExists(directory.resolve(STREAM_GRADIENT));
        deleteBlocks(directory.resolve(PRUNED));
      }
      if (difference(found, asked, OF_PRUNING) != null) {
        deleteBlocks(directory.resolve(PRUNED));
      }
    } else if (Files.isDirectory(directory) && !isEmpty(directory)) {
      throw new IllegalArgumentException(
          "state: expected an empty directory or one with a file " + STATE + ", got " + directory);
    }
    Files.createDirectories(directory.resolve(GRADIENTS));
    Files.createDirectories(directory.resolve(PRUNED));
    Json.write(file, asked);
    return state;
  }

  /** The first setting that differs, with both values, or null. */
  private static @Nullable String difference(JsonObject found, JsonObject asked, String section) {
    JsonObject wanted = asked.getAsJsonObject(section);
    JsonObject got = found.get(section) instanceof JsonObject object ? object : new JsonObject();
    for (String key : wanted.keySet()) {
      if (!Objects.equals(text(wanted, key), text(got, key))) {
        return key + " " + text(wanted, key) + ", got " + text(got, key);
      }
    }
    return null;
  }

  private static String text(JsonObject object, String key) {
    return object.has(key) ? object.get(key).toString() : "none";
  }

  private static boolean isEmpty(Path directory) throws IOException {
    try (Stream<Path> files = Files.list(directory)) {
      return files.findAny().isEmpty();
    }
  }

  /** The directory itself. */
  Path directory() {
    return directory;
  }

  /** The directory with the gradient statistics, which is a checkpoint of its own. */
  Path gradients() {
    return directory.resolve(GRADIENTS);
  }

  private Path gradients(int block) {
    return gradients().resolve(name(block));
  }

  /** The directory with the pruned weights, which is a checkpoint of its own. */
  Path pruned() {
    return directory.resolve(PRUNED);
  }

  private Path pruned(int block) {
    return pruned().resolve(name(block));
  }

  private static String name(int block) {
    return String.format("block-%03d.safetensors", block);
  }

  @Override
  public int unfinished() throws IOException {
    int missing = blocks;
    while (missing > 0 && Files.isRegularFile(gradients(missing - 1))) {
      missing--;
    }
    if (missing == 0 || missing == blocks) {
      return missing;
    }
    // A run that ended between the two files of a block does that block again.
    Path stream = directory.resolve(STREAM_GRADIENT);
    return Files.isRegularFile(stream) ? Math.max(missing, behind(stream)) : blocks;
  }

  private int behind(Path stream) throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(stream)) {
      String block = file.metadata().get("block");
      if (block == null || !block.matches("\\d{1,6}") || Integer.parseInt(block) > blocks) {
        throw new FormatException(stream.toString(), "block: expected a number, got " + block);
      }
      return Integer.parseInt(block);
    }
  }

  @Override
  public void readStreamGradient(Tensor gradient) throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(directory.resolve(STREAM_GRADIENT))) {
      file.requireShape("gradient", gradient.shape());
      file.read("gradient", 0, gradient.memory());
    }
  }

  @Override
  public void save(int block, Map<String, GradientStatistics> statistics, Tensor streamGradient)
      throws IOException {
    StatisticsFile.write(gradients(block), origin, Map.of(), statistics, gradientType);
    Path stream = directory.resolve(STREAM_GRADIENT);
    if (block > 0) {
      SafetensorsWriter.write(
          stream, Map.of("gradient", streamGradient), Map.of("block", String.valueOf(block)));
    } else {
      Files.deleteIfExists(stream);
    }
  }

  /** True where a block is pruned. */
  boolean isPruned(int block) {
    return Files.isRegularFile(pruned(block));
  }

  /** Number of blocks that are pruned, which are the first. */
  int prunedBlocks() {
    int count = 0;
    while (count < blocks && isPruned(count)) {
      count++;
    }
    return count;
  }

  /** Opens the file of a pruned block. */
  SafetensorsFile openPruned(int block) throws IOException {
    return SafetensorsFile.open(pruned(block));
  }

  /** Keeps a pruned block. */
  void savePruned(int block, Map<String, Tensor> weights, Map<String, String> metadata)
      throws IOException {
    SafetensorsWriter.write(pruned(block), weights, metadata);
  }

  /** Deletes what belongs to the state, and the directory unless something else is in it. */
  void delete() throws IOException {
    deleteBlocks(directory.resolve(GRADIENTS));
    deleteBlocks(pruned());
    Files.deleteIfExists(directory.resolve(STREAM_GRADIENT));
    Files.deleteIfExists(directory.resolve(STATE));
    if (isEmpty(directory)) {
      Files.delete(directory);
    }
  }

  /** Deletes the blocks in a directory. */
  private static void deleteBlocks(Path directory) throws IOException {
    if (!Files.isDirectory(directory)) {
      return;
    }
    List<Path> blocks;
    try (Stream<Path> files = Files.list(directory)) {
      blocks =
          files.filter(file -> BLOCK.matcher(file.getFileName().toString()).matches()).toList();
    }
    for (Path block : blocks) {
      Files.delete(block);
    }
    if (isEmpty(directory)) {
      Files.delete(directory);
    }
  }
}
