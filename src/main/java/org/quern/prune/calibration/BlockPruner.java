package org.quern.prune.calibration;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.prune.ActivationStatistics;
import org.quern.prune.GradientStatistics;
import org.quern.prune.Method;
import org.quern.prune.PruneWorkspace;
import org.quern.prune.Pruner;
import org.quern.prune.Statistics;
import org.quern.prune.Zeros;
import org.quern.prune.lm.DecoderBlock;
import org.quern.prune.lm.LanguageModel;
import org.quern.prune.lm.LinearInput;
import org.quern.prune.reconstruct.HessianFactor;
import org.quern.prune.reconstruct.InputGram;
import org.quern.prune.reconstruct.SparseGpt;
import org.quern.prune.reconstruct.SurvivorRefit;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Prunes the linear layers of one block in place, by statistics of the inputs that they have while
 * the block is dense, or with {@code sequential} while those in front of them are already pruned.
 * Layers that share an input share its statistics: a block has seven layers and four inputs.
 */
final class BlockPruner {
  private final Method method;
  private final LayerPruners pruners;
  private final Reconstruction reconstruction;
  private final boolean sequential;
  private final boolean regional;
  private final int threads;

  /** Which layers are pruned, and how. */
  @FunctionalInterface
  interface LayerPruners {
    /** The pruner of a layer by its name in the model; null where it is left alone. */
    @Nullable Pruner of(String linear);
  }

  /** Where gradient statistics come from. */
  @FunctionalInterface
  interface Gradients {
    /** The statistic of a layer by its name in the model; null where there is none. */
    @Nullable Tensor load(Arena arena, String linear) throws IOException;
  }

  /** Statistics of one input, as far as they are needed. */
  private record Seen(@Nullable ActivationStatistics norms, @Nullable InputGram moments) {
    static final Seen NOTHING = new Seen(null, null);

    boolean isNeeded() {
      return norms != null || moments != null;
    }

    void add(Tensor values) {
      if (norms != null) {
        norms.add(values);
      }
      if (moments != null) {
        moments.add(values);
      }
    }
  }

  /**
   * A pruner of blocks.
   *
   * @param method the score of all pruners
   * @param regional true where the block's own gradients are taken, those of Wanda++
   */
  BlockPruner(
      Method method,
      LayerPruners pruners,
      Reconstruction reconstruction,
      boolean sequential,
      boolean regional,
      int threads) {
    this.method = method;
    this.pruners = pruners;
    this.reconstruction = reconstruction;
    this.sequential = sequential;
    this.regional = regional;
    this.threads = threads;
  }

  /**
   * Prunes a block.
   *
   * @param arena gives the memory of the statistics that are returned
   * @param stream the residual stream in front of the block, which is left as it is
   * @param work advances by the sequences {@link #passes} times
   */
  List<PrunedLayer> prune(
      Arena arena, DecoderBlock block, ResidualStream stream, Gradients gradients, Work work)
      throws IOException {
    List<PrunedLayer> layers = new ArrayList<>();
    try (Arena own = Arena.ofShared()) {
      Gradients used = gradients;
      if (regional) {
        Map<String, GradientStatistics> statistics =
            RegionalGradients.of(own, block, stream, threads, work);
        used = (ofLayer, linear) -> statistic(statistics.get(linear), ofLayer);
      }
      if (sequential) {
        for (LinearInput input : LinearInput.values()) {
          prune(arena, block, stream, used, work, List.of(input), layers);
        }
      } else {
        prune(arena, block, stream, used, work, List.of(LinearInput.values()), layers);
      }
    }
    return layers;
  }

  private static @Nullable Tensor statistic(@Nullable GradientStatistics statistic, Arena arena) {
    return statistic == null ? null : statistic.statistic(arena, DType.F32);
  }

  /** True where statistics of the inputs are needed. */
  boolean needsInputs() {
    return reconstruction != Reconstruction.NONE || method.usesActivations();
  }

  /** How often {@link #prune} goes through the sequences. */
  int passes() {
    return (sequential ? LinearInput.values().length : 1) + (regional ? 1 : 0);
  }

  private void prune(
      Arena arena,
      DecoderBlock block,
      ResidualStream stream,
      Gradients gradients,
      Work work,
      List<LinearInput> inputs,
      List<PrunedLayer> layers)
      throws IOException {
    try (Arena own = Arena.ofShared();
        PruneWorkspace workspace = new PruneWorkspace()) {
      Map<LinearInput, Seen> statistics = new EnumMap<>(LinearInput.class);
      for (LinearInput input : inputs) {
        statistics.put(input, accumulators(own, block, input));
      }
      if (statistics.values().stream().anyMatch(Seen::isNeeded)) {
        stream.observe(
            block,
            work,
            (input, values) -> {
              Seen seen = statistics.get(input);
              if (seen != null) {
                seen.add(values);
              }
            });
      } else {
        work.advance(stream.sequences());
      }
      for (LinearInput input : inputs) {
        Seen seen = statistics.getOrDefault(input, Seen.NOTHING);
        Tensor means = seen.norms == null ? null : seen.norms.meanSquares(arena);
        Tensor norms = seen.norms == null ? null : seen.norms.columnNorms(own);
        try (Arena ofInput = Arena.ofShared()) {
          Tensor hessian = seen.moments == null ? null : seen.moments.hessian(ofInput);
          HessianFactor factor = null;
          for (String linear : input.linears()) {
            String name = LanguageModel.linear(block.index(), linear);
            Pruner pruner = pruners.of(name);
            if (pruner == null) {
              continue;
            }
            if (reconstruction == Reconstruction.SPARSEGPT && hessian != null && factor == null) {
              factor = sparseGpt(pruner).factor(ofInput, name, hessian);
            }
            long start = System.nanoTime();
            Tensor weights = block.weights(linear);
            long before = Zeros.count(weights.memory(), weights.type());
            try (Arena ofLayer = Arena.ofShared()) {
              Statistics given = new Statistics(gradients.load(ofLayer, name), norms);
              prune(name, pruner, weights, given, hessian, factor, workspace);
            }
            layers.add(
                new PrunedLayer(
                    name,
                    pruner.method(),
                    pruner.pattern(),
                    before,
                    Zeros.count(weights.memory(), weights.type()),
                    (System.nanoTime() - start) * 1e-9,
                    means));
          }
        }
      }
    }
  }

  private void prune(
      String name,
      Pruner pruner,
      Tensor weights,
      Statistics statistics,
      @Nullable Tensor hessian,
      @Nullable HessianFactor factor,
      PruneWorkspace workspace) {
    if (factor != null) {
      sparseGpt(pruner).prune(name, weights, factor);
    } else if (hessian != null) {
      try (Arena own = Arena.ofShared()) {
        Tensor mask = pruner.mask(own, weights, statistics);
        SurvivorRefit.builder().threads(threads).build().refit(name, weights, hessian, mask);
      }
    } else {
      pruner.prune(name, weights, statistics, workspace);
    }
  }

  private SparseGpt sparseGpt(Pruner pruner) {
    return SparseGpt.builder().pattern(pruner.pattern()).threads(threads).build();
  }

  private Seen accumulators(Arena arena, DecoderBlock block, LinearInput input) {
    boolean pruned =
        input.linears().stream()
            .anyMatch(linear -> pruners.of(LanguageModel.linear(block.index(), linear)) != null);
    boolean norms =
        pruned && method.usesActivations() && reconstruction != Reconstruction.SPARSEGPT;
    boolean moments = pruned && reconstruction != Reconstruction.NONE;
    int columns = Math.toIntExact(block.weights(input.linears().getFirst()).dim(1));
    return new Seen(
        norms ? new ActivationStatistics(columns, threads, null) : null,
        moments ? new InputGram(arena, columns, threads) : null);
  }
}
