package org.quern.prune.reconstruct;

import java.lang.foreign.Arena;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.prune.Group;
import org.quern.prune.Pattern;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * SparseGPT: prunes a linear layer column by column and makes the columns to come answer for the
 * error of those that went (Frantar and Alistarh, arXiv 2301.00774). Immutable, and safe to share
 * between threads; results do not depend on the number of threads.
 *
 * <pre>{@code
 * InputGram moments = new InputGram(arena, n, threads);
 * moments.add(inputs); // batch by batch
 * SparseGpt.builder().pattern(Pattern.nm(2, 4)).build()
 *     .prune("layers.0.mlp.up_proj", weights, moments.hessian(arena));
 * }</pre>
 *
 * <p>What is selected: with a ratio, in every block of {@value SweepKernels#WIDTH} columns the
 * scores up to that of rank {@code (int) (m * columns * ratio)} among all rows, which is one weight
 * more than the rank says and all that equal it, as in the released program; a ratio of 0 changes
 * nothing. With N:M, the N smallest scores of every run of M columns, by the weights as they are
 * when the sweep gets there. The score is the error that pruning the weight causes by itself.
 *
 * <p>Kept weights change. They are computed in F32 and rounded to the type of the weights at the
 * end; pruned ones are +0.0.
 *
 * <p>Cost: 2 n^3 / 3 flops for the factor of H and m n^2 for the sweep, nearly all in products.
 * Memory: n^2 floats for the factor, m n for the weights at work, and the scores of a block.
 */
public final class SparseGpt {
  static final Set<Tier> TIERS = Collections.unmodifiableSet(EnumSet.of(Tier.SCALAR, Tier.VECTOR));

  private final Pattern pattern;
  private final double damp;
  private final Tier tier;
  private final int threads;

  private SparseGpt(Builder builder) {
    pattern = builder.pattern;
    damp = builder.damp;
    tier = Capabilities.get().choose(TIERS, builder.tier);
    threads = builder.threads;
  }

  /** A builder with half of the weights, a damping of 0.01, the best tier and one thread. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * What became of a layer.
   *
   * @param zeros weights that are zero now
   * @param objective what the layer lost, {@code 1/2 trace((W' - W) H' (W' - W)^T)} with the damped
   *     H', before rounding to the type of the weights; dead columns do not count
   * @param damp the share of the mean of the diagonal of H that was added
   */
  public record Report(long zeros, double objective, double damp) {}

  /** What is selected. */
  public Pattern pattern() {
    return pattern;
  }

  /**
   * The factor of H, which layers with the same inputs share.
   *
   * @param arena gives its memory, n^2 floats; a shared one where there are several threads
   * @param name how errors and warnings name the layer or its input
   * @param hessian H, F32 [n, n], as {@link InputGram#hessian} gives it
   * @throws IllegalArgumentException where H is not square or not finite, an element of its
   *     diagonal is negative, or it is not positive definite at any damping up to its mean diagonal
   */
  public HessianFactor factor(Arena arena, String name, Tensor hessian) {
    try (Arena own = Arena.ofShared()) {
      return HessianFactor.of(Gemm.create(own, threads, tier), arena, name, hessian, damp);
    }
  }

  /** Prunes {@code weights} in place; see {@link #prune(String, Tensor, HessianFactor)}. */
  public Report prune(String name, Tensor weights, Tensor hessian) {
    new Weights(name, weights).checkHessian(hessian);
    try (Arena own = Arena.ofShared()) {
      return prune(name, weights, factor(own, name, hessian));
    }
  }

  /**
   * Selects and reconstructs in place. The weights of dead columns, whose input was always zero,
   * become zero first, whatever the pattern.
   *
   * @param name how errors name the layer
   * @param weights W, [m, n], F32, F16 or BF16; unchanged where an argument is rejected
   * @param factor the factor of the H of its inputs
   * @throws IllegalArgumentException where a shape or type is not as described, a weight is not
   *     finite, or the columns are not whole runs of the pattern; the message names the layer
   */
  public Report prune(String name, Tensor weights, HessianFactor factor) {
    return run(new Weights(name, weights), factor, null);
  }

  /** Reconstructs in place; see {@link #reconstruct(String, Tensor, HessianFactor, Tensor)}. */
  public Report reconstruct(String name, Tensor weights, Tensor hessian, Tensor mask) {
    Weights layer = new Weights(name, weights);
    layer.checkHessian(hessian);
    layer.checkMask(mask);
    try (Arena own = Arena.ofShared()) {
      return reconstruct(name, weights, factor(own, name, hessian), mask);
    }
  }

  /**
   * Prunes what a mask says and reconstructs in place by the same sweep; the pattern is not used.
   * Kept weights of dead columns stay as they are.
   *
   * @param name how errors name the layer
   * @param weights W before pruning, [m, n], F32, F16 or BF16; unchanged where an argument is
   *     rejected
   * @param factor the factor of the H of its inputs
   * @param mask U8 [m, ceil(n / 8)]: bit b of byte a of a row is 1 where column 8a + b is pruned
   * @throws IllegalArgumentException where a shape or type is not as described or a weight is not
   *     finite; the message names the layer
   */
  public Report reconstruct(String name, Tensor weights, HessianFactor factor, Tensor mask) {
    Weights layer = new Weights(name, weights);
    layer.checkMask(mask);
    return run(layer, factor, mask);
  }

  private Report run(Weights weights, HessianFactor factor, @Nullable Tensor mask) {
    if (factor.columns() != weights.columns()) {
      throw new IllegalArgumentException(
          weights.name()
              + ": factor: expected one of "
              + weights.columns()
              + " columns, got "
              + factor.columns());
    }
    try (Arena own = Arena.ofShared()) {
      return new Sweep(own, weights, factor, tier, threads).run(pattern, mask);
    }
  }

  /** Collects the settings of a {@link SparseGpt}. */
  public static final class Builder {
    private Pattern pattern = Pattern.unstructured(0.5);
    private double damp = 0.01;
    private @Nullable Tier tier;
    private int threads = 1;

    private Builder() {}

    /**
     * What is selected: a ratio, whose group is always a block of columns of all rows, or N:M.
     *
     * @throws IllegalArgumentException for a pattern of another kind
     */
    public Builder pattern(Pattern pattern) {
      boolean known =
          pattern instanceof Pattern.NM
              || (pattern instanceof Pattern.Unstructured ratio && ratio.group() == Group.ROW);
      if (!known) {
        throw new IllegalArgumentException(
            "pattern: expected a ratio such as 0.5 or N:M such as 2:4, got " + pattern);
      }
      this.pattern = pattern;
      return this;
    }

    /** Share of the mean of the diagonal of H to add to it, in [0, 1]; 0.01 by default. */
    public Builder damp(double damp) {
      if (!(damp >= 0 && damp <= 1)) {
        throw new IllegalArgumentException("damp: expected a share in [0, 1], got " + damp);
      }
      this.damp = damp;
      return this;
    }

    /** Demands a tier; the best that can run by default. */
    public Builder tier(@Nullable Tier tier) {
      this.tier = tier;
      return this;
    }

    /** Threads that may work at a time, at least 1; 1 by default. */
    public Builder threads(int threads) {
      if (threads < 1) {
        throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
      }
      this.threads = threads;
      return this;
    }

    /**
     * The plan.
     *
     * @throws IllegalStateException where the demanded tier cannot run here
     */
    public SparseGpt build() {
      return new SparseGpt(this);
    }
  }
}
