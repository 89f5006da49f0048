package org.quern.prune.lm;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.prune.sparse.Linear;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Continues a text one token at a time: keys and values of all earlier positions are kept, so that
 * a token costs one product of every matrix with one vector. All matrices are in memory in the type
 * that they are stored in, the linear layers of the blocks also without their zeros.
 *
 * <pre>{@code
 * try (LanguageModel model = LanguageModel.open(path);
 *     Generator generator = Generator.create(model, true, 2048, threads, null)) {
 *   int[] continuation = generator.generate(prompt, 100);
 * }
 * }</pre>
 *
 * <p>The scores are those of {@link Decoder} up to rounding, and the same bits for any number of
 * threads. One call at a time.
 */
public final class Generator implements AutoCloseable {
  /** The tiers that can generate. */
  public static final Set<Tier> TIERS =
      Collections.unmodifiableSet(EnumSet.of(Tier.SCALAR, Tier.VECTOR));

  /** Positions of a prompt that go through the model together. */
  private static final int CHUNK = 128;

  /** Multiply-adds of attention that are worth another thread. */
  private static final long ATTENTION_GRAIN = 1 << 16;

  private final DecoderShape shape;
  private final int positions;
  private final int threads;
  private final Tier tier;
  private final DecoderKernels kernels;
  private final Arena arena;
  private final LinearLoader loader;
  private final Embedding embedding;
  private final List<GeneratorBlock> blocks = new ArrayList<>();
  private final MemorySegment norm;
  private final Linear head;
  private final RotaryTable angles;

  private final MemorySegment stream;
  private final MemorySegment normed;
  private final MemorySegment queries;
  private final MemorySegment heads;
  private final MemorySegment gate;
  private final MemorySegment up;
  private final MemorySegment gated;
  private final MemorySegment added;
  private final MemorySegment[] weights;
  private final Tensor scores;

  private int position;

  /**
   * Loads a model for generation.
   *
   * @param model in memory or in files; it stays open until the generator is closed
   * @param sparse whether linear layers that are pruned enough are packed without their zeros
   * @param positions most tokens of prompt and continuation together
   * @param threads most threads that may work at a time, at least 1
   * @param tier tier to compute on, or null for the best
   * @throws IllegalStateException where the tier cannot run here
   */
  public static Generator create(
      LanguageModel model, boolean sparse, int positions, int threads, @Nullable Tier tier)
      throws IOException {
    if (positions < 1 || threads < 1) {
      throw new IllegalArgumentException(
          "expected positions and threads of at least 1, got " + positions + " and " + threads);
    }
    model.shape().checkLength(positions);
    LinearLoader loader = new LinearLoader(model, sparse, threads, tier);
    Arena arena = Arena.ofShared();
    try {
      return new Generator(arena, model, loader, positions, threads, tier);
    } catch (IOException | RuntimeException | OutOfMemoryError e) {
      loader.close();
      arena.close();
      throw e;
    }
  }

  private Generator(
      Arena arena,
      LanguageModel model,
      LinearLoader loader,
      int positions,
      int threads,
      @Nullable Tier tier)
      throws IOException {
    this.arena = arena;
    this.shape = model.shape();
    this.positions = positions;
    this.threads = threads;
    this.tier = Capabilities.get().choose(TIERS, tier);
    this.kernels = DecoderKernels.of(this.tier);
    this.loader = loader;
    embedding = model.embedding(arena);
    for (int block = 0; block < shape.layers(); block++) {
      blocks.add(new GeneratorBlock(arena, model, loader, block, positions));
    }
    norm = model.loadNorm(arena).memory();
    head = loader.loadHead();
    angles = RotaryTable.of(arena, shape, positions);
    stream = allocate(shape.hidden());
    normed = allocate(shape.hidden());
    queries = allocate(shape.queryWidth());
    heads = allocate(shape.queryWidth());
    gate = allocate(shape.mlp());
    up = allocate(shape.mlp());
    gated = allocate(shape.mlp());
    added = allocate(shape.hidden());
    weights = new MemorySegment[threads];
    Arrays.setAll(
        weights, worker -> arena.allocate((long) positions * Float.BYTES, Tensor.ALIGNMENT));
    scores = Tensor.allocate(arena, DType.F32, shape.vocabulary());
  }

  private MemorySegment allocate(int width) {
    long rows = Math.min(CHUNK, positions);
    return arena.allocate(rows * width * Float.BYTES, Tensor.ALIGNMENT);
  }

  /** The tier that computes. */
  public Tier tier() {
    return tier;
  }

  /** Number of tokens taken so far. */
  public int position() {
    return position;
  }

  /** Bytes of weights that one token reads. */
  public long weightBytes() {
    return loader.bytes();
  }

  /** How many linear layers are packed without their zeros. */
  public int packedLayers() {
    return loader.packed();
  }

  /** Forgets all tokens. */
  public void reset() {
    position = 0;
  }

  /**
   * Takes the next tokens.
   *
   * @param tokens at least one
   * @return the scores of the token that follows them, F32 [vocabulary]; the memory is used again
   *     by the next call
   * @throws IllegalArgumentException where an id is not in the vocabulary, or there are more tokens
   *     than positions
   */
  public Tensor accept(int... tokens) {
    if (tokens.length == 0) {
      throw new IllegalArgumentException("tokens: expected at least one, got none");
    }
    if (tokens.length > positions - position) {
      throw new IllegalArgumentException(
          "tokens: expected at most "
              + positions
              + " in all, got "
              + tokens.length
              + " after "
              + position);
    }
    for (int i = 0; i < tokens.length; i++) {
      TokenIds.check(tokens[i], 0, position + i, shape.vocabulary());
    }
    for (int start = 0; start < tokens.length; start += CHUNK) {
      advance(Arrays.copyOfRange(tokens, start, Math.min(tokens.length, start + CHUNK)));
    }
    int last = (tokens.length - 1) % CHUNK;
    long row = (long) shape.hidden() * Float.BYTES;
    kernels.norm(
        stream.asSlice(last * row, row), norm, normed, 1, shape.hidden(), shape.rmsEpsilon());
    head.multiply(Tensor.of(normed, DType.F32, shape.hidden()), scores);
    return scores;
  }

  /**
   * Continues a prompt with the token of the highest score, the lowest id among equals, again and
   * again.
   *
   * @param prompt at least one token; follows what was taken before
   * @param count number of tokens to add
   * @return the tokens added, of which the last one is not taken yet
   * @throws IllegalStateException where scores are not finite
   */
  public int[] generate(int[] prompt, int count) {
    int[] added = new int[count];
    for (int i = 0; i < count; i++) {
      added[i] = best(i == 0 ? accept(prompt) : accept(added[i - 1]));
    }
    return added;
  }

  private int best(Tensor of) {
    int best = -1;
    float highest = Float.NEGATIVE_INFINITY;
    for (int i = 0; i < shape.vocabulary(); i++) {
      float score = of.memory().getAtIndex(JAVA_FLOAT, i);
      if (score > highest) {
        best = i;
        highest = score;
      }
      if (Float.isNaN(score)) {
        throw new IllegalStateException(
            "scores: expected numbers, got NaN for token " + i + " at position " + position);
      }
    }
    return Math.max(best, 0);
  }

  /** Takes the tokens of one chunk through all blocks. */
  private void advance(int[] tokens) {
    int count = tokens.length;
    for (int row = 0; row < count; row++) {
      embedding.copy(tokens[row], stream, row);
    }
    for (GeneratorBlock block : blocks) {
      advance(block, count);
    }
    position += count;
  }

  private void advance(GeneratorBlock block, int count) {
    int width = shape.hidden();
    Tensor keys = block.keys.rows(position, position + count);
    kernels.norm(stream, block.attentionNorm, normed, count, width, shape.rmsEpsilon());
    Tensor input = rows(normed, count, width);
    block.query.multiply(input, rows(queries, count, shape.queryWidth()));
    block.key.multiply(input, keys);
    block.value.multiply(input, block.values.rows(position, position + count));
    rotate(queries, shape.heads(), count);
    rotate(keys.memory(), shape.kvHeads(), count);
    attend(block, count);
    block.output.multiply(rows(heads, count, shape.queryWidth()), rows(added, count, width));
    add(count * width);

    kernels.norm(stream, block.mlpNorm, normed, count, width, shape.rmsEpsilon());
    block.gate.multiply(input, rows(gate, count, shape.mlp()));
    block.up.multiply(input, rows(up, count, shape.mlp()));
    kernels.gate(gate, up, gated, count * shape.mlp());
    block.down.multiply(rows(gated, count, shape.mlp()), rows(added, count, width));
    add(count * width);
  }

  private static Tensor rows(MemorySegment memory, int count, int width) {
    return Tensor.of(memory, DType.F32, count, width);
  }

  private void rotate(MemorySegment x, int heads, int count) {
    long done = (long) position * (shape.headSize() / 2) * Float.BYTES;
    kernels.rotate(
        x,
        angles.cosines().asSlice(done),
        angles.sines().asSlice(done),
        count,
        heads,
        shape.headSize(),
        false);
  }

  /** Every head at every new position by itself, over all positions up to its own. */
  private void attend(GeneratorBlock block, int count) {
    int size = shape.headSize();
    long work = (long) (position + count) * size;
    Parallel.forRanges(
        (long) count * shape.heads(),
        Math.max(1, ATTENTION_GRAIN / work),
        threads,
        (from, to, worker) -> {
          for (long i = from; i < to; i++) {
            attend(block, (int) (i / shape.heads()), (int) (i % shape.heads()), weights[worker]);
          }
        });
  }

  private void attend(GeneratorBlock block, int row, int head, MemorySegment weights) {
    int size = shape.headSize();
    int seen = position + row + 1;
    long query = ((long) row * shape.queryWidth() + (long) head * size) * Float.BYTES;
    long key = (long) (head / (shape.heads() / shape.kvHeads())) * size * Float.BYTES;
    float scale = (float) (1 / Math.sqrt(size));
    int stride = shape.keyWidth();
    kernels.score(
        queries.asSlice(query),
        block.keys.memory().asSlice(key),
        stride,
        seen,
        size,
        scale,
        weights);
    kernels.causalSoftmax(weights, 1, seen, seen - 1);
    kernels.mix(
        weights, block.values.memory().asSlice(key), stride, seen, size, heads.asSlice(query));
  }

  /** stream += added. */
  private void add(int n) {
    for (int i = 0; i < n; i++) {
      float sum = stream.getAtIndex(JAVA_FLOAT, i) + added.getAtIndex(JAVA_FLOAT, i);
      stream.setAtIndex(JAVA_FLOAT, i, sum);
    }
  }

  @Override
  public void close() {
    loader.close();
    arena.close();
  }
}
