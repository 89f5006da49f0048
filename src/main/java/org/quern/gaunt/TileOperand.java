package org.quern.gaunt;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.runtime.Parallel;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A tensor of shape [items, rows, channels], or [items, channels] with one row, as the kernels see
 * it: block after block of {@link SampleKernels#LANES} channels. A whole block of the kernels' own
 * element type is used where it lies; others are copied, with zeros for missing channels.
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

  /**
   * An operand whose shape is known to be right.
   *
   * @param type element type of the kernels
   * @param use the memory of the workspace that takes the copies
   */
  TileOperand(
      Tensor tensor, DType type, LayerWorkspace workspace, LayerWorkspace.Use use, int threads) {
    this.tensor = tensor;
    this.type = type;
    this.threads = threads;
    rows = tensor.rows();
    rowsPerItem = tensor.rank() == 3 ? Math.toIntExact(tensor.dim(1)) : 1;
    channels = Math.toIntExact(tensor.rowLength());
    blocks = blocks(channels);
    copiedFrom = tensor.type() == type ? channels / LANES : 0;
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

  /** Makes the copies, of an operand that is to be read. */
  TileOperand read() {
    for (int block = copiedFrom; block < blocks; block++) {
      int first = block * LANES;
      long start = view(block).at() / type.bytes();
      Parallel.forRanges(
          rows,
          GRAIN,
          threads,
          (from, to, worker) -> {
            for (long row = from; row < to; row++) {
              for (int lane = 0; lane < LANES; lane++) {
                int channel = first + lane;
                double value = channel < channels ? get(row, channel) : 0;
                TileTable.set(copies, type, start + row * LANES + lane, value);
              }
            }
          });
    }
    return this;
  }

  /** Zeroes an operand that sums are to be added to. */
  TileOperand zero() {
    tensor.fill(0);
    copies.asSlice(0, (blocks - copiedFrom) * copyBytes()).fill((byte) 0);
    return this;
  }

  /** Ends the writing: rounds the copies to the tensor's element type. */
  void finish() {
    for (int block = copiedFrom; block < blocks; block++) {
      int first = block * LANES;
      long start = view(block).at() / type.bytes();
      Parallel.forRanges(
          rows,
          GRAIN,
          threads,
          (from, to, worker) -> {
            for (long row = from; row < to; row++) {
              for (int c = first; c < Math.min(channels, first + LANES); c++) {
                double value = TileTable.get(copies, type, start + row * LANES + c - first);
                TileTable.set(tensor.memory(), tensor.type(), row * tensor.rowStride() + c, value);
              }
            }
          });
    }
  }

  private double get(long row, int channel) {
    return TileTable.get(tensor.memory(), tensor.type(), row * tensor.rowStride() + channel);
  }
}
