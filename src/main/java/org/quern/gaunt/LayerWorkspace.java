package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Scratch memory for calls of {@link GauntConvolution} and {@link ManyBodyProduct}, reused from
 * call to call; it grows to the largest. To be used by one call at a time.
 */
public final class LayerWorkspace implements AutoCloseable {
  private final @Nullable Arena[] arenas = new Arena[Use.values().length];
  private final MemorySegment[] segments = new MemorySegment[arenas.length];

  private final SphereWorkspace sphere = new SphereWorkspace();

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
    EDGE_GRADIENTS,
    VECTORS,
    DEGREES,
    VECTOR_GRADIENTS,
    VECTOR_FACTORS,
    HARMONICS,
    FILTER_GRADIENTS,
    FACTORS,
    SCALE_FACTORS,
    FACTOR_SAMPLES,
    TURNS,
    CHANGES,
    WEIGHT_FACTORS
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

  /** Memory as a contiguous tensor. */
  Tensor tensor(Use use, DType type, long... shape) {
    long bytes = type.bytes();
    for (long length : shape) {
      bytes *= length;
    }
    return Tensor.of(get(use, bytes).asSlice(0, bytes), type, shape);
  }

  /** Scratch memory of {@link SphericalHarmonics}. */
  SphereWorkspace sphere() {
    return sphere;
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
    sphere.close();
    for (int slot = 0; slot < arenas.length; slot++) {
      release(slot);
    }
  }
}
