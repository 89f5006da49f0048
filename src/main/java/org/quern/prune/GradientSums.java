package org.quern.prune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.EnumMap;
import java.util.EnumSet;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The sums of magnitudes, of squares, or both, for a matrix of weights. */
final class GradientSums {
  private final Map<GradientNorm, Tensor> sums = new EnumMap<>(GradientNorm.class);
  private final int columns;

  private GradientSums(int columns) {
    this.columns = columns;
  }

  /** Zeros. */
  static GradientSums allocate(Arena arena, Set<GradientNorm> norms, long rows, int columns) {
    GradientSums sums = new GradientSums(columns);
    for (GradientNorm norm : norms) {
      sums.sums.put(norm, Tensor.allocate(arena, DType.F32, rows, columns));
    }
    return sums;
  }

  /** The sums that are kept. */
  Set<GradientNorm> norms() {
    return EnumSet.copyOf(sums.keySet());
  }

  /**
   * The sums of a norm, F32 [rows, columns].
   *
   * @throws IllegalArgumentException where they are not kept
   */
  Tensor get(GradientNorm norm) {
    Tensor sum = sums.get(norm);
    if (sum == null) {
      throw new IllegalArgumentException(
          "norm: expected one of " + sums.keySet() + ", got " + norm);
    }
    return sum;
  }

  private @Nullable MemorySegment memory(GradientNorm norm) {
    Tensor sum = sums.get(norm);
    return sum == null ? null : sum.memory();
  }

  /**
   * Adds a block of one sample's gradient.
   *
   * @param gOffset where it starts in {@code g}, in bytes
   * @param gRowBytes from one of its rows to the next
   * @param row row of its first element
   * @param column column of its first element
   * @param rows number of its rows
   * @param n elements of its rows, which may be several rows of the weights in one
   * @return {@link StatisticKernels#ALL_FINITE}, or the number of its first element whose sum is
   *     not finite
   */
  long add(
      StatisticKernels kernels,
      MemorySegment g,
      long gOffset,
      long gRowBytes,
      DType type,
      float scale,
      long row,
      int column,
      int rows,
      int n) {
    return kernels.addMagnitudes(
        g,
        gOffset,
        gRowBytes,
        type,
        scale,
        rows,
        n,
        memory(GradientNorm.L1),
        memory(GradientNorm.L2),
        (row * columns + column) * Float.BYTES,
        (long) columns * Float.BYTES);
  }

  /**
   * Adds a run of elements in the arithmetic of the released program, whose l1 may overflow.
   *
   * @return {@link StatisticKernels#ALL_FINITE}, or the first element that is bad
   */
  long addRounded(MemorySegment g, long gOffset, DType type, float scale, long row, int n) {
    MemorySegment l1 = memory(GradientNorm.L1);
    long offset = row * columns * Float.BYTES;
    for (int i = 0; i < n && l1 != null; i++) {
      float value = ScalarPruneKernels.load(g, gOffset, type, i);
      if (!Float.isFinite(value)) {
        return i;
      }
      long at = offset + (long) i * Float.BYTES;
      float sum = l1.get(ValueLayout.JAVA_FLOAT, at) + toHalf(Math.abs(scale * value));
      l1.set(ValueLayout.JAVA_FLOAT, at, toHalf(sum));
    }
    return ScalarStatisticKernels.INSTANCE.addMagnitudes(
        g, gOffset, 0, type, scale, 1, n, null, memory(GradientNorm.L2), offset, 0);
  }

  private static float toHalf(float value) {
    return Float.float16ToFloat(Float.floatToFloat16(value));
  }
}
