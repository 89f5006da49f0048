package org.quern.prune;

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

  @Override
  public void close() {
    arena.close();
  }
}
