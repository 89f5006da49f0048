package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;
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
 * <p>The limit of {@link #add} acts on the mean of a sample, as in the released program. Where no
 * element exceeds it, neither does a mean, and all samples of a batch are summed before the
 * positions are. With {@link Window#point()} in both dimensions the same takes the output
 * gradients, whose rows are their means over the positions.
 *
 * <p>Sums are in binary64. The result does not depend on the number of threads. Allocates nothing
 * per call on one thread once it has seen its largest input. Serves one call at a time.
 */
public final class PatchMeans {
  private final CaptureKernels kernels;
  private final int channels;
  private final int threads;
  private final Window vertical;
  private final Window horizontal;
  private final Taps rows;
  private final Taps columns;
  private final double[] means;
  private final MemorySegment[] scratch;

  /** By worker: the sum over the samples of a plane. */
  private final double[][] planes;

  /** By worker, two rows of sums: the core that positions share, and the sums of one position. */
  private final double[][] work;

  /** By worker and phase: the sum over a core. */
  private final double[][] cores;

  private PatchMeans(
      Arena arena,
      int channels,
      Window vertical,
      Window horizontal,
      int threads,
      CaptureKernels kernels) {
    this.kernels = kernels;
    this.channels = channels;
    this.threads = threads;
    this.vertical = vertical;
    this.horizontal = horizontal;
    this.rows = new Taps(vertical);
    this.columns = new Taps(horizontal);
    this.means = new double[patch(channels, vertical, horizontal)];
    int workers = Math.min(threads, channels);
    this.scratch = new MemorySegment[workers];
    this.cores = new double[workers][horizontal.stride()];
    this.planes = new double[workers][0];
    this.work = new double[workers][0];
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
    return means.length;
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
    int height = Math.toIntExact(x.dim(2));
    int width = Math.toIntExact(x.dim(3));
    prepare(height, width);
    try {
      if (x.dim(0) > 0 && isWithin(x, height, width, limit)) {
        addSamples(x, 0, x.dim(0), outputs);
        target.add(means, x.dim(0), limit);
      } else {
        for (long sample = 0; sample < x.dim(0); sample++) {
          addSamples(x, sample, 1, outputs);
          target.add(means, 1, limit);
        }
      }
    } finally {
      Reference.reachabilityFence(x);
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

  private void prepare(int height, int width) {
    rows.prepare(height);
    columns.prepare(width);
    int plane = Math.multiplyExact(height, width);
    for (int i = 0; i < work.length; i++) {
      if (planes[i].length < plane) {
        planes[i] = new double[plane];
      }
      if (work[i].length < 2 * width) {
        work[i] = new double[2 * width];
      }
    }
  }

  /** True where no element exceeds the limit. */
  private boolean isWithin(Tensor x, int height, int width, double limit) {
    if (limit == Double.POSITIVE_INFINITY) {
      return true;
    }
    boolean whole = x.isContiguous();
    int run = whole ? height * width : width;
    long stride = (whole ? run : x.rowStride()) * x.type().bytes();
    long count = x.dim(0) * channels * (whole ? 1 : height);
    return kernels.magnitude(x.hostMemory(), 0, stride, x.type(), count, run) <= (float) limit;
  }

  /** The sums over samples of their means. */
  private void addSamples(Tensor x, long sample, long samples, long outputs) {
    if (scratch.length == 1) {
      addChannels(x, sample, samples, 0, channels, outputs, 0);
    } else {
      Parallel.forRanges(
          channels,
          Math.ceilDiv(channels, 4 * scratch.length),
          threads,
          (from, to, worker) ->
              addChannels(x, sample, samples, (int) from, (int) to, outputs, worker));
    }
  }

  private void addChannels(
      Tensor x, long sample, long samples, int from, int to, long outputs, int worker) {
    int width = (int) x.dim(3);
    for (int channel = from; channel < to; channel++) {
      sumPlanes(x, sample, samples, channel, worker);
      for (int q = 0; q < rows.stride(); q++) {
        addPhase(planes[worker], width, channel, q, outputs, worker);
      }
    }
  }

  /** The sum over the samples of the plane of a channel. */
  private void sumPlanes(Tensor x, long sample, long samples, int channel, int worker) {
    int height = (int) x.dim(2);
    int width = (int) x.dim(3);
    boolean whole = x.isContiguous();
    int run = whole ? height * width : width;
    long row = x.rowStride() * x.type().bytes();
    long plane = height * row;
    Arrays.fill(planes[worker], 0, height * width, 0);
    for (int y = 0; y < (whole ? Math.min(1, height) : height); y++) {
      kernels.addRows(
          x.hostMemory(),
          (sample * channels + channel) * plane + y * row,
          channels * plane,
          x.type(),
          samples,
          run,
          Float.POSITIVE_INFINITY,
          planes[worker],
          y * width,
          scratch[worker]);
    }
  }

  /** The rows of the kernel whose elements lie in rows of phase q. */
  private void addPhase(double[] plane, int width, int channel, int q, long outputs, int worker) {
    double[] sums = work[worker];
    Arrays.fill(sums, 0, width, 0);
    add(plane, width, rows.coreFirst[q], rows.coreCount[q], sums, 0);
    for (int ki = 0; ki < rows.kernel(); ki++) {
      if (rows.phase[ki] != q) {
        continue;
      }
      int from = 0;
      if (!rows.core[ki] || rows.lowCount[ki] + rows.highCount[ki] > 0) {
        from = width;
        if (rows.core[ki]) {
          System.arraycopy(sums, 0, sums, width, width);
        } else {
          Arrays.fill(sums, width, 2 * width, 0);
        }
        add(plane, width, rows.lowFirst[ki], rows.lowCount[ki], sums, width);
        add(plane, width, rows.highFirst[ki], rows.highCount[ki], sums, width);
      }
      writeRow(sums, from, cores[worker], outputs, channel * rows.kernel() + ki);
    }
  }

  /** Adds rows of a plane, one stride apart. */
  private void add(double[] plane, int width, int first, int count, double[] sums, int at) {
    for (int m = 0; m < count; m++) {
      int row = (first + m * rows.stride()) * width;
      for (int j = 0; j < width; j++) {
        sums[at + j] += plane[row + j];
      }
    }
  }

  /** The entries of one row of the kernel from the sums over the rows that it meets. */
  private void writeRow(double[] sums, int at, double[] core, long outputs, int row) {
    int step = columns.stride();
    for (int q = 0; q < step; q++) {
      core[q] = sum(sums, at + columns.coreFirst[q], columns.coreCount[q], step);
    }
    for (int kj = 0; kj < columns.kernel(); kj++) {
      double total =
          (columns.core[kj] ? core[columns.phase[kj]] : 0)
              + sum(sums, at + columns.lowFirst[kj], columns.lowCount[kj], step)
              + sum(sums, at + columns.highFirst[kj], columns.highCount[kj], step);
      means[row * columns.kernel() + kj] = total / outputs;
    }
  }

  private static double sum(double[] sums, int first, int count, int step) {
    double s0 = 0;
    double s1 = 0;
    double s2 = 0;
    double s3 = 0;
    int m = first;
    int end = first + count * step;
    for (; m < end - 3 * step; m += 4 * step) {
      s0 += sums[m];
      s1 += sums[m + step];
      s2 += sums[m + 2 * step];
      s3 += sums[m + 3 * step];
    }
    for (; m < end; m += step) {
      s0 += sums[m];
    }
    return (s0 + s1) + (s2 + s3);
  }
}
