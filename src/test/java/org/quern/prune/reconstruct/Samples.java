package org.quern.prune.reconstruct;

import java.lang.foreign.Arena;
import java.util.Random;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Conversions between the reference and tensors. */
final class Samples {
  private Samples() {}

  static Tensor tensor(Arena arena, DType type, double[][] values) {
    Tensor tensor = Tensor.allocate(arena, type, values.length, values[0].length);
    for (int i = 0; i < values.length; i++) {
      for (int j = 0; j < values[i].length; j++) {
        tensor.setDouble(values[i][j], i, j);
      }
    }
    return tensor;
  }

  static Tensor tensor(Arena arena, DType type, double[][][] values) {
    Tensor tensor =
        Tensor.allocate(arena, type, values.length, values[0].length, values[0][0].length);
    for (int s = 0; s < values.length; s++) {
      for (int t = 0; t < values[s].length; t++) {
        for (int j = 0; j < values[s][t].length; j++) {
          tensor.setDouble(values[s][t][j], s, t, j);
        }
      }
    }
    return tensor;
  }

  static double[][] values(Tensor tensor) {
    double[][] values = new double[(int) tensor.dim(0)][];
    for (int i = 0; i < values.length; i++) {
      values[i] = tensor.row(i).toDoubleArray();
    }
    return values;
  }

  static boolean[][] zeros(Tensor tensor) {
    boolean[][] zeros = new boolean[(int) tensor.dim(0)][(int) tensor.dim(1)];
    for (int i = 0; i < zeros.length; i++) {
      for (int j = 0; j < zeros[i].length; j++) {
        zeros[i][j] = tensor.getDouble(i, j) == 0;
      }
    }
    return zeros;
  }

  static boolean[][] mask(int m, int n, double share, Random random) {
    boolean[][] mask = new boolean[m][n];
    for (boolean[] row : mask) {
      for (int j = 0; j < n; j++) {
        row[j] = random.nextDouble() < share;
      }
    }
    return mask;
  }

  /** Packs a mask, with bits set beyond the last column, which nobody may read. */
  static Tensor packed(Arena arena, boolean[][] mask) {
    int n = mask[0].length;
    Tensor packed = Tensor.allocate(arena, DType.U8, mask.length, Math.ceilDiv(n, Byte.SIZE));
    packed.fill(0xff);
    for (int i = 0; i < mask.length; i++) {
      for (int j = 0; j < n; j++) {
        if (!mask[i][j]) {
          long old = packed.getLong(i, j / Byte.SIZE);
          packed.setLong(old & ~(1L << j % Byte.SIZE), i, j / Byte.SIZE);
        }
      }
    }
    return packed;
  }
}
