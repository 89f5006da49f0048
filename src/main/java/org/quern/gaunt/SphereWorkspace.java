package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.tensor.Tensor;

/**
 * Scratch memory for calls of {@link SphericalHarmonics}, reused from call to call so that they
 * allocate nothing once it has grown. To be used by one call at a time.
 */
public final class SphereWorkspace implements AutoCloseable {
  private Arena arena = Arena.ofShared();
  private MemorySegment[] scratch = new MemorySegment[0];
  private long bytes;

  final SphereOperands operands = new SphereOperands();

  /** An empty workspace; the first call sizes it. */
  public SphereWorkspace() {}

  /** Makes room for {@code workers} threads. */
  void reserve(int workers, long bytes) {
    if (workers <= scratch.length && bytes <= this.bytes) {
      return;
    }
    int count = Math.max(workers, scratch.length);
    this.bytes = Math.max(bytes, this.bytes);
    arena.close();
    arena = Arena.ofShared();
    scratch = new MemorySegment[count];
    for (int i = 0; i < count; i++) {
      scratch[i] = arena.allocate(this.bytes, Tensor.ALIGNMENT);
    }
  }

  /** The kernels' scratch memory. */
  MemorySegment scratch(int worker) {
    return scratch[worker];
  }

  @Override
  public void close() {
    arena.close();
  }
}
