package org.quern.prune.calibration;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import org.quern.linalg.Gemm;
import org.quern.prune.Compat;
import org.quern.prune.GradientNorm;
import org.quern.prune.GradientProduct;
import org.quern.prune.GradientScale;
import org.quern.prune.GradientStatistics;
import org.quern.prune.lm.Decoder;
import org.quern.prune.lm.DecoderBlock;
import org.quern.prune.lm.LanguageModel;
import org.quern.prune.lm.LinearInput;
import org.quern.prune.lm.OutputLayer;
import org.quern.runtime.Progress;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Gradient statistics of the linear layers of a dense model: the loss of every calibration sequence
 * by itself, the mean of -log p over its tokens, and its gradient with respect to every weight,
 * joined over the sequences (Das et al., arXiv 2311.04902).
 *
 * <p>A forward pass keeps the residual stream in front of every block; the backward pass then goes
 * from the last block to the first, and each is complete when it was passed. Memory holds the
 * weights of one block and as much for each statistic; the streams of N sequences of T tokens take
 * {@code 4 (L + 1) N T hidden} bytes of a temporary file.
 */
public final class DenseGradients {
  private final LanguageModel model;
  private final Tensor tokens;
  private final GradientNorm norm;
  private final GradientScale scale;
  private final Compat compat;
  private final int threads;
  private final Progress progress;

  /** Where the blocks go that are complete, and come back from when a run was interrupted. */
  interface Sink {
    /** Number of blocks, those in front, that are still to do. */
    int unfinished() throws IOException;

    /**
     * Reads the gradient of the stream behind the last block that is still to do; not called where
     * all are.
     */
    void readStreamGradient(Tensor gradient) throws IOException;

    /**
     * Takes a block that is complete.
     *
     * @param statistics by the name of the layer in the model, as {@code layers.0.mlp.up_proj}
     * @param streamGradient gradient of the stream in front of the block
     */
    void save(int block, Map<String, GradientStatistics> statistics, Tensor streamGradient)
        throws IOException;
  }

  /**
   * Gradients to be taken.
   *
   * @param model the dense model
   * @param tokens calibration sequences as token ids, an integer type, [sequences, length]
   * @param norm how the gradients of the sequences are joined
   * @param scale what they are multiplied with
   * @param compat {@link Compat#OFFICIAL} joins the gradients with the rounding of the released
   *     program; for that the gradient of every sequence is written out
   * @param threads most threads that may work at a time, at least 1
   * @param progress receives the advance in sequences times blocks
   */
  public DenseGradients(
      LanguageModel model,
      Tensor tokens,
      GradientNorm norm,
      GradientScale scale,
      Compat compat,
      int threads,
      Progress progress) {
    this.model = model;
    this.tokens = tokens;
    this.norm = norm;
    this.scale = scale;
    this.compat = compat;
    this.threads = threads;
    this.progress = progress;
  }

  /**
   * Takes the gradients of all blocks and keeps them in memory.
   *
   * @param arena gives the memory of the statistics
   * @return the statistics G by the name of the layer out of {@link LanguageModel#linears},
   *     [outputs, inputs], F32, or F16 as in the released program
   * @throws java.util.concurrent.CancellationException where the thread is interrupted
   */
  public Map<String, Tensor> take(Arena arena) throws IOException {
    Map<String, Tensor> gradients = new HashMap<>();
    try (StreamStore streams = new StreamStore(Path.of(System.getProperty("java.io.tmpdir")))) {
      run(
          streams,
          new Sink() {
            @Override
            public int unfinished() {
              return model.shape().layers();
            }

            @Override
            public void readStreamGradient(Tensor gradient) {
              throw new AssertionError("no block is complete");
            }

            @Override
            public void save(
                int block, Map<String, GradientStatistics> statistics, Tensor streamGradient) {
              statistics.forEach((name, statistic) ->
                  gradients.put(name, statistic.statistic(arena, type(compat))));
            }
          });
    }
    return gradients;
  }

  /** Takes the gradients of the blocks that the sink does not have. */
  void run(StreamStore streams, Sink sink) throws IOException {
    int unfinished = sink.unfinished();
    if (unfinished == 0) {
      return;
    }
    int last = unfinished - 1;
    Tensor[] inputs = new Tensor[unfinished];
    for (int block = 0; block < unfinished; block++) {
      inputs[block] = streams.allocate(tokens.dim(0), tokens.dim(1), model.shape().hidden());
    }
    Tensor gradient = streams.allocate(tokens.dim(0), tokens.dim(1), model.shape().hidden());
    boolean anew = unfinished == model.shape().layers();
    try (Decoder decoder = new Decoder(model.shape(), threads)) {
      int passed = anew ? unfinished : last;
      Work work = new Work(progress, "forward pass", passed * tokens.dim(0));
      new ResidualStream(decoder, inputs[0], threads).embed(model, tokens);
      for (int block = 0; block < passed; block++) {
        Tensor next = block < last ? inputs[block + 1] : gradient;
        next.memory().copyFrom(inputs[block].memory());
        try (Arena own = Arena.ofShared()) {
          new ResidualStream(decoder, next, threads).forward(model.loadBlock(own, block), work);
        }
      }
      if (anew) {
        takeLoss(decoder, new ResidualStream(decoder, gradient, threads));
      } else {
        sink.readStreamGradient(gradient);
      }
      work = new Work(progress, "gradients", unfinished * tokens.dim(0));
      for (int block = last; block >= 0; block--) {
        backward(decoder, block, inputs[block], gradient, work, sink);
      }
    }
  }

  /** Puts the gradient of the loss in the place of the stream behind the last block. */
  private void takeLoss(Decoder decoder, ResidualStream stream) throws IOException {
    Work work = new Work(progress, "loss", stream.sequences());
    try (Arena own = Arena.ofShared()) {
      OutputLayer output = model.loadOutput(own);
      stream.forSlices(
          work,
          (from, to) ->
              decoder.lossGradient(
                  output, ResidualStream.slice(stream.hidden(), from, to), tokens.rows(from, to)));
    }
  }

  private void backward(
      Decoder decoder, int index, Tensor input, Tensor gradient, Work work, Sink sink)
      throws IOException {
    try (Arena own = Arena.ofShared()) {
      DecoderBlock block = model.loadBlock(own, index);
      Map<String, GradientStatistics> statistics =
          statistics(own, block, norm, scale, compat, threads);
      Joiner joiner = joiner(own);
      new ResidualStream(decoder, gradient, threads)
          .forSlices(
              work,
              (from, to) ->
                  decoder.backwardBlock(
                      block,
                      ResidualStream.slice(input, from, to),
                      ResidualStream.slice(gradient, from, to),
                      (linear, inputs, deltas) ->
                          joiner.add(statistic(statistics, index, linear), deltas, inputs)));
      sink.save(index, statistics, gradient);
    }
  }

  /** The statistic of a layer by its name within the block. */
  static GradientStatistics statistic(
      Map<String, GradientStatistics> statistics, int block, String linear) {
    GradientStatistics statistic = statistics.get(LanguageModel.linear(block, linear));
    if (statistic == null) {
      throw new AssertionError(linear);
    }
    return statistic;
  }

  /** Adds the gradients of some sequences to the statistic of a layer. */
  private interface Joiner {
    void add(GradientStatistics statistic, Tensor deltas, Tensor inputs);
  }

  private Joiner joiner(Arena arena) {
    if (compat == Compat.EXACT) {
      return GradientProduct.create(arena, threads)::add;
    }
    Gemm product = Gemm.create(arena, threads);
    return (statistic, deltas, inputs) -> addOneByOne(product, statistic, deltas, inputs);
  }

  private static void addOneByOne(
      Gemm product, GradientStatistics statistic, Tensor deltas, Tensor inputs) {
    int rows = (int) statistic.rows();
    int columns = (int) statistic.columns();
    try (Arena own = Arena.ofShared()) {
      Tensor gradient = Tensor.allocate(own, DType.F32, rows, columns);
      for (long sequence = 0; sequence < deltas.dim(0); sequence++) {
        product.multiply(
            true,
            false,
            rows,
            columns,
            (int) deltas.dim(1),
            1,
            ResidualStream.slice(deltas, sequence, sequence + 1).memory(),
            rows,
            ResidualStream.slice(inputs, sequence, sequence + 1).memory(),
            columns,
            0,
            gradient.memory(),
            columns);
        statistic.add(gradient);
      }
    }
  }

  /** The element type of the statistics: that of the released program, or the exact one. */
  static DType type(Compat compat) {
    return compat == Compat.OFFICIAL ? DType.F16 : DType.F32;
  }

  /** Empty statistics for all linear layers of a block, by their names in the model. */
  static Map<String, GradientStatistics> statistics(
      Arena arena,
      DecoderBlock block,
      GradientNorm norm,
      GradientScale scale,
      Compat compat,
      int threads) {
    Map<String, GradientStatistics> statistics = new LinkedHashMap<>();
    for (LinearInput input : LinearInput.values()) {
      for (String linear : input.linears()) {
        Tensor weights = block.weights(linear);
        statistics.put(
            LanguageModel.linear(block.index(), linear),
            GradientStatistics.builder(weights.dim(0), weights.dim(1))
                .norms(norm)
                .scale(scale)
                .compat(compat)
                .threads(threads)
                .build(arena));
      }
    }
    return statistics;
  }
}
