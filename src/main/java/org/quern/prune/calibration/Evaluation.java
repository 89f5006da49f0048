package org.quern.prune.calibration;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import org.quern.prune.lm.Decoder;
import org.quern.prune.lm.DecoderBlock;
import org.quern.prune.lm.LanguageModel;
import org.quern.prune.lm.OutputLayer;
import org.quern.runtime.Progress;
import org.quern.tensor.Tensor;

/**
 * How well a model predicts a text: the mean of {@code -log p(token | tokens before it)}, natural
 * logarithm, over all tokens but the first of every window, and its exponential, the perplexity.
 *
 * @param windows number of windows
 * @param length tokens of each
 * @param loss the mean
 * @param seconds wall time
 */
public record Evaluation(long windows, int length, double loss, double seconds) {
  /** The perplexity. */
  public double perplexity() {
    return Math.exp(loss);
  }

  /** Tokens that were read in a second. */
  public double tokensPerSecond() {
    return windows * length / seconds;
  }

  /** The figures as one JSON object. */
  public JsonObject toJson() {
    JsonObject json = new JsonObject();
    json.addProperty("perplexity", perplexity());
    json.addProperty("loss", loss);
    json.addProperty("windows", windows);
    json.addProperty("length", length);
    json.addProperty("seconds", seconds);
    json.addProperty("tokensPerSecond", tokensPerSecond());
    return json;
  }

  /** Gives the blocks of a model one by one. */
  @FunctionalInterface
  interface Blocks {
    /** The weights of a block, in {@code arena} where they are a copy. */
    DecoderBlock load(Arena arena, int block) throws IOException;
  }

  /**
   * Evaluates a model block by block: in memory are one block, and the output layer at the end; the
   * residual streams of all windows, {@code 4 windows length hidden} bytes, are in a temporary file
   * where they are large.
   *
   * @param windows token ids, an integer type, [windows, length], length at least 2
   * @param scratch directory of the temporary file
   * @param threads most threads that may work at a time, at least 1
   * @param progress receives the advance in windows times blocks
   * @throws IllegalArgumentException where there is no window, or an id is not in the vocabulary
   * @throws java.util.concurrent.CancellationException where the thread is interrupted
   */
  public static Evaluation of(
      LanguageModel model, Tensor windows, Path scratch, int threads, Progress progress)
      throws IOException {
    return of(model, model::loadBlock, windows, scratch, threads, progress);
  }

  /** Evaluates a model with other blocks in the place of its own. */
  static Evaluation of(
      LanguageModel model,
      Blocks source,
      Tensor windows,
      Path scratch,
      int threads,
      Progress progress)
      throws IOException {
    long count = windows.dim(0);
    if (count < 1) {
      throw new IllegalArgumentException("windows: expected at least one, got " + windows);
    }
    long start = System.nanoTime();
    int blocks = model.shape().layers();
    try (StreamStore streams = new StreamStore(scratch);
        Decoder decoder = new Decoder(model.shape(), threads)) {
      ResidualStream stream =
          new ResidualStream(
              decoder, streams.allocate(count, windows.dim(1), model.shape().hidden()), threads);
      Work work = new Work(progress, "evaluating", (blocks + 1L) * count);
      stream.embed(model, windows);
      for (int block = 0; block < blocks; block++) {
        try (Arena own = Arena.ofShared()) {
          stream.forward(source.load(own, block), work);
        }
      }
      double[] sum = new double[1];
      try (Arena own = Arena.ofShared()) {
        OutputLayer output = model.loadOutput(own);
        stream.forSlices(
            work,
            (from, to) -> {
              Tensor hidden = ResidualStream.slice(stream.hidden(), from, to);
              for (double loss : decoder.losses(output, hidden, windows.rows(from, to))) {
                sum[0] += loss;
              }
            });
      }
      return new Evaluation(
          count, (int) windows.dim(1), sum[0] / count, (System.nanoTime() - start) * 1e-9);
    }
  }
}
