package org.quern.prune.lm;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.Set;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Forward and backward pass of a {@link LanguageModel}: RMS norm, rotary positions on the two
 * halves of a head, causal attention with shared key and value heads, gated MLP with SiLU (Touvron
 * et al., "LLaMA", arXiv 2302.13971). In binary32; sums over rows and likelihoods in binary64.
 *
 * <p>A pass goes through the model block by block, so that a caller can look at the inputs of a
 * block's linear layers or change its weights on the way, and one block at a time is in memory.
 * Sequences are independent; each is computed by one thread, and results do not depend on the
 * number of threads or of sequences in a call. Scratch memory grows with the length of a sequence
 * and the number of threads, not with the number of sequences. One call at a time.
 */
public final class Decoder implements AutoCloseable {
  private static final Set<Tier> TIERS = EnumSet.of(Tier.SCALAR, Tier.VECTOR);

  /** Bytes of the residual stream that {@link #perplexity} holds at a time. */
  private static final long STREAM_BYTES = 1L << 29;

  private final DecoderShape shape;
  private final int threads;
  private final DecoderKernels kernels;
  private final Arena arena = Arena.ofShared();
  private final Gemm[] products;
  private final BlockPass[] passes;
  private @Nullable Activations activations;

  /** Passes on the best tier; see {@link #Decoder(DecoderShape, int, Tier)}. */
  public Decoder(DecoderShape shape, int threads) {
    this(shape, threads, null);
  }

  /**
   * Passes through blocks of one shape.
   *
   * @param shape the dimensions of the model
   * @param threads most threads that may work at a time, at least 1
   * @param tier tier to compute on, or null for the best
   * @throws IllegalStateException where the tier cannot run here
   */
  public Decoder(DecoderShape shape, int threads, @Nullable Tier tier) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    this.shape = shape;
    this.threads = threads;
    this.kernels = DecoderKernels.of(Capabilities.get().choose(TIERS, tier));
    this.products = new Gemm[threads];
    this.passes = new BlockPass[threads];
    for (int worker = 0; worker < threads; worker++) {
      products[worker] = Gemm.create(arena, 1, tier);
    }
  }

  /**
   * Takes the residual stream through one block, in place.
   *
   * @param hidden F32 [sequences, length, hidden]
   */
  public void forwardBlock(DecoderBlock block, Tensor hidden) {
    Activations a = activations(hidden);
    for (long first = 0; first < hidden.dim(0); first += a.sequences) {
      eachSequence(
          first,
          Math.min(a.sequences, hidden.dim(0) - first),
          (pass, index, slot) -> {
            MemorySegment stream = sequence(hidden, index);
            pass.forward(block, stream, slot);
            pass.advance(block, stream, slot);
          });
    }
  }

  /**
   * Shows the inputs of the linear layers of one block and leaves the residual stream as it is.
   *
   * @param hidden F32 [sequences, length, hidden]
   * @param observer receives every {@link LinearInput}, F32 [some sequences, length, inputs], for
   *     all sequences in order, some at a time; the memory is used again after it returns
   */
  public void observeBlock(
      DecoderBlock block, Tensor hidden, BiConsumer<LinearInput, Tensor> observer) {
    Activations a = activations(hidden);
    for (long first = 0; first < hidden.dim(0); first += a.sequences) {
      long count = Math.min(a.sequences, hidden.dim(0) - first);
      eachSequence(
          first, count, (pass, index, slot) -> pass.forward(block, sequence(hidden, index), slot));
      observer.accept(LinearInput.ATTENTION, a.view(a.attentionInput, count, shape.hidden()));
      observer.accept(LinearInput.ATTENTION_OUTPUT, a.view(a.heads, count, shape.queryWidth()));
      observer.accept(LinearInput.MLP, a.view(a.mlpInput, count, shape.hidden()));
      observer.accept(LinearInput.MLP_OUTPUT, a.view(a.gated, count, shape.mlp()));
    }
  }

  /**
   * Takes the gradient of the residual stream back through one block, in place, and shows what the
   * gradients of its linear layers are made of. The forward pass is computed again.
   *
   * @param hidden the stream in front of the block, F32 [sequences, length, hidden]
   * @param gradient gradient of the loss of each sequence with respect to the stream behind the
   *     block, F32 [sequences, length, hidden]; then with respect to the stream in front of it
   * @param observer receives all seven linear layers for some sequences at a time, those in order;
   *     the memory is used again after it returns
   */
  public void backwardBlock(
      DecoderBlock block, Tensor hidden, Tensor gradient, GradientObserver observer) {
    Activations a = activations(hidden);
    checkStream("gradient", gradient);
    if (gradient.dim(0) != hidden.dim(0) || gradient.dim(1) != hidden.dim(1)) {
      throw new IllegalArgumentException(
          "gradient: expected the shape of hidden, " + hidden + ", got " + gradient);
    }
    for (long first = 0; first < hidden.dim(0); first += a.sequences) {
      long count = Math.min(a.sequences, hidden.dim(0) - first);
      backward(block, hidden, gradient, first, count, observer);
    }
  }

  private void backward(
      DecoderBlock block,
      Tensor hidden,
      Tensor gradient,
      long first,
      long count,
      GradientObserver observer) {
    Activations a = activations(hidden);
    Activations.Gradients g = a.gradients();
    Tensor stream = a.view(sequences(gradient, first, count), count, shape.hidden());
    eachSequence(
        first, count, (pass, index, slot) -> pass.forward(block, sequence(hidden, index), slot));
    observer.accept(LinearInput.DOWN, a.view(a.gated, count, shape.mlp()), stream);
    eachSequence(
        first,
        count,
        (pass, index, slot) -> pass.backwardMlp(block, sequence(gradient, index), slot));
    Tensor mlpInput = a.view(a.mlpInput, count, shape.hidden());
    observer.accept(LinearInput.GATE, mlpInput, a.view(a.gate, count, shape.mlp()));
    observer.accept(LinearInput.UP, mlpInput, a.view(a.up, count, shape.mlp()));
    observer.accept(LinearInput.OUTPUT, a.view(a.heads, count, shape.queryWidth()), stream);
    eachSequence(
        first,
        count,
        (pass, index, slot) ->
            pass.backwardAttention(
                block, sequence(hidden, index), sequence(gradient, index), slot));
    Tensor input = a.view(a.attentionInput, count, shape.hidden());
    observer.accept(LinearInput.QUERY, input, a.view(g.queries, count, shape.queryWidth()));
    observer.accept(LinearInput.KEY, input, a.view(g.keys, count, shape.keyWidth()));
    observer.accept(LinearInput.VALUE, input, a.view(g.values, count, shape.keyWidth()));
  }

  /** One sequence on one thread. */
  private interface SequenceBody {
    void run(BlockPass pass, long index, int slot);
  }

  private void eachSequence(long first, long count, SequenceBody body) {
    Parallel.forRanges(
        count,
        1,
        threads,
        (from, to, worker) -> body.run(passes[worker], first + from, (int) from));
  }

  /**
   * The scores of the next token, from the residual stream behind the last block.
   *
   * @param hidden F32 [sequences, length, hidden]
   * @return F32 [sequences, length, vocabulary] in {@code arena}
   */
  public Tensor logits(Arena arena, OutputLayer output, Tensor hidden) {
    checkStream("hidden", hidden);
    int length = Math.toIntExact(hidden.dim(1));
    Tensor logits = Tensor.allocate(arena, DType.F32, hidden.dim(0), length, shape.vocabulary());
    try (Arena own = Arena.ofShared()) {
      TokenLoss[] losses = losses(own, output, length);
      Parallel.forRanges(
          hidden.dim(0),
          1,
          threads,
          (from, to, worker) ->
              losses[worker].scores(sequence(hidden, from), sequence(logits, from), length));
    }
    return logits;
  }

  /**
   * The loss of every sequence: the mean of {@code -log p(token | tokens before it)}, natural
   * logarithm, over all its tokens but the first.
   *
   * @param hidden the residual stream behind the last block, F32 [sequences, length, hidden]
   * @param tokens token ids, an integer type, [sequences, length], length at least 2
   */
  public double[] losses(OutputLayer output, Tensor hidden, Tensor tokens) {
    return losses(output, hidden, tokens, false);
  }

  /**
   * The loss of every sequence, and its gradient in place of the residual stream: the gradient of
   * each sequence's own mean, not divided by the number of sequences.
   *
   * @param hidden the stream behind the last block, F32 [sequences, length, hidden]; then the
   *     gradient of the loss of each sequence with respect to it
   * @param tokens token ids, an integer type, [sequences, length], length at least 2
   * @return the losses, as {@link #losses}
   */
  public double[] lossGradient(OutputLayer output, Tensor hidden, Tensor tokens) {
    return losses(output, hidden, tokens, true);
  }

  private double[] losses(OutputLayer output, Tensor hidden, Tensor tokens, boolean gradient) {
    checkStream("hidden", hidden);
    TokenIds.check(tokens, 2);
    if (tokens.dim(0) != hidden.dim(0) || tokens.dim(1) != hidden.dim(1)) {
      throw new IllegalArgumentException(
          "tokens: expected the sequences and the length of hidden, " + hidden + ", got " + tokens);
    }
    double[] losses = new double[Math.toIntExact(tokens.dim(0))];
    try (Arena own = Arena.ofShared()) {
      TokenLoss[] workers = losses(own, output, (int) tokens.dim(1));
      Parallel.forRanges(
          losses.length,
          1,
          threads,
          (from, to, worker) -> {
            int[] ids = ids(tokens, from);
            MemorySegment stream = sequence(hidden, from);
            losses[(int) from] =
                gradient
                    ? workers[worker].gradient(stream, ids)
                    : workers[worker].loss(stream, ids);
          });
    }
    return losses;
  }

  private TokenLoss[] losses(Arena arena, OutputLayer output, int length) {
    TokenLoss[] losses = new TokenLoss[threads];
    for (int worker = 0; worker < threads; worker++) {
      losses[worker] = new TokenLoss(arena, shape, kernels, products[worker], output, length);
    }
    return losses;
  }

  private int[] ids(Tensor tokens, long sequence) {
    int[] ids = new int[(int) tokens.dim(1)];
    for (int position = 0; position < ids.length; position++) {
      ids[position] = TokenIds.at(tokens, sequence, position, shape.vocabulary());
    }
    return ids;
  }

  /**
   * How well a model predicts: exp of the mean of {@code -log p(token | tokens before it)}, natural
   * logarithm, over all tokens but the first of every sequence. Reads a model in files once for
   * every half gigabyte of residual stream.
   *
   * @param tokens token ids, an integer type, [sequences, length], length at least 2
   */
  public double perplexity(LanguageModel model, Tensor tokens) throws IOException {
    TokenIds.check(tokens, 2);
    if (tokens.dim(0) < 1) {
      throw new IllegalArgumentException("tokens: expected at least one sequence, got " + tokens);
    }
    long bytes = tokens.dim(1) * shape.hidden() * Float.BYTES;
    long some = Math.max(threads, STREAM_BYTES / bytes);
    double sum = 0;
    for (long first = 0; first < tokens.dim(0); first += some) {
      for (double loss : losses(model, tokens.rows(first, Math.min(tokens.dim(0), first + some)))) {
        sum += loss;
      }
    }
    return Math.exp(sum / tokens.dim(0));
  }

  private double[] losses(LanguageModel model, Tensor tokens) throws IOException {
    try (Arena stream = Arena.ofShared()) {
      Tensor hidden = model.embed(stream, tokens);
      for (int block = 0; block < shape.layers(); block++) {
        try (Arena own = Arena.ofShared()) {
          forwardBlock(model.loadBlock(own, block), hidden);
        }
      }
      try (Arena own = Arena.ofShared()) {
        return losses(model.loadOutput(own), hidden, tokens);
      }
    }
  }

  private void checkStream(String name, Tensor hidden) {
    if (hidden.rank() != 3
        || hidden.type() != DType.F32
        || hidden.dim(2) != shape.hidden()
        || !hidden.isContiguous()) {
      throw new IllegalArgumentException(
          name
              + ": expected contiguous F32[sequences, length, "
              + shape.hidden()
              + "], got "
              + hidden);
    }
  }

  private static MemorySegment sequence(Tensor stack, long index) {
    return sequences(stack, index, 1);
  }

  private static MemorySegment sequences(Tensor stack, long first, long count) {
    long bytes = stack.dim(1) * stack.dim(2) * Float.BYTES;
    return stack.hostMemory().asSlice(first * bytes, count * bytes);
  }

  private Activations activations(Tensor hidden) {
    checkStream("hidden", hidden);
    int length = Math.toIntExact(hidden.dim(1));
    Activations current = activations;
    if (current == null || current.length != length) {
      shape.checkLength(length);
      if (current != null) {
        current.close();
      }
      current = new Activations(shape, length, threads);
      activations = current;
      for (int worker = 0; worker < threads; worker++) {
        passes[worker] = new BlockPass(shape, kernels, products[worker], current);
      }
    }
    return current;
  }

  @Override
  public void close() {
    if (activations != null) {
      activations.close();
    }
    arena.close();
  }
}
