package org.quern.prune.calibration;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.function.BiConsumer;
import org.quern.prune.lm.Decoder;
import org.quern.prune.lm.DecoderBlock;
import org.quern.prune.lm.LanguageModel;
import org.quern.prune.lm.LinearInput;
import org.quern.tensor.Tensor;

/**
 * The residual stream of all sequences between two blocks. What is done to it is done to some
 * sequences at a time, so that work on many shows its advance and can be interrupted.
 */
final class ResidualStream {
  /** Tokens of a slice, where a sequence has no more. */
  private static final int SLICE_TOKENS = 4096;

  private final Decoder decoder;
  private final Tensor hidden;
  private final long slice;

  /** Work on some sequences. */
  @FunctionalInterface
  interface Body {
    /** Works on the sequences {@code [from, to)}. */
    void run(long from, long to) throws IOException;
  }

  /**
   * A stream.
   *
   * @param decoder takes it through blocks
   * @param hidden F32 [sequences, length, hidden]
   * @param threads sequences that the decoder works on at a time
   */
  ResidualStream(Decoder decoder, Tensor hidden, int threads) {
    this.decoder = decoder;
    this.hidden = hidden;
    // A multiple of the threads, so that none is idle.
    this.slice = Math.ceilDiv(SLICE_TOKENS, Math.max(1, hidden.dim(1)) * threads) * threads;
  }

  /** What takes it through blocks. */
  Decoder decoder() {
    return decoder;
  }

  /** The values, F32 [sequences, length, hidden]. */
  Tensor hidden() {
    return hidden;
  }

  /** The sequences {@code [from, to)} of a tensor [sequences, length, width]. */
  static Tensor slice(Tensor all, long from, long to) {
    return Tensor.of(
        all.rows(from * all.dim(1), to * all.dim(1)).memory(),
        all.type(),
        to - from,
        all.dim(1),
        all.dim(2));
  }

  /** Number of sequences. */
  long sequences() {
    return hidden.dim(0);
  }

  /** Calls {@code body} for all sequences, some at a time, and advances {@code work} by each. */
  void forSlices(Work work, Body body) throws IOException {
    for (long from = 0; from < sequences(); from += slice) {
      long to = Math.min(sequences(), from + slice);
      body.run(from, to);
      work.advance(to - from);
    }
  }

  /** Starts the stream: the vectors of the tokens. */
  void embed(LanguageModel model, Tensor tokens) throws IOException {
    for (long from = 0; from < sequences(); from += slice) {
      long to = Math.min(sequences(), from + slice);
      try (Arena own = Arena.ofShared()) {
        Tensor vectors = model.embed(own, tokens.rows(from, to));
        slice(hidden, from, to).memory().copyFrom(vectors.memory());
      }
    }
  }

  /** Takes the stream through a block, in place. */
  void forward(DecoderBlock block, Work work) throws IOException {
    forSlices(work, (from, to) -> decoder.forwardBlock(block, slice(hidden, from, to)));
  }

  /**
   * Shows the inputs of the linear layers of a block.
   *
   * @param observer receives every {@link LinearInput}, F32 [some sequences, length, inputs], for
   *     all sequences in order
   */
  void observe(DecoderBlock block, Work work, BiConsumer<LinearInput, Tensor> observer)
      throws IOException {
    forSlices(work, (from, to) -> decoder.observeBlock(block, slice(hidden, from, to), observer));
  }
}
