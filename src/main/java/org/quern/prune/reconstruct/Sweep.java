package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.linalg.Gemm;
import org.quern.prune.Pattern;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.Tensor;

/**
 * One sweep of SparseGPT over a layer, block of columns by block. A working copy of the weights
 * holds the errors of the blocks that are done and the weights of the others, so that a product of
 * growing depth brings all errors to some blocks at once, {@code W -= E U}, where they are needed
 * and no earlier: the columns further right are neither read nor written.
 */
final class Sweep {
  /** Rows per chunk: what a thread claims. */
  private static final int GRAIN = 4 * SweepKernels.ROWS;

  /**
   * Blocks that receive the errors of all blocks before them together: a product of 128 columns
   * spends a third of its time on the packing of its left factor. Among themselves they are brought
   * up to date one by one.
   */
  private static final int SPAN = 3;

  private final Weights weights;
  private final HessianFactor factor;
  private final SweepKernels kernels;
  private final int threads;
  private final Gemm gemm;
  private final int rows;
  private final int columns;

  /** The working copy, [rows, columns]. */
  private final MemorySegment work;

  /** U of the block, packed, and the squares of its diagonal. */
  private final MemorySegment upper;

  private final MemorySegment squares;
  private final Scratch[] scratch;

  /** Memory of one thread. */
  private record Scratch(
      MemorySegment panel,
      MemorySegment kept,
      MemorySegment marks,
      MemorySegment losses,
      MemorySegment out) {
    static Scratch allocate(Arena arena) {
      return new Scratch(
          arena.allocate(SweepKernels.PANEL_BYTES, Tensor.ALIGNMENT),
          arena.allocate(SweepKernels.PANEL_BYTES, Tensor.ALIGNMENT),
          arena.allocate(SweepKernels.PANEL_BYTES, Tensor.ALIGNMENT),
          arena.allocate(Float.BYTES * SweepKernels.ROWS, Tensor.ALIGNMENT),
          arena.allocate(SweepKernels.PANEL_BYTES, Tensor.ALIGNMENT));
    }
  }

  /** How the weights of a block are selected. */
  private sealed interface Rule {}

  /** Scores up to a threshold. */
  private record Below(float threshold) implements Rule {}

  /** Some of every run of columns. */
  private record Runs(int prune, int of) implements Rule {}

  /** What a mask says. */
  private record Given(Tensor mask) implements Rule {}

  /**
   * Copies the weights and checks that they are finite.
   *
   * @param arena gives the memory, shared where there are several threads
   */
  Sweep(Arena arena, Weights weights, HessianFactor factor, Tier tier, int threads) {
    this.weights = weights;
    this.factor = factor;
    this.kernels = kernels(tier);
    this.threads = threads;
    this.gemm = Gemm.create(arena, threads, tier);
    rows = weights.rows();
    columns = weights.columns();
    work = arena.allocate(Math.max(1, rowBytes() * rows), Tensor.ALIGNMENT);
    upper = arena.allocate(SweepKernels.UPPER_BYTES, Tensor.ALIGNMENT);
    squares = arena.allocate(Float.BYTES * SweepKernels.WIDTH, Tensor.ALIGNMENT);
    scratch = new Scratch[threads];
    for (int worker = 0; worker < threads; worker++) {
      scratch[worker] = Scratch.allocate(arena);
    }
    for (long row = 0; row < rows; row++) {
      weights.load(row, work, row * rowBytes());
    }
  }

  static SweepKernels kernels(Tier tier) {
    return switch (tier) {
      case VECTOR -> VectorSweepKernels.INSTANCE;
      default -> ScalarSweepKernels.INSTANCE;
    };
  }

  private long rowBytes() {
    return (long) Float.BYTES * columns;
  }

  /** Selects by the pattern, or by the mask where there is one, and stores the new weights. */
  SparseGpt.Report run(Pattern pattern, @Nullable Tensor mask) {
    int width = SweepKernels.WIDTH;
    if (mask == null) {
      if (pattern instanceof Pattern.NM nm) {
        checkRuns(nm);
        width -= width % nm.of();
      } else if (((Pattern.Unstructured) pattern).ratio() == 0) {
        return new SparseGpt.Report(weights.zeros(), 0, factor.damp());
      }
      dropDeadColumns();
    }
    double loss = 0;
    for (int start = 0; start < columns; start += width) {
      int count = Math.min(width, columns - start);
      int lead = start % (SPAN * width);
      if (lead == 0) {
        bringErrors(0, start, Math.min(SPAN * width, columns - start));
      } else {
        bringErrors(start - lead, start, count);
      }
      packUpper(start, count);
      loss += sweepBlock(start, count, rule(pattern, mask, start, count));
    }
    return new SparseGpt.Report(weights.zeros(), loss / 2, factor.damp());
  }

  private void checkRuns(Pattern.NM nm) {
    if (columns % nm.of() != 0) {
      throw new IllegalArgumentException(
          weights.name()
              + ": weights: expected columns in whole groups of "
              + nm.of()
              + " for the pattern "
              + nm
              + ", got "
              + columns
              + " columns");
    }
  }

  private void dropDeadColumns() {
    for (int j = 0; j < columns; j++) {
      for (long row = 0; factor.isDead(j) && row < rows; row++) {
        work.setAtIndex(JAVA_FLOAT, row * columns + j, 0);
      }
    }
  }

  /**
   * {@code W -= E U} for {@code width} columns from {@code to} on, with the errors of the columns
   * from {@code from} to {@code to}.
   */
  private void bringErrors(int from, int to, int width) {
    if (to > from && rows > 0) {
      MemorySegment errors = work.asSlice((long) Float.BYTES * from);
      MemorySegment columnsOfWork = work.asSlice((long) Float.BYTES * to);
      MemorySegment above =
          factor.upper().memory().asSlice(Float.BYTES * ((long) from * columns + to));
      gemm.multiply(
          false,
          false,
          rows,
          width,
          to - from,
          -1,
          errors,
          columns,
          above,
          columns,
          1,
          columnsOfWork,
          columns);
    }
  }

  private void packUpper(int start, int width) {
    upper.fill((byte) 0);
    MemorySegment from = factor.upper().memory();
    for (int i = 0; i < width; i++) {
      long diagonal = (long) (start + i) * columns + start + i;
      MemorySegment.copy(
          from,
          Float.BYTES * diagonal,
          upper,
          (long) Float.BYTES * (i * SweepKernels.WIDTH + i),
          (long) Float.BYTES * (width - i));
      float root = from.getAtIndex(JAVA_FLOAT, diagonal);
      squares.setAtIndex(JAVA_FLOAT, i, root * root);
    }
  }

  private Rule rule(Pattern pattern, @Nullable Tensor mask, int start, int width) {
    if (mask != null) {
      return new Given(mask);
    }
    return switch (pattern) {
      case Pattern.NM nm -> new Runs(nm.prune(), nm.of());
      case Pattern.Unstructured ratio -> new Below(threshold(ratio.ratio(), start, width));
      case Pattern.Cumulative other -> throw new IllegalStateException("refused: " + other);
    };
  }

  /** The score of the rank that the ratio gives among all weights of the block. */
  private float threshold(double ratio, int start, int width) {
    long count = (long) rows * width;
    if (count == 0) {
      return 0;
    }
    try (Arena own = Arena.ofShared()) {
      MemorySegment scores = own.allocate(Float.BYTES * count, Tensor.ALIGNMENT);
      Parallel.forRanges(
          rows,
          GRAIN,
          threads,
          (from, to, worker) -> {
            for (long row = from; row < to; row++) {
              long at = row * rowBytes() + (long) Float.BYTES * start;
              kernels.score(work, at, squares, 0, scores, Float.BYTES * (row * width), width);
            }
          });
      return BlockThreshold.find(scores, count, (long) (count * ratio), threads);
    }
  }

  /** Returns the sum of the squared errors. */
  private double sweepBlock(int start, int width, Rule rule) {
    double[] losses = new double[Math.ceilDiv(rows, GRAIN)];
    Parallel.forRanges(
        rows,
        GRAIN,
        threads,
        (from, to, worker) -> {
          Scratch s = scratch[worker];
          s.losses.fill((byte) 0);
          for (int row = (int) from; row < to; row += SweepKernels.ROWS) {
            sweepPanel(s, row, Math.min(SweepKernels.ROWS, (int) to - row), start, width, rule);
          }
          double sum = 0;
          for (int r = 0; r < SweepKernels.ROWS; r++) {
            sum += s.losses.getAtIndex(JAVA_FLOAT, r);
          }
          losses[(int) from / GRAIN] = sum;
        });
    double sum = 0;
    for (double loss : losses) {
      sum += loss;
    }
    if (!Double.isFinite(sum)) {
      throw new ArithmeticException(
          weights.name()
              + ": the reconstruction overflows in columns "
              + start
              + " to "
              + (start + width - 1)
              + "; raise the damping");
    }
    return sum;
  }

  private void sweepPanel(Scratch s, int row, int count, int start, int width, Rule rule) {
    long at = row * rowBytes() + (long) Float.BYTES * start;
    kernels.load(work, at, columns, count, width, s.panel);
    int prune = 0;
    int of = 0;
    switch (rule) {
      case Below below -> kernels.markBelow(s.panel, width, squares, below.threshold, s.marks);
      case Given given -> mark(given.mask, row, count, start, width, s.marks);
      case Runs runs -> {
        prune = runs.prune;
        of = runs.of;
      }
    }
    kernels.sweep(upper, squares, width, s.panel, s.kept, s.marks, prune, of, s.losses);
    kernels.store(s.panel, work, at, columns, count, width);
    kernels.store(s.kept, s.out, 0, width, count, width);
    for (int r = 0; r < count; r++) {
      weights.store(row + r, start, s.out, (long) Float.BYTES * r * width, width);
    }
  }

  /** Spreads the bits of a mask over a panel of marks. */
  private static void mark(
      Tensor mask, int row, int count, int start, int width, MemorySegment marks) {
    for (int r = 0; r < SweepKernels.ROWS; r++) {
      for (int j = 0; j < width; j++) {
        float value = r < count && Weights.isPruned(mask, row + r, start + j) ? 1 : 0;
        marks.setAtIndex(JAVA_FLOAT, (long) j * SweepKernels.ROWS + r, value);
      }
    }
  }
}
