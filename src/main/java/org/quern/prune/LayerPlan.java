package org.quern.prune;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.LongAdder;
import org.jspecify.annotations.Nullable;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.DType;

/** One tensor to prune: where it lies, by what, with which statistics, and what came of it. */
final class LayerPlan {
  final SafetensorsFile file;
  final SafetensorsEntry entry;
  final DType type;
  final boolean transposed;
  final Pruner pruner;
  final CalibrationFiles.@Nullable Source gradients;
  final CalibrationFiles.@Nullable Source activations;

  /** How errors name the layer. */
  final String label;

  final LongAdder zerosBefore = new LongAdder();
  final LongAdder zerosAfter = new LongAdder();
  final LongAdder nanos = new LongAdder();

  LayerPlan(
      SafetensorsFile file,
      SafetensorsEntry entry,
      DType type,
      boolean transposed,
      Pruner pruner,
      CalibrationFiles.@Nullable Source gradients,
      CalibrationFiles.@Nullable Source activations) {
    this.file = file;
    this.entry = entry;
    this.type = type;
    this.transposed = transposed;
    this.pruner = pruner;
    this.gradients = gradients;
    this.activations = activations;
    label =
        file.path()
            + ": "
            + entry.name()
            + (gradients == null ? "" : " with gradients " + gradients);
  }

  /** Rows as stored. */
  long storedRows() {
    return entry.shape()[0];
  }

  /** Columns as stored. */
  long storedColumns() {
    return entry.shape()[1];
  }

  /** True where the selection needs more than the stored row at hand. */
  boolean needsWholeMatrix() {
    return transposed || needsWholeMatrix(pruner.method(), pruner.pattern());
  }

  /** True where the pattern selects, or the method scores, across rows. */
  static boolean needsWholeMatrix(Method method, Pattern pattern) {
    return method.usesWholeMatrix()
        || switch (pattern) {
          case Pattern.NM nm -> false;
          case Pattern.Cumulative cumulative -> true;
          case Pattern.Unstructured unstructured -> unstructured.group() == Group.MATRIX;
        };
  }

  PruneReport.Layer report() {
    List<Long> shape = new ArrayList<>();
    for (long extent : entry.shape()) {
      shape.add(extent);
    }
    return new PruneReport.Layer(
        entry.name(),
        shape,
        type,
        pruner.method().label(),
        pruner.pattern(),
        zerosBefore.sum(),
        zerosAfter.sum(),
        nanos.sum() * 1e-9);
  }
}
