package org.quern.prune;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Gradient statistic G of a linear layer over the calibration samples: the sum of |100 g|, or the
 * root of the sum of (100 g)^2, or both, accumulated in binary32 ({@link GradientScale} tells of
 * other factors). Gradients of several samples must not be added before they come here: their signs
 * cancel.
 *
 * <p>Samples come as one gradient of the weights each ({@link #add}, K2), or without any from a
 * {@link GradientProduct} (K2f). Every sum is one chain in the order of the samples, so that its
 * bits depend neither on the number of threads nor on the tier.
 *
 * <p>Source: Das et al., arXiv 2311.04902, as released. To be used by one thread at a time.
 */
public final class GradientStatistics {
  /** Elements that a thread claims at a time. */
  private static final long GRAIN = 1 << 17;

  private final GradientScale scale;
  private final Compat compat;
  private final int threads;
  private final Tier tier;
  private final StatisticKernels kernels;
  private final long rows;
  private final int columns;
  private final GradientSums sums;
  private long samples;
  private boolean spoilt;

  private GradientStatistics(Builder builder, Arena arena) {
    scale = builder.scale;
    compat = builder.compat;
    threads = builder.threads;
    tier = Capabilities.get().choose(Pruner.TIERS, builder.tier);
    kernels = kernels(tier);
    rows = builder.rows;
    columns = builder.columns;
    sums = GradientSums.allocate(arena, builder.norms, rows, columns);
  }

  /** The kernels of a tier. */
  static StatisticKernels kernels(Tier tier) {
    return switch (tier) {
      case SCALAR -> ScalarStatisticKernels.INSTANCE;
      case VECTOR -> VectorStatisticKernels.INSTANCE;
      default ->
          throw new IllegalArgumentException(
              "tier: expected one of " + Pruner.TIERS + ", got " + tier);
    };
  }

  /**
   * Settings of a statistic without samples: l1 and the published scale, on one thread of the best
   * tier.
   *
   * @param rows outputs of the layer, at least 1
   * @param columns inputs of the layer, at least 1
   */
  public static Builder builder(long rows, long columns) {
    return new Builder(rows, columns);
  }

  /** Collects the settings of a {@link GradientStatistics}. */
  public static final class Builder {
    private final long rows;
    private final int columns;
    private Set<GradientNorm> norms = EnumSet.of(GradientNorm.L1);
    private GradientScale scale = GradientScale.OFFICIAL;
    private Compat compat = Compat.EXACT;
    private int threads = 1;
    private @Nullable Tier tier;

    private Builder(long rows, long columns) {
      if (rows < 1 || columns < 1 || columns > Integer.MAX_VALUE) {
        throw new IllegalArgumentException(
            "rows, columns: expected at least 1 each and columns below 2^31, got "
                + rows
                + " x "
                + columns);
      }
      this.rows = rows;
      this.columns = (int) columns;
    }

    /** How the samples are joined; more than one way costs a sum of its own for each. */
    public Builder norms(GradientNorm first, GradientNorm... more) {
      norms = EnumSet.of(first, more);
      return this;
    }

    /** What the gradients are multiplied with. */
    public Builder scale(GradientScale scale) {
      this.scale = scale;
      return this;
    }

    /**
     * {@link Compat#OFFICIAL} rounds the running sum of {@link GradientNorm#L1} to F16 at every
     * sample, as the released program does: it loses up to 1 % and overflows above 65504. It takes
     * gradients, not products, and its sums run on the scalar tier.
     */
    public Builder compat(Compat compat) {
      this.compat = compat;
      return this;
    }

    /** Most threads that may work at a time, at least 1. */
    public Builder threads(int threads) {
      if (threads < 1) {
        throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
      }
      this.threads = threads;
      return this;
    }

    /** Demands a tier; null for the best that can run. */
    public Builder tier(@Nullable Tier tier) {
      this.tier = tier;
      return this;
    }

    /**
     * The statistic.
     *
     * @param arena gives the memory of the sums, F32 [rows, columns] for each norm; shared where
     *     several threads work
     * @throws IllegalStateException where the demanded tier cannot run here
     */
    public GradientStatistics build(Arena arena) {
      return new GradientStatistics(this, arena);
    }
  }

  /** Outputs of the layer. */
  public long rows() {
    return rows;
  }

  /** Inputs of the layer. */
  public long columns() {
    return columns;
  }

  /** The sums that are kept. */
  public Set<GradientNorm> norms() {
    return sums.norms();
  }

  /** What the gradients are multiplied with. */
  public GradientScale scale() {
    return scale;
  }

  /** The arithmetic of the sums. */
  public Compat compat() {
    return compat;
  }

  /** The tier that computes the sums. */
  public Tier tier() {
    return tier;
  }

  /** Samples added so far. */
  public long samples() {
    return samples;
  }

  /**
   * Adds the gradient of one sample (K2).
   *
   * @param gradient of the sample's loss, F32, F16 or BF16 [rows, columns]
   * @throws IllegalArgumentException where the type or shape is not as described, or a value is not
   *     finite; in the latter case the statistic is spoilt, and no longer gives a result
   */
  public void add(Tensor gradient) {
    if (!Arrays.equals(gradient.shape(), new long[] {rows, columns})) {
      throw new IllegalArgumentException(
          "gradient: expected shape [" + rows + ", " + columns + "], got " + gradient);
    }
    requireFloats("gradient", gradient);
    requireUnspoilt();
    MemorySegment memory = gradient.hostMemory();
    long stride = gradient.rowStride() * gradient.type().bytes();
    long grain = Math.max(1, GRAIN / columns);
    spoilt = true;
    try {
      Parallel.forRanges(
          rows,
          grain,
          threads,
          (from, to, worker) -> {
            // Rows without a gap are one long run.
            long step = gradient.isContiguous() ? to - from : 1;
            for (long row = from; row < to; row += step) {
              int n = Math.toIntExact(step * columns);
              long bad = addRun(memory, row * stride, gradient.type(), row, n);
              if (bad >= 0) {
                long badRow = row + bad / columns;
                long badColumn = bad % columns;
                throw new IllegalArgumentException(
                    "gradient: expected finite values with finite sums, got "
                        + gradient.getDouble(badRow, badColumn)
                        + " at row "
                        + badRow
                        + ", column "
                        + badColumn);
              }
            }
          });
    } finally {
      Reference.reachabilityFence(gradient);
    }
    spoilt = false;
    samples++;
  }

  /** Element types that calibration data may have. */
  static void requireFloats(String name, Tensor tensor) {
    switch (tensor.type()) {
      case F32, F16, BF16 -> {}
      default ->
          throw new IllegalArgumentException(name + ": expected F32, F16 or BF16, got " + tensor);
    }
  }

  /** Adds a run of rows; returns {@link StatisticKernels#ALL_FINITE} or the first bad element. */
  private long addRun(MemorySegment g, long gOffset, DType type, long row, int n) {
    return compat == Compat.OFFICIAL
        ? sums.addRounded(g, gOffset, type, scale.inSum(), row, n)
        : sums.add(kernels, g, gOffset, 0, type, scale.inSum(), row, 0, 1, n);
  }

  /**
   * Adds a block of one sample's gradient, F32 without gaps.
   *
   * @return {@link StatisticKernels#ALL_FINITE}, or its first element whose sum is not finite
   */
  long addBlock(MemorySegment g, long row, int column, int m, int n) {
    long rowBytes = (long) n * Float.BYTES;
    return sums.add(kernels, g, 0, rowBytes, DType.F32, scale.inSum(), row, column, m, n);
  }

  /** Marks the statistic as spoilt until {@link #endSamples}. */
  void beginSamples() {
    requireUnspoilt();
    spoilt = true;
  }

  /** Counts samples that were added whole. */
  void endSamples(long count) {
    spoilt = false;
    samples += count;
  }

  /**
   * The statistic G of the only norm that is kept.
   *
   * @param type element type to store it in, F32, BF16, or F16, which overflows above 65504
   * @return [rows, columns] in {@code arena}
   * @throws IllegalStateException where no sample was added, a sample was bad, or both norms are
   *     kept
   */
  public Tensor statistic(Arena arena, DType type) {
    if (norms().size() != 1) {
      throw new IllegalStateException(
          "gradient statistic: expected one norm, got " + norms() + "; name the one wanted");
    }
    return statistic(arena, norms().iterator().next(), type);
  }

  /**
   * The statistic G.
   *
   * @param norm one of those that are kept
   * @param type element type to store it in, F32, BF16, or F16, which overflows above 65504
   * @return [rows, columns] in {@code arena}
   * @throws IllegalArgumentException where the norm is not kept
   * @throws IllegalStateException where no sample was added, or a sample was bad
   */
  public Tensor statistic(Arena arena, GradientNorm norm, DType type) {
    Tensor sum = sums.get(norm);
    requireUnspoilt();
    if (samples == 0) {
      throw new IllegalStateException("gradient statistic: expected samples, got none");
    }
    if (norm == GradientNorm.L1 && !scale.perMean()) {
      return sum.to(type, arena);
    }
    try (Arena own = Arena.ofConfined()) {
      Tensor values = sum.to(DType.F32, own);
      MemorySegment memory = values.memory();
      double factor = scale.afterSum(norm, samples);
      for (long i = 0; i < values.size(); i++) {
        double value = memory.getAtIndex(ValueLayout.JAVA_FLOAT, i);
        double joined = factor * (norm == GradientNorm.L1 ? value : Math.sqrt(value));
        memory.setAtIndex(ValueLayout.JAVA_FLOAT, i, (float) joined);
      }
      return values.to(type, arena);
    }
  }

  private void requireUnspoilt() {
    if (spoilt) {
      throw new IllegalStateException(
          "gradient statistic: expected samples with finite gradients only, got a bad one before;"
              + " start over");
    }
  }
}
