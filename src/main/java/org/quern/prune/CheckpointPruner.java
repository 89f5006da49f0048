package org.quern.prune;

import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.quern.io.Checkpoint;
import org.quern.io.CheckpointWriter;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.runtime.Progress;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * Prunes a checkpoint on disk (K8): streams it tensor by tensor into a copy whose linear layers are
 * pruned and whose other tensors, headers and small files are the same bytes. A model may be of any
 * size; memory holds a chunk of rows per thread, or one tensor and its gradients where the pattern
 * selects from a whole matrix or the layout is {@link Layout#IN_OUT}. Immutable, and safe to share
 * between threads.
 *
 * <pre>{@code
 * PruneReport report =
 *     CheckpointPruner.builder()
 *         .method(Method.GBLM)
 *         .pattern(Pattern.nm(2, 4))
 *         .gradients(Path.of("grads.safetensors"))
 *         .activations(Path.of("activations.safetensors"))
 *         .build()
 *         .prune(Path.of("llama"), Path.of("llama-2of4"));
 * }</pre>
 *
 * <p>By default the layers are all matrices {@code NAME.weight} of type F32, F16 or BF16 within
 * numbered blocks, except those that their name tells to be an embedding, a norm, a router or a
 * head. Tensors that are stored once under several names are pruned once, and only where every one
 * of the names is selected.
 *
 * <p>The bytes written depend neither on the number of threads nor on the tier, and pruning the
 * output again by the same settings and statistics changes nothing.
 */
public final class CheckpointPruner {
  /** The tiers that can prune. */
  public static final Set<Tier> TIERS = Pruner.TIERS;

  private final Method method;
  private final Pattern pattern;
  private final Compat compat;
  private final @Nullable Tier tier;
  private final int threads;
  private final List<Path> gradients;
  private final GradientNorm norm;
  private final @Nullable Path activations;
  private final LayerSelection selection;
  private final @Nullable Path ratios;
  private final @Nullable OwlRatios owl;
  private final double gradientScale;
  private final double exponent;
  private final boolean preserveMask;
  private final Layout layout;
  private final boolean overwrite;
  private final Progress progress;

  private CheckpointPruner(Builder builder) {
    method = builder.method;
    pattern = builder.pattern != null ? builder.pattern : Pruner.defaultPattern(method);
    compat = builder.compat;
    tier = builder.tier;
    threads = builder.threads;
    gradients = List.copyOf(builder.gradients);
    norm = builder.norm;
    activations = builder.activations;
    selection = new LayerSelection(builder.include, builder.exclude);
    ratios = builder.ratios;
    owl = builder.owl;
    gradientScale = builder.gradientScale;
    exponent = builder.exponent;
    preserveMask = builder.preserveMask;
    layout = builder.layout;
    overwrite = builder.overwrite;
    progress = builder.progress;
  }

  /**
   * A builder with the method GBLM, 50 % per row, gradients by the l1 norm, the best tier and one
   * thread.
   */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Writes a pruned copy. Whatever fails, and where the calling thread is interrupted, nothing is
   * left at {@code output} but what stood there before.
   *
   * @param model a safetensors file, an index {@code *.safetensors.index.json}, or a directory that
   *     holds either
   * @param output the file to write where the model is a single file, else the directory
   * @throws IllegalArgumentException where a setting, statistic or weight is not as described; the
   *     message names the file, tensor, row and column
   * @throws InterruptedIOException where the calling thread is interrupted; it stays marked as
   *     interrupted
   * @throws IOException where a file is not valid or cannot be read or written
   * @throws IllegalStateException where the demanded tier cannot run here
   */
  public PruneReport prune(Path model, Path output) throws IOException {
    return run(model, output);
  }

  /**
   * Prunes in memory and writes nothing: the report is that of {@link #prune}, and so are the
   * errors of the input.
   */
  public PruneReport dryRun(Path model) throws IOException {
    return run(model, null);
  }

  private PruneReport run(Path model, @Nullable Path output) throws IOException {
    long start = System.nanoTime();
    try (Checkpoint checkpoint = Checkpoint.open(model);
        CalibrationFiles statistics =
            CalibrationFiles.open(
                method.usesGradients() ? gradients : List.of(),
                (method.usesActivations() || owl != null) && activations != null
                    ? List.of(activations)
                    : List.of())) {
      List<LayerPlan> layers = new ArrayList<>();
      List<PruneReport.Untouched> untouched = new ArrayList<>();
      try (PruneStream stream = new PruneStream(threads, progress)) {
        plan(checkpoint, statistics, stream, layers, untouched);
        try (CheckpointWriter writer =
            output == null ? null : CheckpointWriter.create(checkpoint, output, overwrite)) {
          stream.run(writer);
          if (writer != null) {
            writer.commit();
          }
          return new PruneReport(
              model,
              output,
              layers.getFirst().pruner.tier(),
              threads,
              layers.stream().map(LayerPlan::report).toList(),
              untouched,
              writer == null ? List.of() : writer.notCopied(),
              checkpoint.shards().stream().mapToLong(shard -> shard.header().fileSize()).sum(),
              (System.nanoTime() - start) * 1e-9);
        }
      }
    } catch (IOException | RuntimeException e) {
      if (Thread.currentThread().isInterrupted()) {
        InterruptedIOException interrupted =
            new InterruptedIOException(model + ": interrupted while it was pruned");
        interrupted.initCause(e);
        throw interrupted;
      }
      throw e;
    }
  }

  /**
   * Decides about every tensor and checks all that can be checked before the first byte is written.
   */
  private void plan(
      Checkpoint checkpoint,
      CalibrationFiles statistics,
      PruneStream stream,
      List<LayerPlan> layers,
      List<PruneReport.Untouched> untouched)
      throws IOException {
    selection.requireMatches(checkpoint.names());
    List<Candidate> candidates = new ArrayList<>();
    for (SafetensorsFile shard : checkpoint.shards()) {
      for (List<SafetensorsEntry> tied : tied(shard.entries())) {
        candidates.add(new Candidate(shard, tied, reasonToLeave(tied)));
      }
    }
    LayerRatios ownRatios = ownRatios(candidates, statistics);
    for (Candidate candidate : candidates) {
      List<SafetensorsEntry> tied = candidate.tied;
      String reason = candidate.reasonToLeave;
      SafetensorsEntry first = tied.getFirst();
      if (reason == null) {
        LayerPlan layer = plan(candidate.shard, first, statistics, ownRatios);
        layers.add(layer);
        stream.prune(layer);
        reason = "the same bytes as " + first.name() + ", pruned with it";
        tied = tied.subList(1, tied.size());
      } else {
        stream.copy(candidate.shard, first);
      }
      for (SafetensorsEntry entry : tied) {
        untouched.add(new PruneReport.Untouched(entry.name(), reason));
      }
    }
    ownRatios.requireMatches(
        layers.stream().map(layer -> layer.entry.name()).collect(Collectors.toSet()));
    if (layers.isEmpty()) {
      throw new IllegalArgumentException(
          checkpoint.shards().getFirst().path()
              + ": expected a tensor to prune, found none; by default these are matrices NAME.weight in numbered blocks,"
              + " others must be included by name");
    }
  }

  /** Tensors of the same bytes, and why they are left alone, or null. */
  private record Candidate(
      SafetensorsFile shard, List<SafetensorsEntry> tied, @Nullable String reasonToLeave) {}

  private LayerRatios ownRatios(List<Candidate> candidates, CalibrationFiles statistics)
      throws IOException {
    if (owl == null) {
      return ratios == null ? LayerRatios.NONE : LayerRatios.read(ratios);
    }
    if (ratios != null) {
      throw new IllegalArgumentException(
          "owl: expected no table of ratios beside it, got " + ratios);
    }
    double ratio =
        switch (pattern) {
          case Pattern.Unstructured u -> u.ratio();
          case Pattern.Cumulative c -> c.ratio();
          case Pattern.NM nm ->
              throw new IllegalArgumentException(
                  "owl: expected a pattern by ratio, of which every block has its own, got " + nm);
        };
    List<OwlPass.Matrix> matrices = new ArrayList<>();
    for (Candidate candidate : candidates) {
      if (candidate.reasonToLeave == null) {
        SafetensorsEntry entry = candidate.tied.getFirst();
        long columns = entry.shape()[layout == Layout.IN_OUT ? 0 : 1];
        matrices.add(
            new OwlPass.Matrix(
                candidate.shard, entry, statistics.activations(entry.name(), columns)));
      }
    }
    return new OwlPass(owl, layout, tier, threads, progress).find(matrices, ratio);
  }

  /** Tensors of the same bytes together, in the order of the file. */
  private static List<List<SafetensorsEntry>> tied(List<SafetensorsEntry> entries) {
    List<List<SafetensorsEntry>> groups = new ArrayList<>();
    for (SafetensorsEntry entry : entries) {
      if (!groups.isEmpty() && groups.getLast().getFirst().sharesBytesWith(entry)) {
        groups.getLast().add(entry);
      } else {
        groups.add(new ArrayList<>(List.of(entry)));
      }
    }
    return groups;
  }

  /** Why tensors of the same bytes are left alone, or null where all of them are to be pruned. */
  private @Nullable String reasonToLeave(List<SafetensorsEntry> tied) {
    SafetensorsEntry first = tied.getFirst();
    for (SafetensorsEntry entry : tied) {
      String reason = selection.reasonToLeave(entry);
      if (reason != null) {
        return tied.size() == 1 ? reason : "shares its bytes with " + entry.name() + ": " + reason;
      }
      if (entry.type() != first.type() || !Arrays.equals(entry.shape(), first.shape())) {
        return "shares its bytes with " + entry.name() + " of another shape or type";
      }
    }
    return null;
  }

  private LayerPlan plan(
      SafetensorsFile shard,
      SafetensorsEntry entry,
      CalibrationFiles statistics,
      LayerRatios ownRatios)
      throws IOException {
    String name = entry.name();
    long[] shape = entry.shape();
    DType type = DType.valueOf(entry.type().name());
    boolean transposed = layout == Layout.IN_OUT;
    long columns = shape[transposed ? 0 : 1];
    CalibrationFiles.Source activation =
        method.usesActivations() ? statistics.activations(name, columns) : null;
    CalibrationFiles.Source gradient =
        method.usesGradients() ? statistics.gradients(name, shape, method, norm) : null;
    Method used = method;
    if (gradient != null && CalibrationFiles.isZero(gradient)) {
      used = Pruner.withoutGradients(gradient.toString(), method);
      gradient = null;
    }
    Pattern usedPattern = ownRatios.of(name, pattern);
    Pruner.Builder pruner =
        Pruner.builder()
            .method(used)
            .compat(compat)
            .gradientScale(gradientScale)
            .exponent(exponent)
            .preserveMask(preserveMask)
            .tier(tier)
            .pattern(usedPattern);
    boolean whole = transposed || LayerPlan.needsWholeMatrix(used, usedPattern);
    LayerPlan layer =
        new LayerPlan(
            shard,
            entry,
            type,
            transposed,
            pruner.threads(whole ? threads : 1).build(),
            gradient,
            activation);
    layer.pruner.checkColumns(layer.label, columns);
    return layer;
  }

  /** Collects the settings of a {@link CheckpointPruner}. */
  public static final class Builder {
    private Method method = Method.GBLM;
    private @Nullable Pattern pattern;
    private Compat compat = Compat.EXACT;
    private @Nullable Tier tier;
    private int threads = 1;
    private final List<Path> gradients = new ArrayList<>();
    private GradientNorm norm = GradientNorm.L1;
    private @Nullable Path activations;
    private final List<java.util.regex.Pattern> include = new ArrayList<>();
    private final List<java.util.regex.Pattern> exclude = new ArrayList<>();
    private @Nullable Path ratios;
    private @Nullable OwlRatios owl;
    private double gradientScale = Pruner.DEFAULT_GRADIENT_SCALE;
    private double exponent = Pruner.DEFAULT_EXPONENT;
    private boolean preserveMask;
    private Layout layout = Layout.OUT_IN;
    private boolean overwrite;
    private Progress progress = Progress.NONE;

    private Builder() {}

    /** The score; GBLM by default. */
    public Builder method(Method method) {
      this.method = method;
      return this;
    }

    /**
     * What is selected in every layer. The default is half of every row, and for {@link
     * Method#MAGNITUDE} half of the matrix.
     */
    public Builder pattern(Pattern pattern) {
      this.pattern = pattern;
      return this;
    }

    /** Exact selection by default. */
    public Builder compat(Compat compat) {
      this.compat = compat;
      return this;
    }

    /** Demands a tier; the best that can run by default. */
    public Builder tier(@Nullable Tier tier) {
      this.tier = tier;
      return this;
    }

    /** Threads that read, prune and write at a time, at least 1; 1 by default. */
    public Builder threads(int threads) {
      if (threads < 1) {
        throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
      }
      this.threads = threads;
      return this;
    }

    /**
     * Adds a safetensors file, index or directory with gradient statistics of the shape of the
     * weights as stored. {@link Method#WANDA_PLUS_PLUS} takes {@code
     * model.layers.0.mlp.up_proj.grad_regional}, with or without {@code model.}; for the others the
     * keys for {@code model.layers.0.mlp.up_proj.weight}, the first that is there: the name itself;
     * {@code model.layers.0.mlp.up_proj.grad_l1} (or {@code grad_l2}) with or without {@code
     * model.}; {@code mlp.up_proj_layer_0}.
     */
    public Builder gradients(Path file) {
      gradients.add(file);
      return this;
    }

    /** Which gradient statistic the key names; l1 by default. */
    public Builder gradientNorm(GradientNorm norm) {
      this.norm = norm;
      return this;
    }

    /**
     * A safetensors file, index or directory with one value for each input of a layer. Keys for
     * {@code model.layers.0.mlp.up_proj.weight}, the first that is there: {@code
     * model.layers.0.mlp.up_proj.scaler_row} with or without {@code model.}, the mean over the
     * samples of the sum over the tokens of x<sup>2</sup>, whose root is the norm; {@code
     * model.layers.0.mlp.up_proj.weight.column_norm}, or without {@code weight.} or {@code model.},
     * the norm itself.
     */
    public Builder activations(@Nullable Path file) {
      activations = file;
      return this;
    }

    /**
     * Adds a regular expression, sought anywhere in a name. With any, the matrices that match one
     * are pruned, instead of the default.
     *
     * @throws IllegalArgumentException where it is none
     */
    public Builder include(String expression) {
      include.add(LayerSelection.compile("include", expression));
      return this;
    }

    /**
     * Adds a regular expression, sought anywhere in a name; what matches is left alone.
     *
     * @throws IllegalArgumentException where it is none
     */
    public Builder exclude(String expression) {
      exclude.add(LayerSelection.compile("exclude", expression));
      return this;
    }

    /**
     * A CSV table with the columns {@code pattern,ratio}: a regular expression sought anywhere in a
     * name, and the ratio of the layers that match, the first row that does. Layers that match none
     * keep the ratio of the pattern.
     */
    public Builder ratios(@Nullable Path file) {
      ratios = file;
      return this;
    }

    /**
     * Gives every numbered block a ratio of its own by its outliers, which a pass over all matrices
     * finds before; needs {@link #activations}, whatever the method, and a pattern by ratio. Null,
     * the default, for one ratio.
     */
    public Builder owl(@Nullable OwlRatios owl) {
      this.owl = owl;
      return this;
    }

    /** As {@link Pruner.Builder#gradientScale}. */
    public Builder gradientScale(double alpha) {
      Pruner.builder().gradientScale(alpha);
      gradientScale = alpha;
      return this;
    }

    /** As {@link Pruner.Builder#exponent}. */
    public Builder exponent(double a) {
      Pruner.builder().exponent(a);
      exponent = a;
      return this;
    }

    /** As {@link Pruner.Builder#preserveMask}; what was zero before is counted in the report. */
    public Builder preserveMask(boolean preserve) {
      preserveMask = preserve;
      return this;
    }

    /** How the matrices are stored; {@link Layout#OUT_IN} by default. */
    public Builder layout(Layout layout) {
      this.layout = layout;
      return this;
    }

    /** Whether files that stand at the output may be replaced; false by default. */
    public Builder overwrite(boolean overwrite) {
      this.overwrite = overwrite;
      return this;
    }

    /** Receives the advance, in MiB. */
    public Builder progress(Progress progress) {
      this.progress = progress;
      return this;
    }

    /** The pruner. */
    public CheckpointPruner build() {
      return new CheckpointPruner(this);
    }
  }
}
