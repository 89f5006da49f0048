package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.io.Closeable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.quern.io.Checkpoint;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Calibration statistics in safetensors files, found by the name of the weights. For {@code
 * model.layers.0.mlp.up_proj.weight} the module is {@code model.layers.0.mlp.up_proj}; a leading
 * {@code model.} may be present or absent in the files.
 */
final class CalibrationFiles implements Closeable {
  private static final String WEIGHT = ".weight";
  private static final String MODEL = "model.";
  static final String SCALER_ROW = ".scaler_row";
  private static final String COLUMN_NORM = ".column_norm";

  /** Behind a module, the key of its regional gradients. */
  static final String REGIONAL = ".grad_regional";

  /** The block's number and the module within it. */
  private static final Pattern IN_BLOCK = Pattern.compile("(?:^|\\.)(\\d+)\\.(.+)$");

  private final List<Checkpoint> gradients = new ArrayList<>();
  private final List<Checkpoint> activations = new ArrayList<>();

  /** A tensor in a file. */
  record Source(SafetensorsFile file, SafetensorsEntry entry) {
    /** Element type. */
    DType type() throws IOException {
      DType type = entry.type().type();
      if (type == null || !type.isFloating()) {
        throw new IllegalArgumentException(
            this + ": expected a floating-point type, got " + entry.type());
      }
      return type;
    }

    @Override
    public String toString() {
      return file.path() + ": " + entry.name();
    }
  }

  /** Opens the files, each a safetensors file, an index, or a directory. */
  static CalibrationFiles open(List<Path> gradients, List<Path> activations) throws IOException {
    CalibrationFiles files = new CalibrationFiles();
    try {
      for (Path path : gradients) {
        files.gradients.add(Checkpoint.open(path));
      }
      for (Path path : activations) {
        files.activations.add(Checkpoint.open(path));
      }
      return files;
    } catch (IOException | RuntimeException e) {
      files.close();
      throw e;
    }
  }

  /**
   * The gradient statistic of a layer.
   *
   * @param shape the weights' shape as stored, which the statistic must have
   * @param method decides whether the gradients are those of the loss or of the blocks
   */
  Source gradients(String weights, long[] shape, Method method, GradientNorm norm)
      throws IOException {
    Set<String> keys = new LinkedHashSet<>();
    if (method == Method.WANDA_PLUS_PLUS) {
      modules(weights).forEach(module -> keys.add(module + REGIONAL));
    } else {
      keys.add(weights);
      modules(weights).forEach(module -> keys.add(module + "." + norm.key()));
      Matcher inBlock = IN_BLOCK.matcher(module(weights));
      if (inBlock.find()) {
        keys.add(inBlock.group(2) + "_layer_" + inBlock.group(1));
      }
    }
    Source source = find("gradients", weights, gradients, keys);
    if (!Arrays.equals(source.entry.shape(), shape)) {
      throw new IllegalArgumentException(
          source
              + ": expected gradients of shape "
              + Arrays.toString(shape)
              + " for the weights "
              + weights
              + ", got "
              + Arrays.toString(source.entry.shape()));
    }
    DType type = source.type();
    if (type == DType.F64) {
      throw new IllegalArgumentException(
          source + ": expected gradients of type F32, F16 or BF16, got " + type);
    }
    return source;
  }

  /**
   * The column statistic of a layer, checked to be finite and not negative.
   *
   * @param columns inputs of the layer
   */
  Source activations(String weights, long columns) throws IOException {
    Set<String> keys = new LinkedHashSet<>();
    modules(weights).forEach(module -> keys.add(module + SCALER_ROW));
    keys.add(weights + COLUMN_NORM);
    modules(weights).forEach(module -> keys.add(module + COLUMN_NORM));
    Source source = find("activations", weights, activations, keys);
    if (source.entry.shape().length != 1 || source.entry.shape()[0] != columns) {
      throw new IllegalArgumentException(
          source
              + ": expected ["
              + columns
              + "] values, one for each input of the weights "
              + weights
              + ", got "
              + Arrays.toString(source.entry.shape()));
    }
    source.type();
    try (Arena arena = Arena.ofConfined()) {
      float[] values = columnNorms(source, arena).toFloatArray();
      for (int j = 0; j < values.length; j++) {
        if (!(values[j] >= 0 && values[j] < Float.POSITIVE_INFINITY)) {
          throw new IllegalArgumentException(
              source
                  + ": expected statistics that are finite and not negative, got a column norm of "
                  + values[j]
                  + " at column "
                  + j);
        }
      }
    }
    return source;
  }

  /**
   * The norms c of the input columns, F32: as stored, or the root of a {@code scaler_row}, taken in
   * binary32.
   */
  static Tensor columnNorms(Source source, Arena arena) throws IOException {
    Tensor norms = source.file.load(source.entry.name(), arena);
    if (norms.type() != DType.F32) {
      norms = norms.to(DType.F32, arena);
    }
    if (source.entry.name().endsWith(SCALER_ROW)) {
      MemorySegment values = norms.memory();
      for (long j = 0; j < norms.size(); j++) {
        values.setAtIndex(JAVA_FLOAT, j, (float) Math.sqrt(values.getAtIndex(JAVA_FLOAT, j)));
      }
    }
    return norms;
  }

  /**
   * True where a tensor has elements and all of them are zero; reads up to the first that is not.
   */
  static boolean isZero(Source source) throws IOException {
    long bytes = source.entry.bytes();
    DType type = source.type();
    try (Arena arena = Arena.ofConfined()) {
      MemorySegment buffer = arena.allocate(Math.clamp(bytes, 1, 1 << 16), Tensor.ALIGNMENT);
      for (long done = 0; done < bytes; done += buffer.byteSize()) {
        MemorySegment part = buffer.asSlice(0, Math.min(buffer.byteSize(), bytes - done));
        source.file.read(source.entry.name(), done, part);
        if (Zeros.count(part, type) < part.byteSize() / type.bytes()) {
          return false;
        }
      }
    }
    return bytes > 0;
  }

  private static Source find(
      String argument, String weights, List<Checkpoint> files, Set<String> keys)
      throws IOException {
    if (files.isEmpty()) {
      throw new IllegalArgumentException(
          argument + ": expected a file with the statistics of " + weights + ", got none");
    }
    for (String key : keys) {
      Source found = null;
      for (Checkpoint file : files) {
        if (file.names().contains(key)) {
          SafetensorsFile shard = file.shardOf(key);
          if (found != null) {
            throw new IllegalArgumentException(
                argument
                    + ": expected "
                    + key
                    + " in one file, got it in "
                    + found.file.path()
                    + " and "
                    + shard.path());
          }
          found = new Source(shard, shard.entry(key));
        }
      }
      if (found != null) {
        return found;
      }
    }
    String where =
        files.stream()
            .flatMap(file -> file.shards().stream())
            .map(shard -> shard.path().toString())
            .collect(Collectors.joining(", "));
    throw new IllegalArgumentException(
        argument
            + ": expected the statistics of "
            + weights
            + " in "
            + where
            + " under one of "
            + String.join(", ", keys)
            + ", found none");
  }

  private static String module(String weights) {
    return weights.endsWith(WEIGHT)
        ? weights.substring(0, weights.length() - WEIGHT.length())
        : weights;
  }

  /** The module's name as it is, and with the leading part added or dropped. */
  private static List<String> modules(String weights) {
    String module = module(weights);
    return List.of(
        module, module.startsWith(MODEL) ? module.substring(MODEL.length()) : MODEL + module);
  }

  @Override
  public void close() throws IOException {
    for (Checkpoint file : gradients) {
      file.close();
    }
    for (Checkpoint file : activations) {
      file.close();
    }
  }
}
