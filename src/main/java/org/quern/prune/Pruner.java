package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Set;
import java.util.concurrent.atomic.AtomicLong;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Prunes the weights of linear layers: scores every weight, selects the smallest scores of every
 * group, and writes +0.0 over the selected weights. All others keep their bits, whatever the
 * storage type. Immutable, and safe to share between threads.
 *
 * <pre>{@code
 * Pruner pruner = Pruner.builder().method(Method.GBLM).pattern(Pattern.nm(2, 4)).build();
 * pruner.prune(weights, new Statistics(gradients, columnNorms));
 * }</pre>
 *
 * <p>The result is the same for any number of threads and on every tier.
 */
public final class Pruner {
  /** The tiers that this family implements. */
  static final Set<Tier> TIERS = Collections.unmodifiableSet(EnumSet.of(Tier.SCALAR, Tier.VECTOR));

  /**
   * Weights per chunk of rows that a thread claims: small enough to balance, large against a
   * chunk's start.
   */
  private static final long GRAIN = 1 << 20;

  static final float DEFAULT_GRADIENT_SCALE = 100;
  static final double DEFAULT_EXPONENT = 0.5;

  private static final System.Logger LOG = System.getLogger("org.quern");

  private final Method method;
  private final Pattern pattern;
  private final Compat compat;
  private final float gradientScale;
  private final double exponent;
  private final boolean preserveMask;
  private final Tier tier;
  private final int threads;
  private final PruneKernels kernels;

  private Pruner(Builder builder) {
    method = builder.method;
    pattern = builder.pattern != null ? builder.pattern : defaultPattern(method);
    compat = builder.compat;
    gradientScale = builder.gradientScale;
    exponent = builder.exponent;
    preserveMask = builder.preserveMask;
    tier = Capabilities.get().choose(TIERS, builder.tier);
    threads = builder.threads;
    kernels = kernels(tier);
  }

  /** Half of every row, and for the magnitude half of the matrix, as in the published programs. */
  static Pattern defaultPattern(Method method) {
    return Pattern.unstructured(0.5, method == Method.MAGNITUDE ? Group.MATRIX : Group.ROW);
  }

  /** The kernels of a tier. */
  static PruneKernels kernels(Tier tier) {
    return switch (tier) {
      case SCALAR -> ScalarPruneKernels.INSTANCE;
      case VECTOR -> VectorPruneKernels.INSTANCE;
      default ->
          throw new IllegalArgumentException("tier: expected one of " + TIERS + ", got " + tier);
    };
  }

  /** A builder with the method GBLM, 50 % unstructured, the best tier and one thread. */
  public static Builder builder() {
    return new Builder();
  }

  /** The score. */
  public Method method() {
    return method;
  }

  /** What is selected. */
  public Pattern pattern() {
    return pattern;
  }

  /** The arithmetic. */
  public Compat compat() {
    return compat;
  }

  /** The tier that runs. */
  public Tier tier() {
    return tier;
  }

  /**
   * Prunes {@code weights} in place with scratch memory of its own.
   *
   * @return number of weights that were selected and are now zero
   * @see #prune(String, Tensor, Statistics, PruneWorkspace)
   */
  public long prune(Tensor weights, Statistics statistics) {
    try (PruneWorkspace workspace = new PruneWorkspace()) {
      return prune("weights", weights, statistics, workspace);
    }
  }

  /**
   * Prunes {@code weights} in place; allocates nothing once the workspace has grown, with one
   * thread and a pattern by row.
   *
   * @param name how errors name the layer
   * @param weights W, [m, n], F32, F16 or BF16; where an argument is rejected for a value that is
   *     not finite, rows before the one named may have been pruned
   * @param statistics what the method needs
   * @return number of weights that were selected and are now zero
   * @throws IllegalArgumentException where a shape, type, device or value is not as described; the
   *     message names the layer, the argument and the first offending row and column
   */
  public long prune(String name, Tensor weights, Statistics statistics, PruneWorkspace workspace) {
    Operands o = bind(name, weights, statistics, workspace, true);
    findTerms(o, workspace);
    return run(o, workspace, null);
  }

  /**
   * Prunes rows of a larger matrix in place, for a pattern that selects within rows and a method
   * whose scores take nothing from other rows. Gradients that are zero in all of these rows are
   * used as they are: whether the whole matrix has none is for the caller to find.
   *
   * @param firstRow number of the first row in that matrix, for errors
   * @return number of weights that were selected and are now zero
   */
  long pruneRows(
      String name, Tensor weights, Statistics statistics, long firstRow, PruneWorkspace workspace) {
    Operands o = bind(name, weights, statistics, workspace, true);
    o.firstRow = firstRow;
    return run(o, workspace, null);
  }

  /**
   * The selection without its application.
   *
   * @return U8 [m, ceil(n / 8)] in {@code arena}, rows in whole words of 64 bits: bit b of byte a
   *     of a row is 1 where column 8a + b would be pruned
   * @throws IllegalArgumentException as for {@link #prune(String, Tensor, Statistics,
   *     PruneWorkspace)}
   */
  public Tensor mask(Arena arena, Tensor weights, Statistics statistics) {
    try (PruneWorkspace workspace = new PruneWorkspace()) {
      Operands o = bind("weights", weights, statistics, workspace, false);
      findTerms(o, workspace);
      long stride = bitsStride(o.n);
      MemorySegment bits = arena.allocate(Math.max(1, o.rows * stride), Tensor.ALIGNMENT);
      long[] shape = {o.rows, Math.ceilDiv(o.n, Byte.SIZE)};
      Tensor mask = Tensor.of(bits, DType.U8, stride, shape);
      run(o, workspace, mask);
      return mask;
    }
  }

  /**
   * The scores S of all weights.
   *
   * @return F32 [m, n] in {@code arena}
   * @throws IllegalArgumentException as for {@link #prune(String, Tensor, Statistics,
   *     PruneWorkspace)}
   */
  public Tensor scores(Arena arena, Tensor weights, Statistics statistics) {
    try (PruneWorkspace workspace = new PruneWorkspace()) {
      Operands o = bind("weights", weights, statistics, workspace, false);
      findTerms(o, workspace);
      Tensor scores = Tensor.allocate(arena, DType.F32, o.rows, o.n);
      long rowBytes = (long) o.n * Float.BYTES;
      Parallel.forRanges(
          o.rows,
          grain(o),
          threads,
          (from, to, worker) -> {
            for (long row = from; row < to; row++) {
              MemorySegment out = scores.memory().asSlice(row * rowBytes, rowBytes);
              o.requireFinite(kernels.score(o, row, out, workspace.scratch(worker)));
            }
          });
      return scores;
    }
  }

  /** Receives the scores of one row, F32. */
  interface ScoreVisitor {
    /** Takes scores that are overwritten afterwards. */
    void visit(MemorySegment scores);
  }

  /**
   * Shows the scores of rows of a larger matrix, one row after the other, for a method whose scores
   * take nothing from other rows.
   *
   * @param firstRow number of the first row in that matrix, for errors
   */
  void visitScores(
      String name,
      Tensor weights,
      Statistics statistics,
      long firstRow,
      PruneWorkspace workspace,
      ScoreVisitor visitor) {
    Operands o = bind(name, weights, statistics, workspace, false);
    o.firstRow = firstRow;
    MatrixSelection.RowScores scores = rowScores(o, workspace);
    for (long row = 0; row < o.rows; row++) {
      visitor.visit(scores.of(row, 0).asSlice(0, (long) o.n * Float.BYTES));
    }
  }

  private long run(Operands o, PruneWorkspace workspace, @Nullable Tensor mask) {
    if (o.rows == 0 || o.n == 0) {
      return 0;
    }
    if (preserveMask) {
      PreservedZeros.require(o, pattern);
    }
    return switch (pattern) {
      case Pattern.NM nm -> {
        checkColumns(o.name, o.n);
        pruneRanges(o, nm.prune(), nm.of(), workspace, mask);
        yield o.rows * (o.n / nm.of()) * nm.prune();
      }
      case Pattern.Cumulative cumulative -> pruneCumulative(o, cumulative.ratio(), workspace, mask);
      case Pattern.Unstructured unstructured -> {
        if (unstructured.group() == Group.MATRIX) {
          yield pruneMatrix(o, unstructured.ratio(), workspace, mask);
        }
        int k = (int) (o.n * unstructured.ratio());
        pruneRanges(o, k, WHOLE_ROW, workspace, mask);
        yield o.rows * k;
      }
    };
  }

  private static final int WHOLE_ROW = 0;

  /** Prunes {@code prune} of every {@code of} columns, or of every whole row. */
  private void pruneRanges(
      Operands o, int prune, int of, PruneWorkspace workspace, @Nullable Tensor mask) {
    if (threads == 1) {
      pruneRange(o, prune, of, workspace, mask, 0, o.rows, 0);
    } else {
      Parallel.forRanges(
          o.rows,
          grain(o),
          threads,
          (from, to, worker) -> pruneRange(o, prune, of, workspace, mask, from, to, worker));
    }
  }

  private void pruneRange(
      Operands o,
      int prune,
      int of,
      PruneWorkspace workspace,
      @Nullable Tensor mask,
      long from,
      long to,
      int worker) {
    // Without a mask to keep, all rows share one buffer of selection bits.
    MemorySegment bits = mask == null ? workspace.bits(worker) : mask.memory();
    long bitsRow = mask == null ? from : 0;
    long bitsStride = mask == null ? 0 : mask.rowStride();
    MemorySegment scratch = workspace.scratch(worker);
    o.requireFinite(
        of == WHOLE_ROW
            ? kernels.pruneSmallest(o, prune, from, to, bits, bitsRow, bitsStride, scratch)
            : kernels.pruneGroups(o, prune, of, from, to, bits, bitsRow, bitsStride, scratch));
  }

  /** One threshold for the whole matrix. */
  private long pruneMatrix(
      Operands o, double ratio, PruneWorkspace workspace, @Nullable Tensor mask) {
    long k = (long) ((double) (o.rows * o.n) * ratio);
    MatrixSelection.RowScores scores = rowScores(o, workspace);
    if (k == 0) {
      return pruneNothing(o, scores);
    }
    boolean official = compat == Compat.OFFICIAL;
    MatrixSelection at =
        MatrixSelection.find(scores, o.rows, o.n, official ? k : k - 1, grain(o), threads);
    if (official) {
      return pruneBelow(o, row -> at.threshold, row -> o.n, workspace, mask);
    }
    long ties = k - at.below;
    if (ties == at.equal) {
      return pruneBelow(o, row -> at.threshold, row -> o.n, workspace, mask);
    }
    long[] before = at.equalBefore(scores, o.rows, o.n, grain(o), threads);
    return pruneBelow(
        o, row -> at.threshold, row -> Math.max(0, ties - before[(int) row]), workspace, mask);
  }

  private long pruneCumulative(
      Operands o, double ratio, PruneWorkspace workspace, @Nullable Tensor mask) {
    MatrixSelection.RowScores scores = rowScores(o, workspace);
    if (ratio == 0) {
      return pruneNothing(o, scores);
    }
    float[] thresholds =
        CumulativeSelection.thresholds(scores, o.rows, o.n, ratio, grain(o), threads);
    return pruneBelow(o, row -> thresholds[(int) row], row -> o.n, workspace, mask);
  }

  /** Computes the scores all the same, for the check that they are finite. */
  private static long pruneNothing(Operands o, MatrixSelection.RowScores scores) {
    for (long row = 0; row < o.rows; row++) {
      scores.of(row, 0);
    }
    return 0;
  }

  /** The threshold of a row, negative where the row loses nothing. */
  private interface RowThreshold {
    float of(long row);
  }

  /** How many scores equal to the threshold a row loses. */
  private interface RowTies {
    long of(long row);
  }

  private long pruneBelow(
      Operands o,
      RowThreshold threshold,
      RowTies ties,
      PruneWorkspace workspace,
      @Nullable Tensor mask) {
    AtomicLong pruned = new AtomicLong();
    Parallel.forRanges(
        o.rows,
        grain(o),
        threads,
        (from, to, worker) -> {
          MemorySegment bits = mask == null ? workspace.bits(worker) : mask.memory();
          long bitsStride = mask == null ? 0 : mask.rowStride();
          long count = 0;
          for (long row = from; row < to; row++) {
            float bound = threshold.of(row);
            long equal = bound < 0 ? 0 : ties.of(row);
            kernels.pruneBelow(
                o,
                row,
                Math.max(bound, 0),
                equal,
                bits,
                row * bitsStride,
                workspace.scratch(worker));
            count += countBits(bits, row * bitsStride, o.n);
          }
          pruned.addAndGet(count);
        });
    return pruned.get();
  }

  private MatrixSelection.RowScores rowScores(Operands o, PruneWorkspace workspace) {
    return (row, worker) -> {
      MemorySegment out = workspace.scores(worker);
      o.requireFinite(kernels.score(o, row, out, workspace.scratch(worker)));
      return out;
    };
  }

  private static long grain(Operands o) {
    return Math.max(1, GRAIN / Math.max(1, o.n));
  }

  private static long bitsStride(long n) {
    return Math.ceilDiv(n, Long.SIZE) * Long.BYTES;
  }

  private static long countBits(MemorySegment bits, long offset, int n) {
    long count = 0;
    for (long at = 0; at < bitsStride(n); at += Long.BYTES) {
      count += Long.bitCount(bits.get(JAVA_LONG, offset + at));
    }
    return count;
  }

  /** Checks that rows of {@code n} columns can be pruned by the pattern. */
  void checkColumns(String name, long n) {
    if (pattern instanceof Pattern.NM nm && n % nm.of() != 0) {
      throw new IllegalArgumentException(
          name
              + ": expected columns in whole groups of "
              + nm.of()
              + " for the pattern "
              + nm
              + ", got "
              + n
              + " columns");
    }
  }

  private Operands bind(
      String name,
      Tensor weights,
      Statistics statistics,
      PruneWorkspace workspace,
      boolean inPlace) {
    Operands o = workspace.operands;
    o.bind(name, method, compat, weights, statistics, inPlace);
    o.zerosFirst = preserveMask;
    o.gradientScale = gradientScale;
    workspace.reserve(threads, kernels.scratchBytes(o.n), o.n);
    if (method == Method.RIA) {
      o.c = workspace.powers(o.c, o.n, exponent);
    }
    return o;
  }

  /**
   * Finds what the scores take from the whole matrix; scores without the gradients where all of
   * them are zero.
   */
  private void findTerms(Operands o, PruneWorkspace workspace) {
    if (o.hasOnlyZeroGradients()) {
      o.method = withoutGradients(o.name, method);
      o.halfProducts = false;
    }
    if (o.method == Method.RIA) {
      sumColumns(o, workspace);
    } else if (o.method == Method.PRUNER_ZERO) {
      findGradientRange(o, workspace);
    }
  }

  /**
   * Columns whose sums a thread finds at a time: every sum is taken by one thread, in row order.
   */
  private static final int STRIPE = 512;

  private void sumColumns(Operands o, PruneWorkspace workspace) {
    MemorySegment sums = workspace.columnSums();
    Parallel.forRanges(
        o.n,
        STRIPE,
        threads,
        (from, to, worker) ->
            kernels.columnSums(o, (int) from, (int) to, sums, workspace.scratch(worker)));
    for (int j = 0; j < o.n; j++) {
      if (!Float.isFinite(sums.get(JAVA_FLOAT, (long) j * Float.BYTES))) {
        o.requireFinite();
      }
    }
    o.columnSums = sums;
  }

  private void findGradientRange(Operands o, PruneWorkspace workspace) {
    int[] least = new int[threads];
    int[] most = new int[threads];
    Arrays.fill(least, Integer.MAX_VALUE);
    Parallel.forRanges(
        o.rows,
        grain(o),
        threads,
        (from, to, worker) -> {
          long range = kernels.gradientRange(o, from, to, workspace.scratch(worker));
          least[worker] = Math.min(least[worker], (int) range);
          most[worker] = Math.max(most[worker], (int) (range >>> Integer.SIZE));
        });
    float smallest = Float.intBitsToFloat(Arrays.stream(least).min().getAsInt());
    float largest = Float.intBitsToFloat(Arrays.stream(most).max().getAsInt());
    if (!Float.isFinite(largest)) {
      o.requireFinite();
    }
    o.leastGradient = smallest == largest ? 0 : smallest;
    o.gradientRange = largest - o.leastGradient;
  }

  /** What a layer is pruned by when all of its gradients are zero; logs a warning. */
  static Method withoutGradients(String name, Method method) {
    Method replacement = method.usesActivations() ? Method.WANDA : Method.MAGNITUDE;
    LOG.log(
        System.Logger.Level.WARNING,
        name
            + ": all gradients are zero; pruning by "
            + (replacement == Method.WANDA ? "activations" : "magnitude")
            + " alone");
    return replacement;
  }

  /** All settings that decide about the result. */
  @Override
  public String toString() {
    return method.label()
        + ", "
        + pattern
        + ", "
        + compat
        + ", gradients x "
        + gradientScale
        + ", c^"
        + exponent
        + (preserveMask ? ", preserves zeros" : "");
  }

  /** Collects the settings of a {@link Pruner}. */
  public static final class Builder {
    private Method method = Method.GBLM;
    private @Nullable Pattern pattern;
    private Compat compat = Compat.EXACT;
    private float gradientScale = DEFAULT_GRADIENT_SCALE;
    private double exponent = DEFAULT_EXPONENT;
    private boolean preserveMask;
    private @Nullable Tier tier;
    private int threads = 1;

    private Builder() {}

    /** The score; GBLM by default. */
    public Builder method(Method method) {
      this.method = method;
      return this;
    }

    /**
     * What is selected. The default is half of every row, and for {@link Method#MAGNITUDE} half of
     * the matrix, as in the published programs.
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

    /**
     * The factor alpha of the gradients in {@link Method#WANDA_PLUS_PLUS}, finite and not negative;
     * 100 by default, as published. Other methods do not read it: their statistic has the scale.
     *
     * @throws IllegalArgumentException where it is out of its range
     */
    public Builder gradientScale(double alpha) {
      if (!(alpha >= 0 && alpha <= Float.MAX_VALUE)) {
        throw new IllegalArgumentException(
            "gradient scale: expected a finite factor that is not negative, got " + alpha);
      }
      gradientScale = (float) alpha;
      return this;
    }

    /**
     * The exponent a of the column norms in {@link Method#RIA}, finite and not negative; 0.5 by
     * default, as published.
     *
     * @throws IllegalArgumentException where it is out of its range
     */
    public Builder exponent(double a) {
      if (!(a >= 0 && a < Double.POSITIVE_INFINITY)) {
        throw new IllegalArgumentException(
            "exponent: expected a finite number that is not negative, got " + a);
      }
      exponent = a;
      return this;
    }

    /**
     * Keeps the zeros that the weights have and counts them: every group ends with exactly the
     * zeros that the pattern demands, whatever the scores. A group with more of them is rejected.
     * False by default: then zeros are selected first, too, but a weight that scores 0 without
     * being zero, as all of a dead input column do, is their equal.
     */
    public Builder preserveMask(boolean preserve) {
      preserveMask = preserve;
      return this;
    }

    /** Demands a tier; the best that can run by default. */
    public Builder tier(@Nullable Tier tier) {
      this.tier = tier;
      return this;
    }

    /**
     * Threads that may work at a time, at least 1; 1 by default. The result does not depend on it.
     */
    public Builder threads(int threads) {
      if (threads < 1) {
        throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
      }
      this.threads = threads;
      return this;
    }

    /**
     * The pruner.
     *
     * @throws IllegalStateException where the demanded tier cannot run here
     */
    public Pruner build() {
      return new Pruner(this);
    }
  }
}
