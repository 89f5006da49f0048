package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.ref.Reference;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Means over the output positions of a two-dimensional convolution of the patches that the outputs
 * see, without unfolding: entry (c, ki, kj) of a sample is
 *
 * <pre>{@code
 * 1/S * sum over outputs (oy, ox) of x[c, oy*stride - padding + ki*dilation, ox*... + kj*...]
 * }</pre>
 *
 * with zeros outside the input and S outputs. All positions of a kernel see nearly the same
 * elements, so that every element is added once, to the core that they share, and each position
 * adds its own border rows and columns: O(C H W + C k^2 (H + W)) additions for stride 1 where
 * unfolding takes O(C k^2 S); with a stride the same for every phase. Nothing is subtracted.
 *
 * <p>Every sample gives one row, which {@link #add} hands to {@link ColumnMeans}: its limit acts on
 * the mean of a sample, as in the released program. With {@link Window#point()} in both dimensions
 * the same takes the output gradients, whose rows are their means over the positions. Sums are in
 * binary64, a mean is rounded to binary32 once. The result does not depend on the number of
 * threads. Allocates nothing per call on one thread. Serves one call at a time.
 */
public final class PatchMeans {
  /** Accumulators of a sum, which then waits for memory and not for the last addition. */
  private static final int SUMS = 4;

  private final CaptureKernels kernels;
  private final Arena arena;
  private final int channels;
  private final int threads;
  private final Window vertical;
  private final Window horizontal;
  private final Taps rows;
  private final Taps columns;
  private final Tensor means;
  private final MemorySegment[] scratch;
  private final double[][] cores;
  private MemorySegment[] work = new MemorySegment[0];
  private int width;

  private PatchMeans(
      Arena arena,
      int channels,
      Window vertical,
      Window horizontal,
      int threads,
      CaptureKernels kernels) {
    this.kernels = kernels;
    this.arena = arena;
    this.channels = channels;
    this.threads = threads;
    this.vertical = vertical;
    this.horizontal = horizontal;
    this.rows = new Taps(vertical);
    this.columns = new Taps(horizontal);
    this.means = Tensor.allocate(arena, DType.F32, 1, patch(channels, vertical, horizontal));
    int workers = Math.min(threads, channels);
    this.scratch = new MemorySegment[workers];
    this.cores = new double[workers][horizontal.stride()];
    for (int i = 0; i < workers; i++) {
      scratch[i] = arena.allocate(kernels.scratchBytes(), Tensor.ALIGNMENT);
    }
  }

  /**
   * For convolutions of one shape, whose inputs may have any height and width.
   *
   * @param arena gives the memory
   * @param channels channels of the input, at least 1
   * @param groups groups of channels; only 1 has a Kronecker factorization
   * @param vertical how the kernel moves along the height
   * @param horizontal how the kernel moves along the width
   * @param threads greatest number of threads, at least 1; needs a shared arena above 1
   * @param tier the tier to use, or null for the best
   * @throws UnsupportedOperationException where there are several groups
   * @throws IllegalArgumentException where a number is out of its range
   * @throws IllegalStateException where the tier cannot run here
   */
  public static PatchMeans create(
      Arena arena,
      int channels,
      int groups,
      Window vertical,
      Window horizontal,
      int threads,
      @Nullable Tier tier) {
    if (groups != 1) {
      throw new UnsupportedOperationException(
          "groups: expected 1, got " + groups + "; leave grouped convolutions to first order");
    }
    if (channels < 1) {
      throw new IllegalArgumentException("channels: expected at least 1, got " + channels);
    }
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected at least 1, got " + threads);
    }
    return new PatchMeans(
        arena, channels, vertical, horizontal, threads, ColumnMeans.kernels(tier));
  }

  private static int patch(int channels, Window vertical, Window horizontal) {
    return Math.toIntExact((long) channels * vertical.kernel() * horizontal.kernel());
  }

  /** Entries of a patch: channels times kernel height times kernel width. */
  public int columns() {
    return Math.toIntExact(means.dim(1));
  }

  /**
   * Adds one row for each sample, every entry clamped to {@code [-limit, limit]}.
   *
   * @param x F32, F16 or BF16 [samples, channels, height, width]
   * @param limit above 0; infinity for none
   * @param target takes the rows, of {@link #columns()} columns
   * @throws IllegalArgumentException where a type, shape or the limit is not as described, or the
   *     input is too small for one output; nothing is added then
   */
  public void add(Tensor x, double limit, ColumnMeans target) {
    if (x.rank() != 4 || x.dim(1) != channels) {
      throw new IllegalArgumentException(
          "x: expected [samples, " + channels + ", height, width], got " + x);
    }
    ColumnMeans.requireFloats("x", x);
    ColumnMeans.requireLimit(limit);
    if (target.columns() != columns()) {
      throw new IllegalArgumentException(
          "target: expected " + columns() + " columns, got " + target.columns());
    }
    long outputs = outputs("height", x.dim(2), vertical);
    outputs = Math.multiplyExact(outputs, outputs("width", x.dim(3), horizontal));
    prepare(Math.toIntExact(x.dim(2)), Math.toIntExact(x.dim(3)));
    try {
      for (long sample = 0; sample < x.dim(0); sample++) {
        addSample(x, sample, outputs);
        target.add(means, limit);
      }
    } finally {
      Reference.reachabilityFence(x);
      Reference.reachabilityFence(arena);
    }
  }

  private static long outputs(String name, long extent, Window window) {
    long outputs = window.outputs(extent);
    if (outputs < 1) {
      throw new IllegalArgumentException(
          "x: expected a " + name + " that gives an output for " + window + ", got " + extent);
    }
    return outputs;
  }

  private void prepare(int height, int newWidth) {
    rows.prepare(height);
    columns.prepare(newWidth);
    if (newWidth > width) {
      // Two rows of sums: the core that positions share, and the sums of one position.
      work = new MemorySegment[scratch.length];
      for (int i = 0; i < work.length; i++) {
        work[i] = arena.allocate(2L * newWidth * Double.BYTES, Tensor.ALIGNMENT);
      }
    }
    width = Math.max(width, newWidth);
  }

  private void addSample(Tensor x, long sample, long outputs) {
    if (scratch.length == 1) {
      for (int channel = 0; channel < channels; channel++) {
        addChannel(x, sample, channel, outputs, 0);
      }
    } else {
      int grain = Math.ceilDiv(channels, 4 * scratch.length);
      Parallel.forRanges(
          channels,
          grain,
          threads,
          (from, to, worker) -> {
            for (int channel = (int) from; channel < to; channel++) {
              addChannel(x, sample, channel, outputs, worker);
            }
          });
    }
  }

  private void addChannel(Tensor x, long sample, int channel, long outputs, int worker) {
    int w = (int) x.dim(3);
    long plane = (sample * channels + channel) * x.dim(2);
    MemorySegment sums = work[worker];
    long own = (long) w * Double.BYTES;
    for (int q = 0; q < rows.stride(); q++) {
      boolean fresh = true;
      for (int ki = 0; ki < rows.kernel(); ki++) {
        if (rows.phase[ki] != q) {
          continue;
        }
        if (fresh && rows.coreCount[q] > 0) {
          sums.asSlice(0, own).fill((byte) 0);
          addRows(x, plane, rows.coreFirst[q], rows.coreCount[q], sums, 0, worker);
        }
        fresh = false;
        if (rows.core[ki]) {
          MemorySegment.copy(sums, 0, sums, own, own);
        } else {
          sums.asSlice(own, own).fill((byte) 0);
        }
        addRows(x, plane, rows.lowFirst[ki], rows.lowCount[ki], sums, own, worker);
        addRows(x, plane, rows.highFirst[ki], rows.highCount[ki], sums, own, worker);
        writeRow(sums, own, cores[worker], outputs, (long) channel * rows.kernel() + ki);
      }
    }
  }

  private void addRows(
      Tensor x, long plane, int first, int count, MemorySegment sums, long at, int worker) {
    if (count > 0) {
      long stride = x.rowStride() * x.type().bytes();
      kernels.addRows(
          x.hostMemory(),
          (plane + first) * stride,
          stride * rows.stride(),
          x.type(),
          count,
          (int) x.dim(3),
          Float.POSITIVE_INFINITY,
          sums,
          at,
          scratch[worker]);
    }
  }

  /** The entries of one row of the kernel from the sums over the rows that it meets. */
  private void writeRow(MemorySegment sums, long at, double[] core, long outputs, long row) {
    int step = columns.stride();
    for (int q = 0; q < step; q++) {
      core[q] = sum(sums, at, columns.coreFirst[q], columns.coreCount[q], step);
    }
    for (int kj = 0; kj < columns.kernel(); kj++) {
      double total =
          (columns.core[kj] ? core[columns.phase[kj]] : 0)
              + sum(sums, at, columns.lowFirst[kj], columns.lowCount[kj], step)
              + sum(sums, at, columns.highFirst[kj], columns.highCount[kj], step);
      means
          .memory()
          .set(
              ValueLayout.JAVA_FLOAT,
              (row * columns.kernel() + kj) * Float.BYTES,
              (float) (total / outputs));
    }
  }

  private static double sum(MemorySegment sums, long at, int first, int count, int step) {
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    int whole = count - count % SUMS;
    for (int m = 0; m < whole; m += SUMS) {
      long from = at + (first + (long) m * step) * Double.BYTES;
      long next = (long) step * Double.BYTES;
      s0 += sums.get(ValueLayout.JAVA_DOUBLE, from);
      s1 += sums.get(ValueLayout.JAVA_DOUBLE, from + next);
      s2 += sums.get(ValueLayout.JAVA_DOUBLE, from + 2 * next);
      s3 += sums.get(ValueLayout.JAVA_DOUBLE, from + 3 * next);
    }
    for (int m = whole; m < count; m++) {
      s0 += sums.get(ValueLayout.JAVA_DOUBLE, at + (first + (long) m * step) * Double.BYTES);
    }
    return (s0 + s1) + (s2 + s3);
  }
}
