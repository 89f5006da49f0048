package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.tensor.Tensor;

/**
 * Scratch memory for calls of {@link GauntProduct}, reused from call to call so that a call
 * allocates nothing once it has grown to the largest product. To be used by one call at a time.
 */
public final class GauntWorkspace implements AutoCloseable {
  private Arena arena = Arena.ofShared();
  private MemorySegment[] scratch = new MemorySegment[0];
  private long scratchBytes;
  private MemorySegment sums = MemorySegment.NULL;

  final ProductCall call = new ProductCall(this);

  /** An empty workspace; the first call sizes it. */
  public GauntWorkspace() {}

  /** Makes room for {@code workers} threads and for partial sums. */
  void reserve(int workers, long scratchBytes, long sumBytes) {
    if (workers <= scratch.length
        && scratchBytes <= this.scratchBytes
        && sumBytes <= sums.byteSize()) {
      return;
    }
    int count = Math.max(workers, scratch.length);
    this.scratchBytes = Math.max(scratchBytes, this.scratchBytes);
    long mostSums = Math.max(sumBytes, sums.byteSize());
    arena.close();
    arena = Arena.ofShared();
    sums = arena.allocate(mostSums, Tensor.ALIGNMENT);
    scratch = new MemorySegment[count];
    for (int i = 0; i < count; i++) {
      scratch[i] = arena.allocate(this.scratchBytes, Tensor.ALIGNMENT);
    }
  }

  /** The scratch memory of a thread. */
  MemorySegment scratch(int worker) {
    return scratch[worker];
  }

  /** Partial sums of all chunks. */
  MemorySegment sums() {
    return sums;
  }

  @Override
  public void close() {
    arena.close();
  }
}
