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
import org.quern.runtime.Device;
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

  private static final System.Logger LOG = System.getLogger("org.quern");

  private final Method method;
  private final Pattern pattern;
  private final Compat compat;
  private final Tier tier;
  private final int threads;
  private final PruneKernels kernels;

  private Pruner(Builder builder) {
    method = builder.method;
    pattern = builder.pattern != null ? builder.pattern : defaultPattern(method);
    compat = builder.compat;
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
    replaceZeroGradients(name, o);
    return run(name, o, workspace, null);
  }

  /**
   * Prunes rows of a larger matrix in place, for a pattern that selects within rows. Gradients that
   * are zero in all of these rows are used as they are: whether the whole matrix has none is for
   * the caller to find.
   *
   * @param firstRow number of the first row in that matrix, for errors
   * @return number of weights that were selected and are now zero
   */
  long pruneRows(
      String name, Tensor weights, Statistics statistics, long firstRow, PruneWorkspace workspace) {
    Operands o = bind(name, weights, statistics, workspace, true);
    o.firstRow = firstRow;
    return run(name, o, workspace, null);
  }

  /**
   * The selection without its application.
   *
   * @return U8 [m, ceil(n / 8)] in {@code arena}: bit b of byte a of a row is 1 where column 8a + b
   *     would be pruned
   * @throws IllegalArgumentException as for {@link #prune(String, Tensor, Statistics,
   *     PruneWorkspace)}
   */
  public Tensor mask(Arena arena, Tensor weights, Statistics statistics) {
    check("weights", weights, statistics);
    Tensor mask =
        Tensor.allocate(arena, DType.U8, weights.dim(0), Math.ceilDiv(weights.dim(1), 8L));
    try (PruneWorkspace workspace = new PruneWorkspace()) {
      Operands o = bind("weights", weights, statistics, workspace, false);
      replaceZeroGradients("weights", o);
      run("weights", o, workspace, mask);
    }
    return mask;
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
      replaceZeroGradients("weights", o);
      Tensor scores = Tensor.allocate(arena, DType.F32, o.rows, o.n);
      long rowBytes = (long) o.n * Float.BYTES;
      Parallel.forRanges(
          o.rows,
          grain(o),
          threads,
          (from, to, worker) -> {
            for (long row = from; row < to; row++) {
              MemorySegment out = scores.memory().asSlice(row * rowBytes, rowBytes);
              requireFinite("weights", o, kernels.score(o, row, out, workspace.scratch(worker)));
            }
          });
      return scores;
    }
  }

  private long run(String name, Operands o, PruneWorkspace workspace, @Nullable Tensor mask) {
    if (o.rows == 0 || o.n == 0) {
      return 0;
    }
    return switch (pattern) {
      case Pattern.NM nm -> pruneGroups(name, o, nm, workspace, mask);
      case Pattern.Cumulative cumulative ->
          pruneCumulative(name, o, cumulative.ratio(), workspace, mask);
      case Pattern.Unstructured unstructured ->
          unstructured.group() == Group.ROW
              ? pruneRows(name, o, (int) (o.n * unstructured.ratio()), workspace, mask)
              : pruneMatrix(name, o, unstructured.ratio(), workspace, mask);
    };
  }

  private long pruneGroups(
      String name, Operands o, Pattern.NM nm, PruneWorkspace workspace, @Nullable Tensor mask) {
    checkColumns(name, o.n);
    if (threads == 1) {
      pruneGroups(name, o, nm, workspace, mask, 0, o.rows, 0);
    } else {
      Parallel.forRanges(
          o.rows,
          grain(o),
          threads,
          (from, to, worker) -> pruneGroups(name, o, nm, workspace, mask, from, to, worker));
    }
    return o.rows * (o.n / nm.of()) * nm.prune();
  }

  private void pruneGroups(
      String name,
      Operands o,
      Pattern.NM nm,
      PruneWorkspace workspace,
      @Nullable Tensor mask,
      long from,
      long to,
      int worker) {
    MemorySegment bits = workspace.bits(worker);
    if (mask == null) {
      requireFinite(
          name,
          o,
          kernels.pruneGroups(
              o, nm.prune(), nm.of(), from, to, bits, from, 0, workspace.scratch(worker)));
      return;
    }
    for (long row = from; row < to; row++) {
      requireFinite(
          name,
          o,
          kernels.pruneGroups(
              o, nm.prune(), nm.of(), row, row + 1, bits, row, 0, workspace.scratch(worker)));
      copyBits(bits, mask, row);
    }
  }

  private long pruneRows(
      String name, Operands o, int k, PruneWorkspace workspace, @Nullable Tensor mask) {
    if (threads == 1) {
      pruneRows(name, o, k, workspace, mask, 0, o.rows, 0);
    } else {
      Parallel.forRanges(
          o.rows,
          grain(o),
          threads,
          (from, to, worker) -> pruneRows(name, o, k, workspace, mask, from, to, worker));
    }
    return o.rows * k;
  }

  private void pruneRows(
      String name,
      Operands o,
      int k,
      PruneWorkspace workspace,
      @Nullable Tensor mask,
      long from,
      long to,
      int worker) {
    MemorySegment bits = workspace.bits(worker);
    if (mask == null) {
      requireFinite(
          name, o, kernels.pruneSmallest(o, k, from, to, bits, from, 0, workspace.scratch(worker)));
      return;
    }
    for (long row = from; row < to; row++) {
      requireFinite(
          name,
          o,
          kernels.pruneSmallest(o, k, row, row + 1, bits, row, 0, workspace.scratch(worker)));
      copyBits(bits, mask, row);
    }
  }

  /** One threshold for the whole matrix. */
  private long pruneMatrix(
      String name, Operands o, double ratio, PruneWorkspace workspace, @Nullable Tensor mask) {
    long k = (long) ((double) (o.rows * o.n) * ratio);
    if (k == 0) {
      requireFiniteRows(name, o, workspace);
      return 0;
    }
    boolean official = compat == Compat.OFFICIAL;
    MatrixSelection at =
        MatrixSelection.find(
            rowScores(name, o, workspace), o.rows, o.n, official ? k : k - 1, grain(o), threads);
    long ties = official ? at.equal : k - at.below;
    long[] tiesBefore = ties == at.equal ? null : tiesBefore(name, o, at.threshold, workspace);
    AtomicLong pruned = new AtomicLong();
    applyThresholds(
        o,
        row -> at.threshold,
        row -> tiesBefore == null ? o.n : Math.max(0, ties - tiesBefore[(int) row]),
        workspace,
        mask,
        pruned);
    return pruned.get();
  }

  /** Scores equal to the threshold in all rows before each row. */
  private long[] tiesBefore(String name, Operands o, float threshold, PruneWorkspace workspace) {
    long[] before = new long[Math.toIntExact(o.rows + 1)];
    MatrixSelection.RowScores scores = rowScores(name, o, workspace);
    Parallel.forRanges(
        o.rows,
        grain(o),
        threads,
        (from, to, worker) -> {
          for (long row = from; row < to; row++) {
            MemorySegment values = scores.of(row, worker);
            for (int j = 0; j < o.n; j++) {
              if (values.get(JAVA_FLOAT, (long) j * Float.BYTES) == threshold) {
                before[(int) row + 1]++;
              }
            }
          }
        });
    for (int row = 0; row < o.rows; row++) {
      before[row + 1] += before[row];
    }
    return before;
  }

  /**
   * The share of every row's score sum that gives the ratio, by the bisection of the released Wanda
   * program.
   */
  private long pruneCumulative(
      String name, Operands o, double ratio, PruneWorkspace workspace, @Nullable Tensor mask) {
    if (ratio == 0) {
      requireFiniteRows(name, o, workspace);
      return 0;
    }
    float[][] sorted = new float[Math.toIntExact(o.rows)][];
    MatrixSelection.RowScores scores = rowScores(name, o, workspace);
    Parallel.forRanges(
        o.rows,
        grain(o),
        threads,
        (from, to, worker) -> {
          for (long row = from; row < to; row++) {
            float[] values = new float[o.n];
            MemorySegment.copy(scores.of(row, worker), JAVA_FLOAT, 0, values, 0, o.n);
            Arrays.sort(values);
            sorted[(int) row] = values;
          }
        });
    float[] thresholds = new float[sorted.length];
    double share = 0.4;
    double low = 0;
    double high = 0.8;
    double reached = cumulativeThresholds(sorted, share, thresholds);
    while (Math.abs(reached - ratio) > 0.001 && high - low >= 0.001) {
      if (reached > ratio) {
        high = share;
        share = (share + low) / 2;
      } else {
        low = share;
        share = (share + high) / 2;
      }
      reached = cumulativeThresholds(sorted, share, thresholds);
    }
    AtomicLong pruned = new AtomicLong();
    applyThresholds(o, row -> thresholds[(int) row], row -> o.n, workspace, mask, pruned);
    return pruned.get();
  }

  /** Fills the threshold of every row, -1 where it prunes nothing; returns the sparsity. */
  private static double cumulativeThresholds(float[][] sorted, double share, float[] thresholds) {
    long pruned = 0;
    for (int row = 0; row < sorted.length; row++) {
      float[] values = sorted[row];
      double sum = 0;
      for (float value : values) {
        sum += value;
      }
      float bound = (float) share * (float) sum;
      double running = 0;
      int count = 0;
      while (count < values.length && (float) (running += values[count]) <= bound) {
        count++;
      }
      thresholds[row] = count == 0 ? -1 : values[count - 1];
      while (count > 0 && count < values.length && values[count] == thresholds[row]) {
        count++;
      }
      pruned += count;
    }
    return (double) pruned / ((double) sorted.length * sorted[0].length);
  }

  /** The threshold of a row. */
  private interface RowThreshold {
    float of(long row);
  }

  /** How many scores equal to the threshold a row loses. */
  private interface RowTies {
    long of(long row);
  }

  private void applyThresholds(
      Operands o,
      RowThreshold threshold,
      RowTies ties,
      PruneWorkspace workspace,
      @Nullable Tensor mask,
      AtomicLong pruned) {
    Parallel.forRanges(
        o.rows,
        grain(o),
        threads,
        (from, to, worker) -> {
          MemorySegment bits = workspace.bits(worker);
          long count = 0;
          for (long row = from; row < to; row++) {
            float bound = threshold.of(row);
            // A threshold below every score: nothing to prune, and no score below zero to compare
            // with.
            kernels.pruneBelow(
                o,
                row,
                Math.max(bound, 0),
                bound < 0 ? 0 : ties.of(row),
                bits,
                0,
                workspace.scratch(worker));
            count += countBits(bits, o.n);
            if (mask != null) {
              copyBits(bits, mask, row);
            }
          }
          pruned.addAndGet(count);
        });
  }

  private MatrixSelection.RowScores rowScores(String name, Operands o, PruneWorkspace workspace) {
    return (row, worker) -> {
      MemorySegment out = workspace.scores(worker);
      requireFinite(name, o, kernels.score(o, row, out, workspace.scratch(worker)));
      return out;
    };
  }

  private void requireFiniteRows(String name, Operands o, PruneWorkspace workspace) {
    MatrixSelection.RowScores scores = rowScores(name, o, workspace);
    for (long row = 0; row < o.rows; row++) {
      scores.of(row, 0);
    }
  }

  private static long grain(Operands o) {
    return Math.max(1, GRAIN / Math.max(1, o.n));
  }

  private static void copyBits(MemorySegment bits, Tensor mask, long row) {
    MemorySegment.copy(bits, 0, mask.memory(), row * mask.rowStride(), mask.dim(1));
  }

  private static long countBits(MemorySegment bits, int n) {
    long count = 0;
    for (int word = 0; word < Math.ceilDiv(n, Long.SIZE); word++) {
      count += Long.bitCount(bits.get(JAVA_LONG, (long) word * Long.BYTES));
    }
    return count;
  }

  // Checks.

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

  private void check(String name, Tensor weights, Statistics statistics) {
    checkTensor(name, "weights", weights);
    if (weights.rank() != 2) {
      throw new IllegalArgumentException(
          name + ": expected weights of shape [rows, columns], got " + weights);
    }
    if (weights.dim(1) > Integer.MAX_VALUE / 64) {
      throw new IllegalArgumentException(
          name
              + ": expected at most "
              + Integer.MAX_VALUE / 64
              + " columns, got "
              + weights.dim(1));
    }
    if (method.usesGradients()) {
      Tensor gradients = statistics.gradients();
      if (gradients == null) {
        throw new IllegalArgumentException(
            name + ": the method " + method + " needs gradients, got none");
      }
      checkTensor(name, "gradients", gradients);
      if (gradients.rank() != 2
          || gradients.dim(0) != weights.dim(0)
          || gradients.dim(1) != weights.dim(1)) {
        throw new IllegalArgumentException(
            name
                + ": expected gradients of shape "
                + Arrays.toString(weights.shape())
                + ", got "
                + Arrays.toString(gradients.shape()));
      }
    }
    if (method.usesActivations()) {
      Tensor norms = statistics.columnNorms();
      if (norms == null) {
        throw new IllegalArgumentException(
            name + ": the method " + method + " needs column norms, got none");
      }
      checkTensor(name, "column norms", norms);
      if (norms.type() != DType.F32 || norms.rank() != 1 || norms.dim(0) != weights.dim(1)) {
        throw new IllegalArgumentException(
            name + ": expected column norms F32[" + weights.dim(1) + "], got " + norms);
      }
    }
  }

  private static void checkTensor(String name, String argument, Tensor tensor) {
    if (!tensor.device().equals(Device.CPU)) {
      throw new IllegalArgumentException(
          name + ": expected " + argument + " on the cpu, got " + tensor.device());
    }
    switch (tensor.type()) {
      case F32, F16, BF16 -> {}
      default ->
          throw new IllegalArgumentException(
              name + ": expected " + argument + " of type F32, F16 or BF16, got " + tensor.type());
    }
  }

  private Operands bind(
      String name,
      Tensor weights,
      Statistics statistics,
      PruneWorkspace workspace,
      boolean inPlace) {
    check(name, weights, statistics);
    Operands o = workspace.operands;
    o.method = method;
    o.rows = weights.dim(0);
    o.firstRow = 0;
    o.n = (int) weights.dim(1);
    o.w = weights.memory();
    o.wType = weights.type();
    o.wStride = weights.rowStride() * weights.type().bytes();
    o.inPlace = inPlace;
    o.g = MemorySegment.NULL;
    o.c = MemorySegment.NULL;
    o.gType = DType.F32;
    o.gStride = 0;
    Tensor gradients = statistics.gradients();
    if (method.usesGradients() && gradients != null) {
      o.g = gradients.memory();
      o.gType = gradients.type();
      o.gStride = gradients.rowStride() * gradients.type().bytes();
    }
    Tensor norms = statistics.columnNorms();
    if (method.usesActivations() && norms != null) {
      o.c = norms.memory();
      for (int j = 0; j < o.n; j++) {
        float norm = o.c.get(JAVA_FLOAT, (long) j * Float.BYTES);
        if (!(norm >= 0 && norm < Float.POSITIVE_INFINITY)) {
          throw new IllegalArgumentException(
              name
                  + ": expected column norms that are finite and not negative, got "
                  + norm
                  + " at column "
                  + j);
        }
      }
    }
    o.halfProducts =
        compat == Compat.OFFICIAL
            && o.method == Method.GBLM
            && o.wType == DType.F16
            && o.gType == DType.F16;
    workspace.reserve(threads, kernels.scratchBytes(o.n), o.n);
    return o;
  }

  /** Scores without the gradients where all of them are zero. */
  private void replaceZeroGradients(String name, Operands o) {
    if (method.usesGradients() && allZero(o)) {
      o.method = withoutGradients(name, method);
      o.halfProducts = false;
    }
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

  private static boolean allZero(Operands o) {
    for (long row = 0; row < o.rows; row++) {
      for (int j = 0; j < o.n; j++) {
        if (ScalarPruneKernels.load(o.g, row * o.gStride, o.gType, j) != 0) {
          return false;
        }
      }
    }
    return o.rows > 0 && o.n > 0;
  }

  /** Throws with the first offending weight or gradient where the kernels stopped at a row. */
  private static void requireFinite(String name, Operands o, long row) {
    if (row == PruneKernels.ALL_FINITE) {
      return;
    }
    for (int j = 0; j < o.n; j++) {
      requireFinite(
          name,
          "weights",
          ScalarPruneKernels.load(o.w, row * o.wStride, o.wType, j),
          o.firstRow + row,
          j);
      if (o.method.usesGradients()) {
        requireFinite(
            name,
            "gradients",
            ScalarPruneKernels.load(o.g, row * o.gStride, o.gType, j),
            o.firstRow + row,
            j);
      }
    }
    throw new AssertionError(name + ": row " + row + " was reported as not finite but is");
  }

  private static void requireFinite(
      String name, String argument, float value, long row, int column) {
    if (!Float.isFinite(value)) {
      throw new IllegalArgumentException(
          name
              + ": expected finite "
              + argument
              + ", got "
              + value
              + " at row "
              + row
              + ", column "
              + column);
    }
  }

  /** Collects the settings of a {@link Pruner}. */
  public static final class Builder {
    private Method method = Method.GBLM;
    private @Nullable Pattern pattern;
    private Compat compat = Compat.EXACT;
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
