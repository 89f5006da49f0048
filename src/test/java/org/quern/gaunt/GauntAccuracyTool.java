package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.util.Locale;
import org.quern.random.Philox;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Errors of products (L, L, L) of random functions by degree, relative in the Frobenius norm:
 * {@code java -cp ... GauntAccuracyTool} prints the table of the documentation. Results are
 * compared with the grid in double precision, whose own error the double precision columns bound.
 */
public final class GauntAccuracyTool {
  private static final int CHANNELS = 16;

  private GauntAccuracyTool() {}

  /** Prints the table. */
  public static void main(String[] args) {
    Tier tier = GauntProduct.builder(0, 0, 0).build().tier();
    System.out.print("| L |");
    for (Algorithm algorithm : Algorithm.values()) {
      System.out.print(" " + algorithm + " F32 | F64 |");
    }
    System.out.println(" turned F32 | F64 |");
    for (int degree : new int[] {1, 2, 4, 6, 8, 10, 12, 16, 24, 32}) {
      System.out.print("| " + degree + " |");
      for (Algorithm algorithm : Algorithm.values()) {
        for (DType type : new DType[] {DType.F32, DType.F64}) {
          String text =
              applies(algorithm, degree)
                  ? String.format(Locale.ROOT, "%.1e", error(algorithm, type, tier, degree))
                  : "";
          System.out.print(" " + text + " |");
        }
      }
      System.out.printf(
          Locale.ROOT,
          " %.1e | %.1e |%n",
          turnError(DType.F32, tier, degree),
          turnError(DType.F64, tier, degree));
    }
  }

  /** Whether the tables of an algorithm are made in little time. */
  static boolean applies(Algorithm algorithm, int degree) {
    return switch (algorithm) {
      case DIRECT -> degree <= 10;
      case POINTS -> degree <= 8;
      default -> true;
    };
  }

  /** The relative error of one algorithm; in double precision the distance from the grid. */
  static double error(Algorithm algorithm, DType type, Tier tier, int degree) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor x = function(arena, type, degree, 1);
      Tensor y = function(arena, type, degree, 2);
      Tensor got = product(arena, algorithm, tier, x, y);
      Algorithm other = algorithm == Algorithm.GRID ? Algorithm.HYBRID : Algorithm.GRID;
      Tensor expected = product(arena, other, tier, x.to(DType.F64, arena), y.to(DType.F64, arena));
      return distance(got, expected);
    }
  }

  /** The distance of the product of turned functions from the turned product. */
  static double turnError(DType type, Tier tier, int degree) {
    Philox random = new Philox(degree, 3);
    WignerD turn =
        WignerD.ofAngles(
            2 * Math.PI * random.nextDouble(),
            Math.acos(2 * random.nextDouble() - 1),
            2 * Math.PI * random.nextDouble(),
            degree);
    try (Arena arena = Arena.ofConfined()) {
      Tensor x = function(arena, type, degree, 1);
      Tensor y = function(arena, type, degree, 2);
      Tensor turnedX = Tensor.allocate(arena, type, x.shape());
      Tensor turnedY = Tensor.allocate(arena, type, x.shape());
      Tensor expected = Tensor.allocate(arena, type, x.shape());
      turn.rotate(x, turnedX);
      turn.rotate(y, turnedY);
      GauntProduct product =
          GauntProduct.builder(degree, degree, degree).type(type).tier(tier).build();
      Tensor out = Tensor.allocate(arena, type, x.shape());
      product.multiply(x, y, out);
      turn.rotate(out, expected);
      product.multiply(turnedX, turnedY, out);
      return distance(out, expected);
    }
  }

  private static Tensor function(Arena arena, DType type, int degree, int stream) {
    return SphereFunctions.normal(
        arena, type, new Philox(degree, stream), 1, (degree + 1L) * (degree + 1), CHANNELS);
  }

  private static Tensor product(Arena arena, Algorithm algorithm, Tier tier, Tensor x, Tensor y) {
    int degree = (int) Math.round(Math.sqrt((double) x.dim(1))) - 1;
    Tensor out = Tensor.allocate(arena, x.type(), x.shape());
    GauntProduct.builder(degree, degree, degree)
        .type(x.type())
        .tier(tier)
        .algorithm(algorithm)
        .build()
        .multiply(x, y, out);
    return out;
  }

  private static double distance(Tensor got, Tensor expected) {
    double[] a = got.toDoubleArray();
    double[] b = expected.toDoubleArray();
    double error = 0;
    double size = 0;
    for (int i = 0; i < a.length; i++) {
      error += (a[i] - b[i]) * (a[i] - b[i]);
      size += b[i] * b[i];
    }
    return Math.sqrt(error / size);
  }
}
