package org.quern.prune.calibration;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CancellationException;
import org.jspecify.annotations.Nullable;
import org.quern.io.Checkpoint;
import org.quern.io.CheckpointWriter;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.prune.GradientFiles;
import org.quern.prune.GradientNorm;
import org.quern.prune.GradientScale;
import org.quern.prune.LayerPruners;
import org.quern.prune.Method;
import org.quern.prune.PruneReport;
import org.quern.prune.Pruner;
import org.quern.prune.StatisticsOrigin;
import org.quern.prune.lm.DecoderBlock;
import org.quern.prune.lm.LanguageModel;
import org.quern.runtime.Progress;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Calibrates and prunes a decoder on disk: takes the gradients of the dense model where the method
 * needs them, then goes through the blocks, each with the statistics of its inputs behind the
 * pruned blocks before it, prunes its linear layers, refits what is left, and writes a checkpoint
 * with the headers and all other tensors of the input byte for byte. Immutable, and safe to share
 * between threads.
 *
 * <pre>{@code
 * CalibrationReport report =
 *     CalibratedPruning.builder(Path.of("tokens.bin"))
 *         .pruner(Pruner.builder().method(Method.GBLM).pattern(Pattern.nm(2, 4)))
 *         .evaluate(Path.of("test.bin"))
 *         .threads(2)
 *         .build()
 *         .prune(Path.of("llama"), Path.of("llama-2of4"));
 * }</pre>
 *
 * <p>Memory is bounded by one block whatever their number; see docs/prune-calibration.md. A run
 * that ends early leaves a state, and the next with the same settings goes on from there.
 *
 * <p>Source of the order: the released programs of Das et al. (arXiv 2311.04902) and Sun et al.
 * (arXiv 2306.11695).
 */
public final class CalibratedPruning {
  private final Builder settings;
  private final Pruner common;

  private CalibratedPruning(Builder builder) {
    settings = new Builder(builder);
    common = settings.pruner.build();
  }

  /**
   * A builder with GBLM at 50 % per row, refit, 128 sequences of 2048 tokens, seed 0, gradients by
   * the l1 norm, and one thread.
   *
   * @param tokens calibration tokens, as {@link TokenFile} reads them
   */
  public static Builder builder(Path tokens) {
    return new Builder(tokens);
  }

  /**
   * Writes a pruned copy. Whatever fails, and where the calling thread is interrupted, nothing is
   * left at {@code output} but what stood there before; the state stays for the next run.
   *
   * @param model a safetensors file, an index {@code *.safetensors.index.json}, or a directory that
   *     holds either, with the dimensions of the decoder in its metadata or in {@code config.json}
   * @param output the file to write where the model is a single file, else the directory
   * @throws IllegalArgumentException where a setting, statistic or weight is not as described
   * @throws InterruptedIOException where the calling thread is interrupted; it stays marked as
   *     interrupted
   * @throws IOException where a file is not valid or cannot be read or written
   * @throws IllegalStateException where the demanded tier cannot run here
   */
  public CalibrationReport prune(Path model, Path output) throws IOException {
    return run(model, output);
  }

  /**
   * Does everything but write the output. The state is kept only where a directory for it was
   * given.
   */
  public CalibrationReport dryRun(Path model) throws IOException {
    return run(model, null);
  }

  private CalibrationReport run(Path model, @Nullable Path output) throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(model);
        LanguageModel decoder = LanguageModel.open(model);
        Arena arena = Arena.ofShared()) {
      return new Run(model, checkpoint, decoder, arena, output).run();
    } catch (CancellationException | IOException e) {
      if (Thread.currentThread().isInterrupted()) {
        InterruptedIOException interrupted =
            new InterruptedIOException(model + ": interrupted while it was calibrated");
        interrupted.initCause(e);
        throw interrupted;
      }
      throw e;
    }
  }

  /** One run over one model. */
  private final class Run {
    private final long start = System.nanoTime();
    private final Map<String, Double> seconds = new LinkedHashMap<>();
    private final Path model;
    private final Checkpoint checkpoint;
    private final LanguageModel decoder;
    private final Arena arena;
    private final @Nullable Path output;
    private final Tensor tokens;
    private final @Nullable Tensor windows;
    private final LayerPruners layers;

    Run(
        Path model,
        Checkpoint checkpoint,
        LanguageModel decoder,
        Arena arena,
        @Nullable Path output)
        throws IOException {
      this.model = model;
      this.checkpoint = checkpoint;
      this.decoder = decoder;
      this.arena = arena;
      this.output = output;
      TokenizedText text = read(settings.tokens);
      tokens = text.sample(arena, settings.sequences(text), settings.length(text), settings.seed);
      windows = settings.evaluate == null ? null : windows(read(settings.evaluate));
      Set<String> linears = new LinkedHashSet<>();
      decoder.linears().forEach(linear -> linears.add(PrunedBlocks.tensor(linear)));
      layers =
          LayerPruners.of(
              checkpoint,
              linears,
              settings.include,
              settings.exclude,
              settings.ratios,
              common.pattern(),
              pattern -> settings.pruner.pattern(pattern).threads(settings.threads).build());
    }

    private TokenizedText read(Path file) throws IOException {
      return TokenFile.read(file, settings.type, decoder.shape().vocabulary(), arena);
    }

    private Tensor windows(TokenizedText text) {
      int length = (int) tokens.dim(1);
      return text.windows(arena, text.isRows() ? (int) Math.min(length, text.longest()) : length);
    }

    CalibrationReport run() throws IOException {
      CalibrationState state;
      CalibrationReport report;
      try (CheckpointWriter writer =
          output == null ? null : CheckpointWriter.create(checkpoint, output, settings.overwrite)) {
        state =
            CalibrationState.open(
                directory(), blocks(), asked(), origin(), DenseGradients.type(common.compat()));
        PrunedBlocks store = new PrunedBlocks(checkpoint, state, layers.pruners());
        try (StreamStore streams = new StreamStore(state.directory())) {
          Evaluation before = evaluate("evaluation before", decoder::loadBlock, state.directory());
          takeGradients(state, streams);
          int resumed = state.prunedBlocks();
          List<PrunedLayer> pruned = prune(state, store, streams);
          Evaluation after =
              evaluate(
                  "evaluation after",
                  (own, index) -> {
                    DecoderBlock block = decoder.loadBlock(own, index);
                    store.restore(block);
                    return block;
                  },
                  state.directory());
          if (writer != null) {
            write(writer, state);
          }
          report =
              new CalibrationReport(
                  report(pruned, writer),
                  settings.reconstruction,
                  tokens.dim(0),
                  (int) tokens.dim(1),
                  before,
                  after,
                  resumed,
                  seconds);
        }
      }
      if (settings.state == null) {
        state.delete();
      }
      return report;
    }

    private int blocks() {
      return decoder.shape().layers();
    }

    /** Beside the output, so that the same command finds it again. */
    private Path directory() throws IOException {
      if (settings.state != null) {
        return settings.state;
      }
      return output == null
          ? Files.createTempDirectory("quern-calibration")
          : output.resolveSibling(output.getFileName() + ".calibration");
    }

    /** What tells this run from others, for its state. */
    private JsonObject asked() throws IOException {
      JsonObject data = new JsonObject();
      data.addProperty("model", Fingerprint.of(checkpoint));
      data.addProperty("tokens", Fingerprint.of(tokens));
      JsonObject asked = new JsonObject();
      asked.add(CalibrationState.DATA, data);
      if (takesGradients()) {
        JsonObject gradients = new JsonObject();
        gradients.addProperty("norm", settings.norm.name());
        gradients.addProperty("scale", settings.scale.toString());
        gradients.addProperty("compat", common.compat().name());
        asked.add(CalibrationState.OF_GRADIENTS, gradients);
      }
      JsonObject pruning = new JsonObject();
      pruning.addProperty("layers", Fingerprint.of(layers.pruners()));
      pruning.addProperty("reconstruction", settings.reconstruction.label());
      pruning.addProperty("sequential", settings.sequential);
      pruning.addProperty("gradients", Fingerprint.of(settings.gradients));
      asked.add(CalibrationState.OF_PRUNING, pruning);
      return asked;
    }

    private boolean usesGradients() {
      return common.method().usesGradients() && settings.reconstruction != Reconstruction.SPARSEGPT;
    }

    /** True where gradients are taken of the dense model; Wanda++ takes its own in every block. */
    private boolean takesGradients() {
      return usesGradients()
          && settings.gradients.isEmpty()
          && common.method() != Method.WANDA_PLUS_PLUS;
    }

    private StatisticsOrigin origin() throws IOException {
      return new StatisticsOrigin(
          Fingerprint.of(checkpoint) + " " + Fingerprint.of(tokens),
          0,
          tokens.dim(0),
          tokens.size(),
          settings.scale);
    }

    private @Nullable Evaluation evaluate(String phase, Evaluation.Blocks source, Path scratch)
        throws IOException {
      if (windows == null) {
        return null;
      }
      Evaluation evaluation =
          Evaluation.of(decoder, source, windows, scratch, settings.threads, settings.progress);
      seconds.put(phase, evaluation.seconds());
      return evaluation;
    }

    private void takeGradients(CalibrationState state, StreamStore streams) throws IOException {
      if (takesGradients()) {
        long begin = System.nanoTime();
        new DenseGradients(
                decoder,
                tokens,
                settings.norm,
                settings.scale,
                common.compat(),
                settings.threads,
                settings.progress)
            .run(streams, state);
        seconds.put("gradients", (System.nanoTime() - begin) * 1e-9);
      }
    }

    private List<PrunedLayer> prune(CalibrationState state, PrunedBlocks store, StreamStore streams)
        throws IOException {
      long begin = System.nanoTime();
      List<Path> files = takesGradients() ? List.of(state.gradients()) : settings.gradients;
      BlockPruner pruner =
          new BlockPruner(
              common.method(),
              linear -> layers.pruners().get(PrunedBlocks.tensor(linear)),
              settings.reconstruction,
              settings.sequential,
              usesGradients() && files.isEmpty(),
              settings.threads);
      try (GradientFiles gradients =
          GradientFiles.open(usesGradients() ? files : List.of(), common.method(), settings.norm)) {
        return new ModelPruner(pruner, settings.threads, settings.progress)
            .prune(
                arena,
                decoder,
                tokens,
                (own, linear) -> {
                  if (files.isEmpty() || !usesGradients()) {
                    return null;
                  }
                  String weights = PrunedBlocks.tensor(linear);
                  long[] shape = checkpoint.shardOf(weights).entry(weights).shape();
                  return gradients.load(own, weights, shape);
                },
                streams,
                store);
      } finally {
        seconds.put("pruning", (System.nanoTime() - begin) * 1e-9);
      }
    }

    private void write(CheckpointWriter writer, CalibrationState state) throws IOException {
      long begin = System.nanoTime();
      Work work = new Work(settings.progress, "writing tensors", checkpoint.names().size());
      try (Checkpoint pruned = Checkpoint.open(state.pruned())) {
        for (SafetensorsFile shard : checkpoint.shards()) {
          for (SafetensorsEntry entry : shard.entries()) {
            String name = entry.name();
            boolean isPruned = pruned.names().contains(name);
            writer.writer(shard).copy(name, isPruned ? pruned.shardOf(name) : shard);
            work.advance(1);
          }
        }
      }
      writer.commit();
      seconds.put("writing", (System.nanoTime() - begin) * 1e-9);
    }

    private String layerMethod(PrunedLayer layer) {
      return switch (settings.reconstruction) {
        case NONE -> layer.method().label();
        case REFIT -> layer.method().label() + " + refit";
        case SPARSEGPT -> "sparsegpt";
      };
    }

    private PruneReport report(List<PrunedLayer> pruned, @Nullable CheckpointWriter writer)
        throws IOException {
      List<PruneReport.Layer> reports = new ArrayList<>();
      for (PrunedLayer layer : pruned) {
        String name = PrunedBlocks.tensor(layer.name());
        SafetensorsEntry entry = checkpoint.shardOf(name).entry(name);
        reports.add(
            new PruneReport.Layer(
                name,
                Arrays.stream(entry.shape()).boxed().toList(),
                DType.valueOf(entry.type().name()),
                layerMethod(layer),
                layer.pattern(),
                layer.zerosBefore(),
                layer.zerosAfter(),
                layer.seconds()));
      }
      return new PruneReport(
          model,
          output,
          common.tier(),
          settings.threads,
          reports,
          layers.untouched(),
          writer == null ? List.of() : writer.notCopied(),
          checkpoint.shards().stream().mapToLong(shard -> shard.header().fileSize()).sum(),
          (System.nanoTime() - start) * 1e-9);
    }
  }

  /** Collects the settings of a {@link CalibratedPruning}. */
  public static final class Builder {
    private static final int SEQUENCES = 128;

    private final Path tokens;
    private @Nullable TokenType type;
    private int sequences;
    private int length;
    private long seed;
    private Pruner.Builder pruner = Pruner.builder();
    private Reconstruction reconstruction = Reconstruction.REFIT;
    private boolean sequential;
    private List<Path> gradients = new ArrayList<>();
    private GradientNorm norm = GradientNorm.L1;
    private GradientScale scale = GradientScale.OFFICIAL;
    private List<String> include = new ArrayList<>();
    private List<String> exclude = new ArrayList<>();
    private @Nullable Path ratios;
    private @Nullable Path evaluate;
    private @Nullable Path state;
    private boolean overwrite;
    private int threads = 1;
    private Progress progress = Progress.NONE;

    private Builder(Path tokens) {
      this.tokens = tokens;
    }

    private Builder(Builder other) {
      tokens = other.tokens;
      type = other.type;
      sequences = other.sequences;
      length = other.length;
      seed = other.seed;
      pruner = other.pruner;
      reconstruction = other.reconstruction;
      sequential = other.sequential;
      gradients = List.copyOf(other.gradients);
      norm = other.norm;
      scale = other.scale;
      include = List.copyOf(other.include);
      exclude = List.copyOf(other.exclude);
      ratios = other.ratios;
      evaluate = other.evaluate;
      state = other.state;
      overwrite = other.overwrite;
      threads = other.threads;
      progress = other.progress;
    }

    private int sequences(TokenizedText text) {
      if (sequences > 0) {
        return sequences;
      }
      return text.isRows() ? (int) Math.min(SEQUENCES, text.rows()) : SEQUENCES;
    }

    private int length(TokenizedText text) {
      return length > 0 ? length : text.defaultLength();
    }

    /** Type of raw token files; null, the default, for the smaller that suits the vocabulary. */
    public Builder tokenType(@Nullable TokenType type) {
      this.type = type;
      return this;
    }

    /**
     * Number of calibration sequences; the default is 128, or all where the file has fewer rows.
     *
     * @see TokenizedText#sample
     */
    public Builder sequences(int sequences) {
      this.sequences = atLeast(1, "sequences", sequences);
      return this;
    }

    /** Tokens of a sequence; the default is 2048, or where the file has rows a whole row. */
    public Builder length(int length) {
      this.length = atLeast(2, "length", length);
      return this;
    }

    /** Where the cuts of the sequences are drawn from; 0 by default. */
    public Builder seed(long seed) {
      this.seed = seed;
      return this;
    }

    /**
     * Method, pattern and arithmetic of all layers; its pattern is that of the layers for which
     * {@link #ratios} has none, and its threads are replaced by {@link #threads}.
     */
    public Builder pruner(Pruner.Builder pruner) {
      this.pruner = pruner;
      return this;
    }

    /** What becomes of the weights that are kept; {@link Reconstruction#REFIT} by default. */
    public Builder reconstruction(Reconstruction reconstruction) {
      this.reconstruction = reconstruction;
      return this;
    }

    /**
     * Whether the statistics of a layer are taken behind the pruned layers in front of it in the
     * same block, instead of in the dense block; four passes for one. False by default.
     */
    public Builder sequential(boolean sequential) {
      this.sequential = sequential;
      return this;
    }

    /**
     * Adds a file with gradient statistics, under the keys that {@link
     * org.quern.prune.CheckpointPruner.Builder#gradients} names. With any, none are taken of the
     * tokens.
     */
    public Builder gradients(Path file) {
      gradients.add(file);
      return this;
    }

    /** How the gradients of the sequences are joined; l1 by default. */
    public Builder gradientNorm(GradientNorm norm) {
      this.norm = norm;
      return this;
    }

    /** What the gradients are multiplied with; the published factor by default. */
    public Builder gradientScale(GradientScale scale) {
      this.scale = scale;
      return this;
    }

    /** As {@link org.quern.prune.CheckpointPruner.Builder#include}. */
    public Builder include(String expression) {
      include.add(expression);
      return this;
    }

    /** As {@link org.quern.prune.CheckpointPruner.Builder#exclude}. */
    public Builder exclude(String expression) {
      exclude.add(expression);
      return this;
    }

    /** As {@link org.quern.prune.CheckpointPruner.Builder#ratios}. */
    public Builder ratios(@Nullable Path file) {
      ratios = file;
      return this;
    }

    /**
     * Tokens to evaluate the model on before and after, in windows of the length of the calibration
     * sequences; null, the default, for none.
     *
     * @see TokenizedText#windows
     */
    public Builder evaluate(@Nullable Path file) {
      evaluate = file;
      return this;
    }

    /**
     * Directory of the state, which is kept: its gradients serve every later run over the same
     * model and tokens. By default it is beside the output, {@code OUT.calibration}, and deleted
     * when the run is complete.
     */
    public Builder state(@Nullable Path directory) {
      state = directory;
      return this;
    }

    /** Whether files that stand at the output may be replaced; false by default. */
    public Builder overwrite(boolean overwrite) {
      this.overwrite = overwrite;
      return this;
    }

    /** Threads that may work at a time, at least 1; 1 by default. */
    public Builder threads(int threads) {
      this.threads = atLeast(1, "threads", threads);
      return this;
    }

    /** Receives the advance of every phase. */
    public Builder progress(Progress progress) {
      this.progress = progress;
      return this;
    }

    private static int atLeast(int least, String name, int value) {
      if (value < least) {
        throw new IllegalArgumentException(
            name + ": expected at least " + least + ", got " + value);
      }
      return value;
    }

    /**
     * The pruning.
     *
     * @throws IllegalStateException where the demanded tier cannot run here
     */
    public CalibratedPruning build() {
      return new CalibratedPruning(this);
    }
  }
}
