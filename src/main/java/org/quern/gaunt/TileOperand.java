package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Objects;
import org.jspecify.annotations.Nullable;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A tensor of shape [items, rows, channels], or [items, channels] with one row, as the kernels see
 * it: block after block of {@link SampleKernels#LANES} channels. A whole block of the kernels' own
 * element type is used where it lies; others are copied, with zeros for missing channels, and so
 * are operands whose rows are wanted in another order.
 */
final class TileOperand {
  private static final int LANES = SampleKernels.LANES;

  /** Rows that one thread copies at a time. */
  private static final int GRAIN = 1024;

  private final Tensor tensor;
  private final DType type;
  private final long rows;
  private final int rowsPerItem;
  private final int channels;
  private final int blocks;

  /** The first block that is copied; all after it are, too. */
  private final int copiedFrom;

  private final MemorySegment copies;
  private final int threads;

  /** The row of an item at each place of a copy; null for operands that are used as they lie. */
  private final int @Nullable [] order;

  private final SampleKernels kernels;

  /**
   * An operand whose shape is known to be right.
   *
   * @param use the memory of the workspace that takes the copies
   * @param order the row of an item at each place of a copy, where rows are wanted in another order
   *     and all blocks are copied, or null
   */
  TileOperand(
      Tensor tensor,
      SampleKernels kernels,
      LayerWorkspace workspace,
      LayerWorkspace.Use use,
      int threads,
      int @Nullable [] order) {
    this.tensor = tensor;
    this.kernels = kernels;
    this.type = kernels.type();
    this.threads = threads;
    this.order = order;
    rows = tensor.rows();
    rowsPerItem = tensor.rank() == 3 ? Math.toIntExact(tensor.dim(1)) : 1;
    channels = Math.toIntExact(tensor.rowLength());
    blocks = blocks(channels);
    copiedFrom = tensor.type() == type && order == null ? channels / LANES : 0;
    copies = workspace.get(use, (blocks - copiedFrom) * copyBytes());
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
    tensor.hostMemory();
  }

  private long copyBytes() {
    return rows * LANES * type.bytes();
  }

  /** Where a block is read or written. */
  TileView view(int block) {
    if (block >= copiedFrom) {
      long row = (long) LANES * type.bytes();
      return new TileView(copies, (block - copiedFrom) * copyBytes(), rowsPerItem * row, row);
    }
    long row = tensor.rowStride() * type.bytes();
    return new TileView(
        tensor.memory(), (long) block * LANES * type.bytes(), rowsPerItem * row, row);
  }

  /**
   * The end of the run of blocks from {@code block} on that lie a fixed {@link #blockStep} apart.
   */
  int runEnd(int block) {
    return block < copiedFrom ? copiedFrom : blocks;
  }

  /** Bytes between the blocks of the run that a block belongs to. */
  long blockStep(int block) {
    return block < copiedFrom ? (long) LANES * type.bytes() : copyBytes();
  }

  /** Makes the copies, of an operand that is to be read. */
  TileOperand read() {
    for (int block = copiedFrom; block < blocks; block++) {
      int first = block * LANES;
      boolean whole = order != null && tensor.type() == type && first + LANES <= channels;
      TileView view = view(block);
      Parallel.forRanges(
          items(),
          grain(),
          threads,
          (from, to, worker) -> {
            for (long item = from; item < to; item++) {
              if (whole) {
                collect(item, first, view.item(item));
              } else {
                copy(item, first, view.item(item));
              }
            }
          });
    }
    return this;
  }

  private long items() {
    return rows / rowsPerItem;
  }

  private long grain() {
    return Math.ceilDiv(GRAIN, rowsPerItem);
  }

  private void collect(long item, int first, long at) {
    long from = (item * rowsPerItem * tensor.rowStride() + first) * type.bytes();
    long step = tensor.rowStride() * type.bytes();
    kernels.collect(
        Objects.requireNonNull(order),
        type,
        tensor.memory(),
        from,
        step,
        copies,
        at / ((long) LANES * type.bytes()));
  }

  private void copy(long item, int first, long at) {
    for (int place = 0; place < rowsPerItem; place++) {
      for (int lane = 0; lane < LANES; lane++) {
        double value = first + lane < channels ? get(row(item, place), first + lane) : 0;
        TileTable.set(copies, type, at / type.bytes() + (long) place * LANES + lane, value);
      }
    }
  }

  private long row(long item, int place) {
    return item * rowsPerItem + (order == null ? place : order[place]);
  }

  /** Zeroes an operand that sums are to be added to. */
  TileOperand zero() {
    tensor.fill(0);
    copies.asSlice(0, (blocks - copiedFrom) * copyBytes()).fill((byte) 0);
    return this;
  }

  /** Ends the writing: brings the copies to their places, rounded to the tensor's type. */
  void finish() {
    for (int block = copiedFrom; block < blocks; block++) {
      int first = block * LANES;
      boolean whole = order != null && tensor.type() == type && first + LANES <= channels;
      TileView view = view(block);
      Parallel.forRanges(
          items(),
          grain(),
          threads,
          (from, to, worker) -> {
            for (long item = from; item < to; item++) {
              if (whole) {
                distribute(item, first, view.item(item));
              } else {
                bring(item, first, view.item(item));
              }
            }
          });
    }
  }

  private void distribute(long item, int first, long at) {
    long to = (item * rowsPerItem * tensor.rowStride() + first) * type.bytes();
    long step = tensor.rowStride() * type.bytes();
    kernels.distribute(
        Objects.requireNonNull(order),
        copies,
        at / ((long) LANES * type.bytes()),
        type,
        tensor.memory(),
        to,
        step);
  }

  private void bring(long item, int first, long at) {
    for (int place = 0; place < rowsPerItem; place++) {
      for (int c = first; c < Math.min(channels, first + LANES); c++) {
        double value =
            TileTable.get(copies, type, at / type.bytes() + (long) place * LANES + c - first);
        TileTable.set(
            tensor.memory(), tensor.type(), row(item, place) * tensor.rowStride() + c, value);
      }
    }
  }

  private double get(long row, int channel) {
    return TileTable.get(tensor.memory(), tensor.type(), row * tensor.rowStride() + channel);
  }
}
