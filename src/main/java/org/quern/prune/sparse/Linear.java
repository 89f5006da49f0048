package org.quern.prune.sparse;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.Collections;
import java.util.EnumSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A linear layer y = W x + bias over weights W [outputs, inputs] of F32, F16 or BF16 and vectors of
 * F32, for one vector or a batch of them. One vector is multiplied by the weights as they come; a
 * batch by panels of rows that are expanded to F32 once: up to eight vectors by a kernel for few of
 * them, more by {@link Gemm}.
 *
 * <p>Results are the same bits for any number of threads. The sum of n products is off by at most n
 * units of rounding of the sum of their absolute values in the vector tier, in practice a few; the
 * scalar tier sums in double and is off by one rounding.
 *
 * <p>An instance holds scratch memory and serves one call at a time. With more than one thread, the
 * arena of the layer and the memory of all tensors must be open to each of them, as those of {@link
 * Arena#ofShared} are.
 */
public abstract sealed class Linear permits SparseLinear, DenseLinear {
  /** The tiers that can multiply. */
  public static final Set<Tier> TIERS =
      Collections.unmodifiableSet(EnumSet.of(Tier.SCALAR, Tier.VECTOR));

  /** Bytes of weights that a thread takes at a time. */
  private static final long CHUNK = 1 << 18;

  /** Floats of a panel of expanded rows: it stays in a core's own cache. */
  private static final int PANEL = 1 << 17;

  /** Most rows of a panel for few vectors: the panel shares the first-level cache with them. */
  private static final int FEW_ROWS = 4;

  final LinearKernels kernels;
  private final Arena arena;
  private final DType type;
  private final int outputs;
  private final int inputs;
  private final int stride;
  private final @Nullable Tensor bias;
  private final int threads;
  private final @Nullable Tier asked;
  private final Tier tier;
  private final MemorySegment prepared;
  private Panel @Nullable [] panels;

  /** What one thread needs for a batch. */
  private record Panel(MemorySegment rows, Gemm gemm) {}

  Linear(
      Arena arena,
      DType type,
      int outputs,
      int inputs,
      boolean finite,
      @Nullable Tensor bias,
      int threads,
      @Nullable Tier asked) {
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    if (bias != null && (bias.type() != DType.F32 || bias.rank() != 1 || bias.size() != outputs)) {
      throw new IllegalArgumentException("bias: expected F32[" + outputs + "], got " + bias);
    }
    this.arena = arena;
    this.type = type;
    this.outputs = outputs;
    this.inputs = inputs;
    this.stride = LinearKernels.padded(inputs);
    this.bias = bias;
    this.threads = threads;
    this.asked = asked;
    this.tier = Capabilities.get().choose(TIERS, asked);
    // The vector kernels take F16 for finite; a matrix with an infinity or a NaN is rare enough.
    this.kernels =
        tier == Tier.VECTOR && (type != DType.F16 || finite)
            ? VectorLinearKernels.INSTANCE
            : ScalarLinearKernels.INSTANCE;
    long floats = (long) stride * LinearKernels.MOST_VECTORS;
    this.prepared = arena.allocate(Math.max(1, floats * Float.BYTES), Tensor.ALIGNMENT);
  }

  /** Length of y. */
  public final int outputs() {
    return outputs;
  }

  /** Length of x. */
  public final int inputs() {
    return inputs;
  }

  /** Element type of the weights. */
  public final DType type() {
    return type;
  }

  /** The tier that computes. */
  public final Tier tier() {
    return tier;
  }

  /** Bytes of weights that a product reads. */
  public abstract long bytes();

  /** The products of rows {@code [from, to)} with one prepared vector. */
  abstract void product(MemorySegment x, int from, int to, MemorySegment y);

  /** Writes rows {@code [from, to)} as F32, each followed by zeros up to {@code stride} floats. */
  abstract void expand(int from, int to, MemorySegment panel, int stride);

  /**
   * y = W x + bias.
   *
   * @param x F32 [inputs], or [batch, inputs] with any row stride
   * @param y F32 [outputs], or [batch, outputs] with any row stride; does not overlap {@code x}
   * @throws IllegalArgumentException where a type or a shape does not fit
   */
  public final void multiply(Tensor x, Tensor y) {
    checkVectors("x", x, inputs);
    checkVectors("y", y, outputs);
    if (x.rank() != y.rank() || x.rows() != y.rows()) {
      throw new IllegalArgumentException("y: expected as many vectors as x " + x + ", got " + y);
    }
    int batch = Math.toIntExact(x.rows());
    if (outputs == 0 || batch == 0) {
      return;
    }
    try {
      if (batch == 1) {
        multiplyOne(x.hostMemory(), y.hostMemory());
      } else if (batch <= LinearKernels.MOST_VECTORS) {
        multiplyFew(x, y, batch);
      } else {
        multiplyMany(x, y, batch);
      }
    } finally {
      Reference.reachabilityFence(this);
      Reference.reachabilityFence(x);
      Reference.reachabilityFence(y);
    }
  }

  private void multiplyOne(MemorySegment x, MemorySegment y) {
    kernels.prepare(type, x, 0, inputs, prepared);
    if (threads == 1) {
      multiplyOne(0, outputs, y);
      return;
    }
    long grain = Math.max(1, CHUNK * outputs / Math.max(1, bytes()));
    Parallel.forRanges(
        outputs, grain, threads, (from, to, worker) -> multiplyOne((int) from, (int) to, y));
  }

  private void multiplyOne(int from, int to, MemorySegment y) {
    product(prepared, from, to, y);
    addBias(1, from, to, y, 0);
  }

  private void multiplyFew(Tensor x, Tensor y, int batch) {
    for (int b = 0; b < batch; b++) {
      kernels.prepare(
          DType.F32,
          x.hostMemory(),
          b * x.rowStride() * Float.BYTES,
          inputs,
          prepared.asSlice((long) b * stride * Float.BYTES));
    }
    MemorySegment out = y.hostMemory();
    forPanels(
        FEW_ROWS,
        (panel, from, rows) -> {
          kernels.multiplyPanel(
              panel.rows,
              rows,
              stride,
              prepared,
              batch,
              out,
              (long) from * Float.BYTES,
              y.rowStride());
          addBias(batch, from, from + rows, out, y.rowStride());
        });
  }

  private void multiplyMany(Tensor x, Tensor y, int batch) {
    MemorySegment out = y.hostMemory();
    forPanels(
        panelRows(),
        (panel, from, rows) -> {
          panel.gemm.multiply(
              false,
              true,
              batch,
              rows,
              inputs,
              1,
              x.hostMemory(),
              Math.max(1, x.rowStride()),
              panel.rows,
              Math.max(1, stride),
              0,
              out.asSlice((long) from * Float.BYTES),
              y.rowStride());
          addBias(batch, from, from + rows, out, y.rowStride());
        });
  }

  /** Work on a panel that holds {@code rows} rows from {@code from} on. */
  private interface PanelBody {
    void run(Panel panel, int from, int rows);
  }

  /**
   * Expands all rows, panel by panel. Their width does not depend on the number of threads, and
   * neither does any sum.
   */
  private void forPanels(int most, PanelBody body) {
    Panel[] each = panels();
    Parallel.forRanges(
        Math.ceilDiv(outputs, most),
        Math.max(1, CHUNK * outputs / Math.max(1, bytes()) / most),
        threads,
        (first, last, worker) -> {
          for (long i = first; i < last; i++) {
            int from = (int) i * most;
            int rows = Math.min(most, outputs - from);
            expand(from, from + rows, each[worker].rows, stride);
            body.run(each[worker], from, rows);
          }
        });
  }

  private int panelRows() {
    return Math.clamp(PANEL / Math.max(1, stride), 16, 256);
  }

  private Panel[] panels() {
    Panel[] made = panels;
    if (made == null) {
      made = new Panel[threads];
      for (int i = 0; i < threads; i++) {
        long bytes = Math.max(1, (long) panelRows() * stride * Float.BYTES);
        made[i] = new Panel(arena.allocate(bytes, Tensor.ALIGNMENT), Gemm.create(arena, 1, asked));
      }
      panels = made;
    }
    return made;
  }

  private void addBias(int batch, int from, int to, MemorySegment y, long yStride) {
    if (bias == null) {
      return;
    }
    for (int b = 0; b < batch; b++) {
      for (int row = from; row < to; row++) {
        long at = b * yStride + row;
        float value = y.getAtIndex(JAVA_FLOAT, at) + bias.hostMemory().getAtIndex(JAVA_FLOAT, row);
        y.setAtIndex(JAVA_FLOAT, at, value);
      }
    }
  }

  private static void checkVectors(String name, Tensor vectors, int length) {
    if (vectors.type() != DType.F32
        || vectors.rank() < 1
        || vectors.rank() > 2
        || vectors.rowLength() != length) {
      throw new IllegalArgumentException(
          name + ": expected F32[" + length + "] or [batch, " + length + "], got " + vectors);
    }
  }
}
