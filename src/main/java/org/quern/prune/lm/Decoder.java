package org.quern.prune.lm;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.function.BiConsumer;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Forward pass of a {@link LanguageModel}: RMS norm, rotary positions on the two halves of a head,
 * causal attention with shared key and value heads, gated MLP with SiLU (Touvron et al., "LLaMA",
 * arXiv 2302.13971). Products in binary32, norms, softmax and likelihoods in binary64.
 *
 * <p>A pass goes through the model block by block, so that a caller can look at the inputs of a
 * block's linear layers or change its weights on the way. Sequences are independent; each is
 * computed by one thread, and results do not depend on the number of threads. Scratch memory grows
 * with the length of a sequence and the number of threads, not with the number of sequences. One
 * call at a time.
 */
public final class Decoder implements AutoCloseable {
  /** Tokens whose intermediate results are held at a time, at least one sequence per thread. */
  private static final int CHUNK_TOKENS = 2048;

  private final LanguageModel model;
  private final DecoderShape shape;
  private final int threads;
  private final Arena arena = Arena.ofShared();
  private final Gemm[] products;
  private @Nullable Scratch scratch;

  /** A pass over {@code model} on the best tier; see {@link #Decoder(LanguageModel, int, Tier)}. */
  public Decoder(LanguageModel model, int threads) {
    this(model, threads, null);
  }

  /**
   * A pass over {@code model}, which the decoder reads at every call.
   *
   * @param threads most threads that may work at a time, at least 1
   * @param tier tier of the matrix products, or null for the best
   * @throws IllegalStateException where the tier cannot run here
   */
  public Decoder(LanguageModel model, int threads, @Nullable Tier tier) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    this.model = model;
    this.shape = model.shape();
    this.threads = threads;
    this.products = new Gemm[threads];
    for (int worker = 0; worker < threads; worker++) {
      products[worker] = Gemm.create(arena, 1, tier);
    }
  }

  /**
   * The vectors of the tokens, where the residual stream starts.
   *
   * @param tokens token ids, an integer type, [sequences, length]
   * @return F32 [sequences, length, hidden] in {@code arena}
   * @throws IllegalArgumentException where an id is not in the vocabulary
   */
  public Tensor embed(Arena arena, Tensor tokens) {
    checkTokens(tokens);
    long rowBytes = (long) shape.hidden() * Float.BYTES;
    Tensor hidden = Tensor.allocate(arena, DType.F32, tokens.dim(0), tokens.dim(1), shape.hidden());
    for (long i = 0; i < tokens.size(); i++) {
      long id = id(tokens, i / tokens.dim(1), i % tokens.dim(1));
      MemorySegment.copy(
          model.embedding().memory(), id * rowBytes, hidden.memory(), i * rowBytes, rowBytes);
    }
    return hidden;
  }

  private void checkTokens(Tensor tokens) {
    if (tokens.rank() != 2 || tokens.type().isFloating()) {
      throw new IllegalArgumentException(
          "tokens: expected integers [sequences, length], got " + tokens);
    }
  }

  private int id(Tensor tokens, long sequence, long position) {
    long id = tokens.getLong(sequence, position);
    if (id < 0 || id >= shape.vocabulary()) {
      throw new IllegalArgumentException(
          "tokens: expected ids below "
              + shape.vocabulary()
              + ", got "
              + id
              + " in sequence "
              + sequence
              + " at position "
              + position);
    }
    return (int) id;
  }

  /**
   * Takes the residual stream through one block, in place.
   *
   * @param block number of the block, from 0
   * @param hidden F32 [sequences, length, hidden]
   */
  public void forwardBlock(int block, Tensor hidden) {
    run(block, hidden, null);
  }

  /**
   * Shows the inputs of the linear layers of one block and leaves the residual stream as it is.
   *
   * @param block number of the block, from 0
   * @param hidden F32 [sequences, length, hidden]
   * @param observer receives every {@link LinearInput}, F32 [some sequences, length, inputs], for
   *     all sequences in order, some at a time; the memory is used again after it returns
   */
  public void observeBlock(int block, Tensor hidden, BiConsumer<LinearInput, Tensor> observer) {
    run(block, hidden, observer);
  }

  private void run(int block, Tensor hidden, @Nullable BiConsumer<LinearInput, Tensor> observer) {
    checkHidden(hidden);
    if (block < 0 || block >= shape.layers()) {
      throw new IllegalArgumentException(
          "block: expected 0 to " + (shape.layers() - 1) + ", got " + block);
    }
    int length = Math.toIntExact(hidden.dim(1));
    Scratch s = scratch(length);
    Weights w = new Weights(model, block);
    for (long first = 0; first < hidden.dim(0); first += s.sequences) {
      long start = first;
      long count = Math.min(s.sequences, hidden.dim(0) - first);
      Parallel.forRanges(
          count,
          1,
          threads,
          (from, to, worker) -> {
            MemorySegment stream = sequence(hidden, start + from);
            forward(w, stream, s, (int) from, worker, observer == null);
          });
      if (observer != null) {
        observer.accept(LinearInput.ATTENTION, s.view(s.attentionInput, count, shape.hidden()));
        observer.accept(LinearInput.ATTENTION_OUTPUT, s.view(s.heads, count, queryWidth()));
        observer.accept(LinearInput.MLP, s.view(s.mlpInput, count, shape.hidden()));
        observer.accept(LinearInput.MLP_OUTPUT, s.view(s.gate, count, shape.mlp()));
      }
    }
  }

  /** One block over one sequence; without {@code advance} the stream keeps its values. */
  private void forward(
      Weights w, MemorySegment hidden, Scratch s, int slot, int worker, boolean advance) {
    int length = s.length;
    MemorySegment stream = s.of(s.stream, slot, shape.hidden());
    MemorySegment.copy(hidden, 0, stream, 0, stream.byteSize());
    MemorySegment attentionInput = s.of(s.attentionInput, slot, shape.hidden());
    MemorySegment queries = s.of(s.queries, slot, queryWidth());
    MemorySegment keys = s.of(s.keys, slot, keyWidth());
    MemorySegment values = s.of(s.values, slot, keyWidth());
    MemorySegment heads = s.of(s.heads, slot, queryWidth());
    norm(stream, w.attentionNorm, attentionInput, length);
    linear(worker, attentionInput, w.query, queries, length, 0);
    linear(worker, attentionInput, w.key, keys, length, 0);
    linear(worker, attentionInput, w.value, values, length, 0);
    rotate(queries, shape.heads(), s);
    rotate(keys, shape.kvHeads(), s);
    attend(queries, keys, values, heads, s.weights[worker], length, worker);
    linear(worker, heads, w.output, stream, length, 1);

    MemorySegment mlpInput = s.of(s.mlpInput, slot, shape.hidden());
    MemorySegment gate = s.of(s.gate, slot, shape.mlp());
    MemorySegment up = s.of(s.up, slot, shape.mlp());
    norm(stream, w.mlpNorm, mlpInput, length);
    linear(worker, mlpInput, w.gate, gate, length, 0);
    linear(worker, mlpInput, w.up, up, length, 0);
    gate(gate, up, (long) length * shape.mlp());
    if (advance) {
      linear(worker, gate, w.down, stream, length, 1);
      MemorySegment.copy(stream, 0, hidden, 0, stream.byteSize());
    }
  }

  /** out = x W^T + beta out. */
  private void linear(
      int worker, MemorySegment x, Tensor weights, MemorySegment out, int rows, float beta) {
    int outputs = (int) weights.dim(0);
    int inputs = (int) weights.dim(1);
    products[worker].multiply(
        false,
        true,
        rows,
        outputs,
        inputs,
        1,
        x,
        inputs,
        weights.memory(),
        weights.rowStride(),
        beta,
        out,
        outputs);
  }

  /** out = x / rms(x) * gain, row by row. */
  private void norm(MemorySegment x, Tensor gain, MemorySegment out, int rows) {
    int width = shape.hidden();
    for (int row = 0; row < rows; row++) {
      long start = (long) row * width * Float.BYTES;
      double squares = 0;
      for (int i = 0; i < width; i++) {
        double value = x.get(JAVA_FLOAT, start + (long) i * Float.BYTES);
        squares += value * value;
      }
      float scale = (float) (1 / Math.sqrt(squares / width + shape.rmsEpsilon()));
      for (int i = 0; i < width; i++) {
        long at = (long) i * Float.BYTES;
        float value = x.get(JAVA_FLOAT, start + at) * scale * gain.memory().get(JAVA_FLOAT, at);
        out.set(JAVA_FLOAT, start + at, value);
      }
    }
  }

  /** Turns every pair (i, i + half) of a head by position times frequency i. */
  private void rotate(MemorySegment x, int heads, Scratch s) {
    int half = shape.headSize() / 2;
    for (int position = 0; position < s.length; position++) {
      for (int head = 0; head < heads; head++) {
        long start = ((long) position * heads + head) * shape.headSize() * Float.BYTES;
        for (int i = 0; i < half; i++) {
          float cosine = s.cosines[position * half + i];
          float sine = s.sines[position * half + i];
          long low = start + (long) i * Float.BYTES;
          long high = low + (long) half * Float.BYTES;
          float a = x.get(JAVA_FLOAT, low);
          float b = x.get(JAVA_FLOAT, high);
          x.set(JAVA_FLOAT, low, a * cosine - b * sine);
          x.set(JAVA_FLOAT, high, b * cosine + a * sine);
        }
      }
    }
  }

  private void attend(
      MemorySegment queries,
      MemorySegment keys,
      MemorySegment values,
      MemorySegment out,
      MemorySegment weights,
      int length,
      int worker) {
    Gemm product = products[worker];
    int size = shape.headSize();
    int sharing = shape.heads() / shape.kvHeads();
    float scale = (float) (1 / Math.sqrt(size));
    for (int head = 0; head < shape.heads(); head++) {
      long query = (long) head * size * Float.BYTES;
      long key = (long) (head / sharing) * size * Float.BYTES;
      product.multiply(
          false,
          true,
          length,
          length,
          size,
          scale,
          queries.asSlice(query),
          queryWidth(),
          keys.asSlice(key),
          keyWidth(),
          0,
          weights,
          length);
      for (int position = 0; position < length; position++) {
        causalSoftmax(weights, position, length);
      }
      product.multiply(
          false,
          false,
          length,
          size,
          length,
          1,
          weights,
          length,
          values.asSlice(key),
          keyWidth(),
          0,
          out.asSlice(query),
          queryWidth());
    }
  }

  /** Softmax over the positions up to this one; later ones get weight 0. */
  private static void causalSoftmax(MemorySegment scores, int position, int length) {
    long row = (long) position * length * Float.BYTES;
    float largest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i <= position; i++) {
      largest = Math.max(largest, scores.get(JAVA_FLOAT, row + (long) i * Float.BYTES));
    }
    double sum = 0;
    for (int i = 0; i <= position; i++) {
      long at = row + (long) i * Float.BYTES;
      float exponential = (float) Math.exp(scores.get(JAVA_FLOAT, at) - largest);
      scores.set(JAVA_FLOAT, at, exponential);
      sum += exponential;
    }
    for (int i = 0; i < length; i++) {
      long at = row + (long) i * Float.BYTES;
      scores.set(JAVA_FLOAT, at, i <= position ? (float) (scores.get(JAVA_FLOAT, at) / sum) : 0);
    }
  }

  /** gate = silu(gate) up, silu(x) = x / (1 + exp(-x)). */
  private static void gate(MemorySegment gate, MemorySegment up, long count) {
    for (long at = 0; at < count * Float.BYTES; at += Float.BYTES) {
      float x = gate.get(JAVA_FLOAT, at);
      float silu = (float) (x / (1 + Math.exp(-x)));
      gate.set(JAVA_FLOAT, at, silu * up.get(JAVA_FLOAT, at));
    }
  }

  /**
   * The scores of the next token, from the residual stream behind the last block.
   *
   * @param hidden F32 [sequences, length, hidden]
   * @return F32 [sequences, length, vocabulary] in {@code arena}
   */
  public Tensor logits(Arena arena, Tensor hidden) {
    checkHidden(hidden);
    int length = Math.toIntExact(hidden.dim(1));
    Scratch s = scratch(length);
    Tensor logits = Tensor.allocate(arena, DType.F32, hidden.dim(0), length, shape.vocabulary());
    Parallel.forRanges(
        hidden.dim(0),
        1,
        threads,
        (from, to, worker) -> logits(sequence(hidden, from), sequence(logits, from), s, worker));
    return logits;
  }

  private void logits(MemorySegment hidden, MemorySegment out, Scratch s, int worker) {
    MemorySegment normed = s.of(s.attentionInput, worker, shape.hidden());
    norm(hidden, model.norm(), normed, s.length);
    linear(worker, normed, model.head(), out, s.length, 0);
  }

  /**
   * How well the model predicts: exp of the mean of -log p(token | tokens before it), natural
   * logarithm, over all tokens but the first of every sequence.
   *
   * @param tokens token ids, an integer type, [sequences, length], length at least 2
   */
  public double perplexity(Tensor tokens) {
    checkTokens(tokens);
    if (tokens.dim(0) < 1 || tokens.dim(1) < 2) {
      throw new IllegalArgumentException(
          "tokens: expected at least one sequence of at least 2 tokens, got " + tokens);
    }
    int length = Math.toIntExact(tokens.dim(1));
    Scratch s = scratch(length);
    double sum = 0;
    for (long first = 0; first < tokens.dim(0); first += s.sequences) {
      Tensor some = tokens.rows(first, Math.min(tokens.dim(0), first + s.sequences));
      try (Arena chunk = Arena.ofShared()) {
        Tensor hidden = embed(chunk, some);
        for (int block = 0; block < shape.layers(); block++) {
          forwardBlock(block, hidden);
        }
        Tensor logits = logits(chunk, hidden);
        for (double surprise : surprises(logits, some)) {
          sum += surprise;
        }
      }
    }
    return Math.exp(sum / ((double) tokens.dim(0) * (length - 1)));
  }

  /** The sum of -log p per sequence. */
  private double[] surprises(Tensor logits, Tensor tokens) {
    int length = (int) tokens.dim(1);
    double[] sums = new double[(int) tokens.dim(0)];
    Parallel.forRanges(
        sums.length,
        1,
        threads,
        (from, to, worker) -> {
          MemorySegment scores = sequence(logits, from);
          for (int position = 0; position < length - 1; position++) {
            int next = id(tokens, from, position + 1);
            sums[(int) from] += surprise(scores, (long) position * shape.vocabulary(), next);
          }
        });
    return sums;
  }

  private double surprise(MemorySegment scores, long first, int token) {
    float largest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < shape.vocabulary(); i++) {
      largest = Math.max(largest, scores.getAtIndex(JAVA_FLOAT, first + i));
    }
    double sum = 0;
    for (int i = 0; i < shape.vocabulary(); i++) {
      sum += Math.exp(scores.getAtIndex(JAVA_FLOAT, first + i) - largest);
    }
    return Math.log(sum) + largest - scores.getAtIndex(JAVA_FLOAT, first + token);
  }

  private void checkHidden(Tensor hidden) {
    if (hidden.rank() != 3
        || hidden.type() != DType.F32
        || hidden.dim(2) != shape.hidden()
        || !hidden.isContiguous()) {
      throw new IllegalArgumentException(
          "hidden: expected contiguous F32[sequences, length, "
              + shape.hidden()
              + "], got "
              + hidden);
    }
  }

  private static MemorySegment sequence(Tensor stack, long index) {
    long bytes = stack.dim(1) * stack.dim(2) * Float.BYTES;
    return stack.hostMemory().asSlice(index * bytes, bytes);
  }

  private int queryWidth() {
    return shape.heads() * shape.headSize();
  }

  private int keyWidth() {
    return shape.kvHeads() * shape.headSize();
  }

  private Scratch scratch(int length) {
    Scratch current = scratch;
    if (current == null || current.length != length) {
      if (current != null) {
        current.arena.close();
      }
      current = new Scratch(length);
      scratch = current;
    }
    return current;
  }

  @Override
  public void close() {
    if (scratch != null) {
      scratch.arena.close();
    }
    arena.close();
  }

  /** The tensors of one block. */
  private static final class Weights {
    final Tensor attentionNorm;
    final Tensor query;
    final Tensor key;
    final Tensor value;
    final Tensor output;
    final Tensor mlpNorm;
    final Tensor gate;
    final Tensor up;
    final Tensor down;

    Weights(LanguageModel model, int block) {
      attentionNorm = model.ofBlock(block, "input_layernorm");
      query = model.ofBlock(block, "self_attn.q_proj");
      key = model.ofBlock(block, "self_attn.k_proj");
      value = model.ofBlock(block, "self_attn.v_proj");
      output = model.ofBlock(block, "self_attn.o_proj");
      mlpNorm = model.ofBlock(block, "post_attention_layernorm");
      gate = model.ofBlock(block, "mlp.gate_proj");
      up = model.ofBlock(block, "mlp.up_proj");
      down = model.ofBlock(block, "mlp.down_proj");
    }
  }

  /** Intermediate results of a chunk of sequences of one length. */
  private final class Scratch {
    final Arena arena = Arena.ofShared();
    final int length;
    final int sequences;
    final MemorySegment stream;
    final MemorySegment attentionInput;
    final MemorySegment queries;
    final MemorySegment keys;
    final MemorySegment values;
    final MemorySegment heads;
    final MemorySegment mlpInput;
    final MemorySegment gate;
    final MemorySegment up;
    final MemorySegment[] weights = new MemorySegment[threads];
    final float[] cosines;
    final float[] sines;

    Scratch(int length) {
      this.length = length;
      sequences = Math.max(threads, CHUNK_TOKENS / Math.max(1, length));
      stream = allocate(shape.hidden());
      attentionInput = allocate(shape.hidden());
      queries = allocate(queryWidth());
      keys = allocate(keyWidth());
      values = allocate(keyWidth());
      heads = allocate(queryWidth());
      mlpInput = allocate(shape.hidden());
      gate = allocate(shape.mlp());
      up = allocate(shape.mlp());
      Arrays.setAll(
          weights,
          worker -> arena.allocate((long) length * length * Float.BYTES, Tensor.ALIGNMENT));
      int half = shape.headSize() / 2;
      cosines = new float[length * half];
      sines = new float[length * half];
      for (int position = 0; position < length; position++) {
        for (int i = 0; i < half; i++) {
          double angle = position * Math.pow(shape.ropeTheta(), -2.0 * i / shape.headSize());
          cosines[position * half + i] = (float) Math.cos(angle);
          sines[position * half + i] = (float) Math.sin(angle);
        }
      }
    }

    private MemorySegment allocate(int width) {
      return arena.allocate((long) sequences * length * width * Float.BYTES, Tensor.ALIGNMENT);
    }

    /** The part of one sequence of the chunk. */
    MemorySegment of(MemorySegment all, int slot, int width) {
      long bytes = (long) length * width * Float.BYTES;
      return all.asSlice(slot * bytes, bytes);
    }

    /** The first sequences of the chunk as a tensor. */
    Tensor view(MemorySegment all, long count, int width) {
      return Tensor.of(all, DType.F32, count, length, width);
    }
  }
}
