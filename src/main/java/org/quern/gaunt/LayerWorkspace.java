package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.Tensor;

/**
 * Scratch memory for calls of {@link GauntConvolution} and {@link ManyBodyProduct}, reused from
 * call to call; it grows to the largest. To be used by one call at a time.
 */
public final class LayerWorkspace implements AutoCloseable {
  private final @Nullable Arena[] arenas = new Arena[Use.values().length];
  private final MemorySegment[] segments = new MemorySegment[arenas.length];

  /** What memory is used for; each keeps its own. */
  enum Use {
    X,
    SCALE,
    OUT,
    GRADIENT,
    X_GRADIENT,
    SCALE_GRADIENT,
    WEIGHT,
    WEIGHT_GRADIENT,
    SAMPLES,
    GRADIENT_SAMPLES,
    WORKERS,
    DIRECTIONS,
    COEFFICIENTS,
    LENGTHS,
    EDGE_GRADIENTS
  }

  /** An empty workspace. */
  public LayerWorkspace() {
    java.util.Arrays.fill(segments, MemorySegment.NULL);
  }

  /** Memory of at least so many bytes, with whatever it held before where that was enough. */
  MemorySegment get(Use use, long bytes) {
    int slot = use.ordinal();
    if (segments[slot].byteSize() < bytes || arenas[slot] == null) {
      release(slot);
      Arena arena = Arena.ofShared();
      arenas[slot] = arena;
      segments[slot] = arena.allocate(Math.max(1, bytes), Tensor.ALIGNMENT);
    }
    return segments[slot];
  }

  private void release(int slot) {
    Arena arena = arenas[slot];
    if (arena != null) {
      arena.close();
      arenas[slot] = null;
      segments[slot] = MemorySegment.NULL;
    }
  }

  @Override
  public void close() {
    for (int slot = 0; slot < arenas.length; slot++) {
      release(slot);
    }
  }
}
