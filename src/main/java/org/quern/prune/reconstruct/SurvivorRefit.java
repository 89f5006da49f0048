package org.quern.prune.reconstruct;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * Refits the weights that a mask keeps: for every row w of W the least-squares problem
 *
 * <pre>minimise 1/2 (w' - w) (H + damping I) (w' - w)^T, w' zero where the mask prunes</pre>
 *
 * by conjugate gradients with the diagonal as preconditioner, for many rows at once, so that a step
 * is one product {@code P H} (the refit of Wanda-like masks after ALPS, Meng et al., arXiv
 * 2406.07831, section 3.3; method: Saad, "Iterative Methods for Sparse Linear Systems", algorithm
 * 9.1). Every step lowers the objective. Immutable, and safe to share between threads; results do
 * not depend on the number of threads.
 *
 * <p>The damping is that of {@link HessianFactor}, so that its objective compares with that of
 * {@link SparseGpt}.
 *
 * <p>Cost: 2 m n^2 flops for each step and once more at the start. Memory: eighteen panels of
 * {@value #PANEL} rows for every thread.
 */
public final class SurvivorRefit {
  /** Rows that go together: fixed, so that results do not depend on the threads. */
  private static final int PANEL = 192;

  private final int steps;
  private final double damp;
  private final Tier tier;
  private final int threads;

  private SurvivorRefit(Builder builder) {
    steps = builder.steps;
    damp = builder.damp;
    tier = Capabilities.get().choose(SparseGpt.TIERS, builder.tier);
    threads = builder.threads;
  }

  /** A builder with ten steps, a damping of 0.01, the best tier and one thread. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * What became of a layer.
   *
   * @param objectives the objective of the masked weights, then after every step, before rounding
   *     to the type of the weights
   */
  public record Report(List<Double> objectives) {
    /** Keeps an immutable copy of the list. */
    public Report {
      objectives = List.copyOf(objectives);
    }

    /** The objective of the masked weights as they were. */
    public double masked() {
      return objectives.getFirst();
    }

    /** The objective of the new weights. */
    public double refitted() {
      return objectives.getLast();
    }
  }

  /**
   * Prunes what a mask says and refits the others in place.
   *
   * @param name how errors name the layer
   * @param weights W before pruning, [m, n], F32, F16 or BF16; kept weights are computed in F32 and
   *     rounded to this type, pruned ones are +0.0. Unchanged where an argument is rejected
   * @param hessian H of its inputs, F32 [n, n], symmetric, as {@link InputGram#hessian} gives it
   * @param mask U8 [m, ceil(n / 8)]: bit b of byte a of a row is 1 where column 8a + b is pruned
   * @throws IllegalArgumentException where a shape or type is not as described, or a value of W or
   *     H is not finite; the message names the layer
   */
  public Report refit(String name, Tensor weights, Tensor hessian, Tensor mask) {
    Weights layer = new Weights(name, weights);
    layer.checkHessian(hessian);
    layer.checkMask(mask);
    layer.requireFinite();
    DampedHessian damped = new DampedHessian(hessian, Damping.of(name, hessian), damp);
    int chunks = Math.ceilDiv(layer.rows(), PANEL);
    int workers = Math.clamp(chunks, 1, threads);
    List<double[]> objectives = new ArrayList<>(Collections.nCopies(chunks, new double[0]));
    try (Arena arena = Arena.ofShared()) {
      RefitPanel[] panels = new RefitPanel[workers];
      for (int worker = 0; worker < workers; worker++) {
        panels[worker] =
            new RefitPanel(arena, Math.min(PANEL, layer.rows()), layer.columns(), tier);
      }
      Parallel.forRanges(
          layer.rows(),
          PANEL,
          workers,
          (from, to, worker) ->
              objectives.set(
                  (int) (from / PANEL), panels[worker].run(layer, damped, mask, from, to, steps)));
    }
    double[] sums = new double[steps + 1];
    for (double[] part : objectives) {
      for (int i = 0; i < part.length; i++) {
        sums[i] += part[i];
      }
    }
    List<Double> report = new ArrayList<>();
    for (double sum : sums) {
      report.add(sum);
    }
    return new Report(report);
  }

  /** Collects the settings of a {@link SurvivorRefit}. */
  public static final class Builder {
    private int steps = 10;
    private double damp = 0.01;
    private @Nullable Tier tier;
    private int threads = 1;

    private Builder() {}

    /**
     * Steps of conjugate gradients, at least 0; 10 by default, after which the objective is usually
     * within a few per cent of the least.
     */
    public Builder steps(int steps) {
      if (steps < 0) {
        throw new IllegalArgumentException("steps: expected at least 0, got " + steps);
      }
      this.steps = steps;
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

    /** Demands a tier for the products; the best that can run by default. */
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
    public SurvivorRefit build() {
      return new SurvivorRefit(this);
    }
  }
}
