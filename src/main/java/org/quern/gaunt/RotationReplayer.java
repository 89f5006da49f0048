package org.quern.gaunt;

import java.io.IOException;
import java.util.List;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Replays recorded rotations of coefficients, and products of what was rotated. */
final class RotationReplayer {
  private final GoldenTensors file;

  RotationReplayer(GoldenTensors file) {
    this.file = file;
  }

  void run() throws IOException {
    file.requireShape("R", -1, 3, 3);
    file.requireRank(3, "D1", "D2", "D3", "x1_rot", "x2_rot", "out_rot");
    Tensor rotations = file.plain("R", DType.F64);
    int degree1 = file.degree("x1");
    int degree2 = file.degree("x2");
    int degree3 = file.degree("out_rot");
    for (String key : List.of("D1", "D2", "D3")) {
      if (file.has(key)) {
        matrices(key, rotations);
      }
    }
    for (DType type : LayerReplayer.TYPES) {
      rotated("x1", degree1, rotations, type);
      rotated("x2", degree2, rotations, type);
      for (Algorithm algorithm : ProductReplayer.algorithms(degree1, degree2, degree3)) {
        GauntProduct product =
            GauntProduct.builder(degree1, degree2, degree3)
                .type(type)
                .tier(file.tier())
                .algorithm(algorithm)
                .build();
        for (String suffix : List.of("", "_rot")) {
          if (file.has("out" + suffix)) {
            Tensor out = rows("out" + suffix, type);
            out.fill(0);
            product.multiply(rows("x1" + suffix, type), rows("x2" + suffix, type), out);
            file.compare("out" + suffix, algorithm.toString(), out);
          }
        }
      }
    }
  }

  /** A recorded tensor whose last dimension are components, as rows with one channel. */
  private Tensor rows(String key, DType type) throws IOException {
    Tensor tensor = file.plain(key, type);
    return Tensor.of(tensor.memory(), type, tensor.rows(), tensor.rowLength(), 1);
  }

  private static WignerD turn(Tensor rotations, long which, int degree) {
    double[] rotation = new double[9];
    for (int i = 0; i < 9; i++) {
      rotation[i] = rotations.getDouble(which, i / 3, i % 3);
    }
    return WignerD.of(rotation, degree);
  }

  private void matrices(String key, Tensor rotations) throws IOException {
    Tensor got = file.like(key, DType.F64);
    int degree = file.degree(key);
    for (long q = 0; q < got.dim(0); q++) {
      WignerD turn = turn(rotations, q, degree);
      for (int l = 0; l <= degree; l++) {
        for (int m = -l; m <= l; m++) {
          for (int n = -l; n <= l; n++) {
            int middle = l * l + l;
            got.setDouble(turn.get(l, m, n), q, (long) middle + m, (long) middle + n);
          }
        }
      }
    }
    file.compare(key, "matrices", got);
  }

  /** The coefficients of every rotation, [rotations, items, components]. */
  private void rotated(String key, int degree, Tensor rotations, DType type) throws IOException {
    Tensor x = rows(key, type);
    Tensor got = file.like(key + "_rot", type);
    Tensor out = Tensor.allocate(file.arena(), type, x.shape());
    for (long q = 0; q < got.dim(0); q++) {
      turn(rotations, q, degree).rotate(x, out);
      for (long item = 0; item < x.dim(0); item++) {
        for (long i = 0; i < x.dim(1); i++) {
          got.setDouble(out.getDouble(item, i, 0), q, item, i);
        }
      }
    }
    file.compare(key + "_rot", "rotated", got);
  }
}
