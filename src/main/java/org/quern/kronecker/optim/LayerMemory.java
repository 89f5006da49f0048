package org.quern.kronecker.optim;

import org.jspecify.annotations.Nullable;
import org.quern.kronecker.Storage;

/**
 * What a layer takes, known before anything is allocated.
 *
 * @param layer name
 * @param left storage of L, or null without factors
 * @param leftBytes bytes of L
 * @param right storage of R, or null without factors
 * @param rightBytes bytes of R
 * @param momentBytes bytes of the moments of the back end
 */
public record LayerMemory(
    String layer,
    @Nullable Storage left,
    long leftBytes,
    @Nullable Storage right,
    long rightBytes,
    long momentBytes) {
  /** All bytes. */
  public long bytes() {
    return leftBytes + rightBytes + momentBytes;
  }
}
