package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.tensor.Tensor;

/**
 * Scratch memory for calls of {@link Pruner}, reused from call to call so that pruning allocates
 * nothing once it has grown to the widest layer. To be used by one call at a time.
 */
public final class PruneWorkspace implements AutoCloseable {
  private Arena arena = Arena.ofShared();
  private MemorySegment[] scratch = new MemorySegment[0];
  private MemorySegment[] bits = new MemorySegment[0];
  private MemorySegment[] scores = new MemorySegment[0];
  private MemorySegment powers = MemorySegment.NULL;
  private MemorySegment columnSums = MemorySegment.NULL;
  private long scratchBytes;
  private int columns;

  final Operands operands = new Operands();

  /** An empty workspace; the first call sizes it. */
  public PruneWorkspace() {}

  /** Makes room for {@code workers} threads and rows of {@code columns}. */
  void reserve(int workers, long scratchBytes, int columns) {
    if (workers <= scratch.length && scratchBytes <= this.scratchBytes && columns <= this.columns) {
      return;
    }
    int count = Math.max(workers, scratch.length);
    this.scratchBytes = Math.max(scratchBytes, this.scratchBytes);
    this.columns = Math.max(columns, this.columns);
    arena.close();
    arena = Arena.ofShared();
    scratch = new MemorySegment[count];
    bits = new MemorySegment[count];
    scores = new MemorySegment[count];
    // In whole words of selection bits, because the kernels read whole vectors.
    long padded = Math.ceilDiv(this.columns, Long.SIZE) * (long) Long.SIZE * Float.BYTES;
    powers = arena.allocate(padded, Tensor.ALIGNMENT);
    columnSums = arena.allocate(padded, Tensor.ALIGNMENT);
    for (int i = 0; i < count; i++) {
      scratch[i] = arena.allocate(this.scratchBytes, Tensor.ALIGNMENT);
      bits[i] =
          arena.allocate(
              Math.ceilDiv(this.columns, Long.SIZE) * (long) Long.BYTES, Tensor.ALIGNMENT);
      scores[i] = arena.allocate((long) this.columns * Float.BYTES, Tensor.ALIGNMENT);
    }
  }

  /** The kernels' scratch memory. */
  MemorySegment scratch(int worker) {
    return scratch[worker];
  }

  /** One row of selection bits. */
  MemorySegment bits(int worker) {
    return bits[worker];
  }

  /** One row of scores. */
  MemorySegment scores(int worker) {
    return scores[worker];
  }

  /** Room for a sum of every column, with 1 behind the last. */
  MemorySegment columnSums() {
    for (long at = 0; at < columnSums.byteSize(); at += Float.BYTES) {
      columnSums.set(JAVA_FLOAT, at, 1);
    }
    return columnSums;
  }

  /** Powers of F32 column norms, the same on every machine. */
  MemorySegment powers(MemorySegment norms, int n, double exponent) {
    for (long at = 0; at < (long) n * Float.BYTES; at += Float.BYTES) {
      double power = StrictMath.pow(norms.get(JAVA_FLOAT, at), exponent);
      powers.set(JAVA_FLOAT, at, (float) Math.min(power, Float.MAX_VALUE));
    }
    return powers;
  }

  @Override
  public void close() {
    arena.close();
  }
}
