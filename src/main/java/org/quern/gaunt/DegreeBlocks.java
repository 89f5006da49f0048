package org.quern.gaunt;

import java.util.Arrays;
import java.util.List;

/**
 * Which degrees a row of an operand holds, and where: all from 0 to the highest, or those of irreps
 * in their order. A degree that is missing counts as zero in an input and is left out of an output.
 * Immutable.
 */
final class DegreeBlocks {
  /** Components before the block of each degree; -1 for a degree that is missing. */
  private final int[] starts;

  private final int components;
  private final int copies;

  private DegreeBlocks(int[] starts, int components, int copies) {
    this.starts = starts;
    this.components = components;
    this.copies = copies;
  }

  /** Degrees 0 to {@code degree} in this order. */
  static DegreeBlocks all(int degree) {
    int[] starts = new int[degree + 1];
    Arrays.setAll(starts, l -> l * l);
    return new DegreeBlocks(starts, (degree + 1) * (degree + 1), 0);
  }

  /**
   * The degrees of irreps, each once and all with the same number of copies.
   *
   * @param name of the operand, for messages
   * @throws IllegalArgumentException where they are not of that form
   */
  static DegreeBlocks of(String name, Irreps irreps) {
    irreps.requireUnmixed();
    List<Irreps.Block> blocks =
        irreps.blocks().stream().filter(block -> block.multiplicity() > 0).toList();
    if (blocks.isEmpty()) {
      throw new IllegalArgumentException(name + ": expected irreps, got none in '" + irreps + "'");
    }
    int[] starts = new int[irreps.maxDegree() + 1];
    Arrays.fill(starts, -1);
    int copies = blocks.getFirst().multiplicity();
    int components = 0;
    for (Irreps.Block block : blocks) {
      int degree = block.irrep().degree();
      if (block.multiplicity() != copies) {
        throw new IllegalArgumentException(
            name
                + ": expected "
                + copies
                + " copies of every degree, as of "
                + blocks.getFirst()
                + ", got "
                + block
                + " in "
                + irreps);
      }
      if (starts[degree] >= 0) {
        throw new IllegalArgumentException(
            name + ": expected every degree once, got degree " + degree + " again in " + irreps);
      }
      starts[degree] = components;
      components += 2 * degree + 1;
    }
    return new DegreeBlocks(starts, components, copies);
  }

  /** Copies of each degree, as irreps tell. */
  int copies() {
    return copies;
  }

  /** Components of all degrees that are there. */
  int components() {
    return components;
  }

  /** True where no degree is missing or out of order. */
  boolean isComplete() {
    for (int l = 0; l < starts.length; l++) {
      if (starts[l] != l * l) {
        return false;
      }
    }
    return true;
  }

  boolean has(int degree) {
    return starts[degree] >= 0;
  }

  /** Components before the block of a degree that is there. */
  int start(int degree) {
    return starts[degree];
  }

  @Override
  public String toString() {
    if (isComplete()) {
      return "degrees 0 to " + (starts.length - 1);
    }
    StringBuilder text = new StringBuilder("degrees");
    for (int l = 0; l < starts.length; l++) {
      if (has(l)) {
        text.append(' ').append(l);
      }
    }
    return text.toString();
  }
}
