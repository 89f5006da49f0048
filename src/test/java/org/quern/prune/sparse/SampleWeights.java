package org.quern.prune.sparse;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.util.Random;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Dense matrices to pack. */
final class SampleWeights {
  private SampleWeights() {}

  /** Random elements of which each is kept with a probability, else +0.0. */
  static Tensor unstructured(
      Arena arena, Random random, DType type, int rows, int columns, double density) {
    Tensor dense = Tensor.allocate(arena, type, rows, columns);
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < columns; j++) {
        if (random.nextDouble() < density) {
          dense.setDouble(random.nextGaussian(), i, j);
        }
      }
    }
    return dense;
  }

  /** Random elements, at most two of every four other than zero, sometimes fewer. */
  static Tensor twoOfFour(Arena arena, Random random, DType type, int rows, int columns) {
    Tensor dense = Tensor.allocate(arena, type, rows, columns);
    for (int i = 0; i < rows; i++) {
      for (int group = 0; group < columns; group += 4) {
        int kept = random.nextInt(8) == 0 ? random.nextInt(2) : 2;
        for (int k = 0; k < kept; k++) {
          dense.setDouble(random.nextGaussian(), i, group + random.nextInt(4));
        }
      }
    }
    return dense;
  }

  /** Stores the bits of an element. */
  static void setBits(Tensor tensor, int row, int column, int bits) {
    long at = row * tensor.rowStride() + column;
    if (tensor.type() == DType.F32) {
      tensor.memory().setAtIndex(JAVA_INT, at, bits);
    } else {
      tensor.memory().setAtIndex(JAVA_SHORT, at, (short) bits);
    }
  }
}
