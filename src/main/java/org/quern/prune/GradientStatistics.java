package org.quern.prune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Gradient statistic G of a linear layer (K2) over the calibration samples, from one gradient of
 * the weights per sample: the sum of |100 g| or the root of the sum of (100 g)^2, accumulated in
 * binary32. Gradients of several samples must not be added before they come here: their signs
 * cancel.
 *
 * <p>Source: Das et al., arXiv 2311.04902, as released; its weight of the gradient term enters as
 * the scale 100. To be used by one thread at a time.
 */
public final class GradientStatistics {
  /** Factor of every gradient. */
  public static final float SCALE = 100;

  private final GradientNorm norm;
  private final Compat compat;
  private final Tensor sums;
  private long samples;

  /**
   * Statistic of a layer without samples.
   *
   * @param arena gives the memory of the sums, F32 [rows, columns]
   * @param norm how the samples are joined
   * @param compat {@link Compat#OFFICIAL} rounds the running sum of {@link GradientNorm#L1} to F16
   *     at every sample, as the released program does: it loses up to 1 % and overflows above 65504
   * @param rows outputs of the layer
   * @param columns inputs of the layer
   */
  public GradientStatistics(
      Arena arena, GradientNorm norm, Compat compat, long rows, long columns) {
    this.norm = norm;
    this.compat = compat;
    this.sums = Tensor.allocate(arena, DType.F32, rows, columns);
  }

  /**
   * Adds the gradient of one sample.
   *
   * @param gradient of the sample's loss, F32, F16 or BF16 [rows, columns]
   * @throws IllegalArgumentException where the type or shape is not as described, or a value is not
   *     finite; in that case the rows before it are already added
   */
  public void add(Tensor gradient) {
    if (!Arrays.equals(gradient.shape(), sums.shape())) {
      throw new IllegalArgumentException(
          "gradient: expected shape " + Arrays.toString(sums.shape()) + ", got " + gradient);
    }
    MemorySegment memory = gradient.hostMemory();
    long stride = gradient.rowStride() * gradient.type().bytes();
    int columns = Math.toIntExact(sums.dim(1));
    for (long row = 0; row < sums.dim(0); row++) {
      for (int j = 0; j < columns; j++) {
        float g = ScalarPruneKernels.load(memory, row * stride, gradient.type(), j);
        if (!Float.isFinite(g)) {
          throw new IllegalArgumentException(
              "gradient: expected finite values, got " + g + " at row " + row + ", column " + j);
        }
        long at = (row * columns + j) * Float.BYTES;
        float sum = sums.memory().get(ValueLayout.JAVA_FLOAT, at);
        sums.memory().set(ValueLayout.JAVA_FLOAT, at, join(sum, Math.abs(SCALE * g)));
      }
    }
    samples++;
  }

  private float join(float sum, float scaled) {
    if (norm == GradientNorm.L2) {
      return sum + scaled * scaled;
    }
    return compat == Compat.OFFICIAL ? toHalf(sum + toHalf(scaled)) : sum + scaled;
  }

  private static float toHalf(float value) {
    return Float.float16ToFloat(Float.floatToFloat16(value));
  }

  /** Samples added so far. */
  public long samples() {
    return samples;
  }

  /**
   * The statistic G.
   *
   * @param type element type to store it in; F16 overflows above 65504
   * @return [rows, columns] in {@code arena}
   * @throws IllegalStateException where no sample was added
   */
  public Tensor statistic(Arena arena, DType type) {
    if (samples == 0) {
      throw new IllegalStateException("gradient statistic: expected samples, got none");
    }
    if (norm == GradientNorm.L1) {
      return sums.to(type, arena);
    }
    float[] roots = sums.toFloatArray();
    for (int i = 0; i < roots.length; i++) {
      roots[i] = (float) Math.sqrt(roots[i]);
    }
    return Tensor.copyOf(arena, roots, sums.shape()).to(type, arena);
  }
}
