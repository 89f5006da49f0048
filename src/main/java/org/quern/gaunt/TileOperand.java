package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A tensor of shape [items, rows, channels], or [items, channels] with one row, as the kernels see
 * it: block after block of {@link TileKernels#LANES} channels. A whole block of the kernels' own
 * element type is used where it lies; others are copied, with zeros for missing channels.
 */
final class TileOperand {
  private static final int LANES = TileKernels.LANES;

  private final Tensor tensor;
  private final DType type;
  private final long items;
  private final int rows;
  private final int channels;

  /**
   * An operand whose shape is known to be right.
   *
   * @param type element type of the kernels
   */
  TileOperand(Tensor tensor, DType type) {
    this.tensor = tensor;
    this.type = type;
    this.items = tensor.dim(0);
    this.rows = tensor.rank() == 3 ? Math.toIntExact(tensor.dim(1)) : 1;
    this.channels = Math.toIntExact(tensor.rowLength());
  }

  /** Number of blocks of so many channels. */
  static int blocks(int channels) {
    return Math.ceilDiv(channels, LANES);
  }

  /**
   * Checks element type, shape and place of a tensor.
   *
   * @throws IllegalArgumentException naming the argument
   */
  static void check(String name, Tensor tensor, DType type, long... shape) {
    if (tensor.type() != type || !Arrays.equals(tensor.shape(), shape)) {
      throw new IllegalArgumentException(
          name + ": expected " + type + Arrays.toString(shape) + ", got " + tensor);
    }
    MemorySegment unused = tensor.hostMemory();
  }

  /** Bytes that a copy of one block takes. */
  long copyBytes() {
    return items * rows * LANES * type.bytes();
  }

  /** True where a block must be copied. */
  boolean isCopied(int block) {
    return tensor.type() != type || (block + 1) * LANES > channels;
  }

  /**
   * A block to be read.
   *
   * @param copy memory for a copy, of {@link #copyBytes}
   */
  TileView read(int block, MemorySegment copy, int threads) {
    TileView view = write(block, copy);
    if (view.copied()) {
      Parallel.forRanges(
          items * rows,
          256,
          threads,
          (from, to, worker) -> {
            for (long row = from; row < to; row++) {
              for (int lane = 0; lane < LANES; lane++) {
                int channel = block * LANES + lane;
                double value =
                    channel < channels
                        ? TileTable.get(
                            tensor.memory(), tensor.type(), row * tensor.rowStride() + channel)
                        : 0;
                TileTable.set(copy, type, row * LANES + lane, value);
              }
            }
          });
    }
    return view;
  }

  /** A block to be written, which {@link #finish} brings to its place. */
  TileView write(int block, MemorySegment copy) {
    if (isCopied(block)) {
      long row = (long) LANES * type.bytes();
      return new TileView(copy, 0, rows * row, row, true);
    }
    long row = tensor.rowStride() * type.bytes();
    return new TileView(
        tensor.memory(), (long) block * LANES * type.bytes(), rows * row, row, false);
  }

  /** Ends the writing of a block: rounds a copy to the tensor's element type. */
  void finish(int block, TileView view, int threads) {
    if (!view.copied()) {
      return;
    }
    Parallel.forRanges(
        items * rows,
        256,
        threads,
        (from, to, worker) -> {
          for (long row = from; row < to; row++) {
            for (int c = block * LANES; c < Math.min(channels, (block + 1) * LANES); c++) {
              double value =
                  TileTable.get(view.memory(), type, row * LANES + c - (long) block * LANES);
              TileTable.set(
                  tensor.memory(), tensor.type(), row * tensor.rowStride() + c, value);
            }
          }
        });
  }
}
