package org.quern.prune;

import java.io.Closeable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import org.quern.tensor.Tensor;

/**
 * Gradient statistics in safetensors files, under the keys that {@link
 * CheckpointPruner.Builder#gradients} names.
 */
public final class GradientFiles implements Closeable {
  private final CalibrationFiles files;
  private final Method method;
  private final GradientNorm norm;

  private GradientFiles(CalibrationFiles files, Method method, GradientNorm norm) {
    this.files = files;
    this.method = method;
    this.norm = norm;
  }

  /**
   * Opens files.
   *
   * @param paths each a safetensors file, an index, or a directory
   * @param method the score that takes the statistics
   * @param norm which statistic the keys name
   */
  public static GradientFiles open(List<Path> paths, Method method, GradientNorm norm)
      throws IOException {
    return new GradientFiles(CalibrationFiles.open(paths, List.of()), method, norm);
  }

  /**
   * The statistic of a layer.
   *
   * @param weights name of the tensor with its weights
   * @param shape of the weights, which the statistic must have
   * @throws IllegalArgumentException where no file has it, or not in this shape
   */
  public Tensor load(Arena arena, String weights, long[] shape) throws IOException {
    CalibrationFiles.Source source = files.gradients(weights, shape, method, norm);
    return source.file().load(source.entry().name(), arena);
  }

  @Override
  public void close() throws IOException {
    files.close();
  }
}
