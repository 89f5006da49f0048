package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Means and sums of the columns of rows that come in any number of batches: the vectors a and g of
 * a layer from its inputs and output gradients ({@link Accounting} gives limits and factors). Keeps
 * one binary64 sum for a column and nothing for a row. Every sum runs over the rows in their order,
 * so that the result does not depend on how they are cut into batches, nor on the tier or the
 * number of threads. Allocates nothing per call on one thread. Serves one call at a time.
 *
 * <p>A NaN or an infinity among the entries reaches the result, where {@link InverseFactor#update}
 * refuses it.
 */
public final class ColumnMeans {
  /** Columns that one thread takes at a time: runs of rows long enough to stream. */
  private static final int GRAIN = 512;

  private final CaptureKernels kernels;
  private final int columns;
  private final int threads;
  private final double[] sums;
  private final MemorySegment[] scratch;
  private double ones;
  private long rows;

  private ColumnMeans(Arena arena, int columns, int threads, CaptureKernels kernels) {
    this.kernels = kernels;
    this.columns = columns;
    this.threads = threads;
    this.sums = new double[columns];
    int workers = Math.min(threads, Math.ceilDiv(columns, GRAIN));
    this.scratch = new MemorySegment[workers];
    for (int i = 0; i < workers; i++) {
      scratch[i] = arena.allocate(kernels.scratchBytes(), Tensor.ALIGNMENT);
    }
  }

  /** Sums without rows, for one thread on the best tier. */
  public static ColumnMeans create(Arena arena, int columns) {
    return create(arena, columns, 1, null);
  }

  /**
   * Sums without rows.
   *
   * @param arena gives the memory
   * @param columns columns of the rows, at least 1
   * @param threads greatest number of threads, at least 1; needs a shared arena above 1
   * @param tier the tier to use, or null for the best
   * @throws IllegalArgumentException where a number is out of its range
   * @throws IllegalStateException where the tier cannot run here
   */
  public static ColumnMeans create(Arena arena, int columns, int threads, @Nullable Tier tier) {
    if (columns < 1) {
      throw new IllegalArgumentException("columns: expected at least 1, got " + columns);
    }
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    return new ColumnMeans(arena, columns, threads, kernels(tier));
  }

  static CaptureKernels kernels(@Nullable Tier tier) {
    return Capabilities.get().choose(InverseFactor.TIERS, tier) == Tier.VECTOR
        ? VectorCaptureKernels.INSTANCE
        : ScalarCaptureKernels.INSTANCE;
  }

  /** Adds rows as they are; see {@link #add(Tensor, double)}. */
  public void add(Tensor batch) {
    add(batch, Double.POSITIVE_INFINITY);
  }

  /**
   * Adds rows, every entry clamped to {@code [-limit, limit]}.
   *
   * @param batch F32, F16 or BF16, of any number of dimensions, the last of them the columns
   * @param limit above 0; infinity for none
   * @throws IllegalArgumentException where the type, the number of columns or the limit is not as
   *     described; the sums are as before
   */
  public void add(Tensor batch, double limit) {
    if (batch.rank() == 0 || batch.rowLength() != columns) {
      throw new IllegalArgumentException(
          "batch: expected rows of " + columns + " columns, got " + batch);
    }
    requireFloats("batch", batch);
    requireLimit(limit);
    MemorySegment memory = batch.hostMemory();
    long stride = batch.rowStride() * batch.type().bytes();
    try {
      if (scratch.length == 1) {
        addColumns(memory, stride, batch, limit, 0, columns, 0);
      } else {
        Parallel.forRanges(
            columns,
            GRAIN,
            threads,
            (from, to, worker) ->
                addColumns(memory, stride, batch, limit, (int) from, (int) to, worker));
      }
    } finally {
      Reference.reachabilityFence(batch);
    }
    count(batch.rows(), limit);
  }

  private void addColumns(
      MemorySegment memory, long stride, Tensor batch, double limit, int from, int to, int worker) {
    kernels.addRows(
        memory,
        (long) from * batch.type().bytes(),
        stride,
        batch.type(),
        batch.rows(),
        to - from,
        (float) limit,
        sums,
        from,
        scratch[worker]);
  }

  /**
   * Adds finished sums.
   *
   * @param more one for each column
   * @param count rows that they are the sums of
   * @param limit of every row; acts on the sums where they are those of one row
   */
  void add(double[] more, long count, double limit) {
    for (int j = 0; j < columns; j++) {
      double value = more[j];
      sums[j] += count > 1 ? value : value > limit ? limit : value < -limit ? -limit : value;
    }
    count(count, limit);
  }

  /** A column of ones takes the limit like any other. */
  private void count(long more, double limit) {
    ones += more * Math.min(1, limit);
    rows += more;
  }

  static void requireFloats(String name, Tensor tensor) {
    switch (tensor.type()) {
      case F32, F16, BF16 -> {}
      default ->
          throw new IllegalArgumentException(name + ": expected F32, F16 or BF16, got " + tensor);
    }
  }

  static void requireLimit(double limit) {
    if (!(limit > 0)) {
      throw new IllegalArgumentException("limit: expected a number above 0, got " + limit);
    }
  }

  /** Columns of the rows. */
  public int columns() {
    return columns;
  }

  /** Rows added so far. */
  public long rows() {
    return rows;
  }

  /**
   * Writes the means of the columns.
   *
   * @param out F32, one for each column; or one more, for the column of ones that stands for a bias
   * @throws IllegalArgumentException where {@code out} is not as described
   * @throws IllegalStateException where no row was added
   */
  public void mean(Tensor out) {
    if (rows == 0) {
      throw new IllegalStateException("column means: expected rows, got none");
    }
    write(out, 1.0 / rows);
  }

  /**
   * Writes {@code scale} times the sums of the columns.
   *
   * @param out F32, one for each column; or one more, for a column of ones
   * @throws IllegalArgumentException where {@code out} is not as described
   */
  public void sum(Tensor out, double scale) {
    write(out, scale);
  }

  private void write(Tensor out, double scale) {
    if (out.type() != DType.F32
        || out.rank() != 1
        || (out.dim(0) != columns && out.dim(0) != columns + 1L)) {
      throw new IllegalArgumentException(
          "out: expected F32 of " + columns + " or " + (columns + 1L) + ", got " + out);
    }
    MemorySegment to = out.hostMemory();
    for (int j = 0; j < columns; j++) {
      to.set(ValueLayout.JAVA_FLOAT, (long) j * Float.BYTES, (float) (scale * sums[j]));
    }
    if (out.dim(0) > columns) {
      to.set(ValueLayout.JAVA_FLOAT, (long) columns * Float.BYTES, (float) (scale * ones));
    }
  }

  /** Forgets all rows. */
  public void reset() {
    Arrays.fill(sums, 0);
    ones = 0;
    rows = 0;
  }

  /**
   * Reads the vectors of a layer from the product {@code [dY | 1]' [X | 1]} of N rows, whose last
   * row is the sum of the inputs and whose last column is the sum of the output gradients: they
   * cost nothing beside the product that gives the gradient of the weights. Without a column of
   * ones behind X there is no g.
   *
   * @param product F32 [d_out + 1, i]; i = d_in + 1 with the column of ones behind X
   * @param rows N
   * @param a F32 [i], receives the mean input, its last entry 1 with the column of ones
   * @param g F32 [d_out], receives the sum of the output gradients; null where it is not wanted or
   *     X has no column of ones
   * @throws IllegalArgumentException where a type or shape is not as described
   */
  public static void fromProduct(Tensor product, long rows, Tensor a, @Nullable Tensor g) {
    if (product.type() != DType.F32 || product.rank() != 2 || product.dim(0) < 1) {
      throw new IllegalArgumentException("product: expected F32 [d_out + 1, i], got " + product);
    }
    if (rows < 1) {
      throw new IllegalArgumentException("rows: expected at least 1, got " + rows);
    }
    long out = product.dim(0) - 1;
    long in = product.dim(1);
    requireVector("a", a, in);
    MemorySegment from = product.hostMemory();
    long stride = product.rowStride() * Float.BYTES;
    for (long j = 0; j < in; j++) {
      double sum = from.get(ValueLayout.JAVA_FLOAT, out * stride + j * Float.BYTES);
      a.hostMemory().set(ValueLayout.JAVA_FLOAT, j * Float.BYTES, (float) (sum / rows));
    }
    if (g != null) {
      requireVector("g", g, out);
      for (long r = 0; r < out; r++) {
        float sum = from.get(ValueLayout.JAVA_FLOAT, r * stride + (in - 1) * Float.BYTES);
        g.hostMemory().set(ValueLayout.JAVA_FLOAT, r * Float.BYTES, sum);
      }
    }
  }

  static void requireVector(String name, Tensor vector, long length) {
    if (vector.type() != DType.F32 || vector.rank() != 1 || vector.dim(0) != length) {
      throw new IllegalArgumentException(name + ": expected F32 of " + length + ", got " + vector);
    }
  }
}
