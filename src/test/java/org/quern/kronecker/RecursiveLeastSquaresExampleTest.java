package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The examples of docs/kronecker.md that use the symmetric matrix alone, as they stand there. */
class RecursiveLeastSquaresExampleTest {
  /** Least squares on a stream, forgetting at the rate f. */
  static final class RecursiveLeastSquares {
    private final SymmetricMatrix p; // the inverse of sum f^age x x', and of f^n / ridge I
    private final Tensor weights;
    private final Tensor gain;
    private final double f;

    RecursiveLeastSquares(Arena arena, int d, double f, double ridge) {
      p = SymmetricMatrix.create(arena, d, SymmetricMatrix.Layout.TILES, DType.F32);
      p.setIdentity(ridge);
      weights = Tensor.allocate(arena, DType.F32, d);
      gain = Tensor.allocate(arena, DType.F32, d);
      this.f = f;
    }

    /** Takes the observation that inputs x gave the value y. */
    void observe(Tensor x, double y) {
      p.multiply(x, gain);
      double s = dot(x, gain);
      double error = y - dot(x, weights);
      p.update(1 / f, 0, -1 / (f * (f + s)), gain);
      for (int i = 0; i < p.dimension(); i++) {
        weights.setDouble(weights.getDouble(i) + error / (f + s) * gain.getDouble(i), i);
      }
    }

    Tensor weights() {
      return weights;
    }

    private static double dot(Tensor x, Tensor y) {
      double sum = 0;
      for (int i = 0; i < x.size(); i++) {
        sum += x.getDouble(i) * y.getDouble(i);
      }
      return sum;
    }
  }

  @Test
  void followsWeightsThatChange() {
    int seed = 11;
    System.out.println("seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    try (Arena arena = Arena.ofConfined()) {
      int d = 20;
      RecursiveLeastSquares fit = new RecursiveLeastSquares(arena, d, 0.98, 1e3);
      Tensor x = Tensor.allocate(arena, DType.F32, d);
      double[] truth = new double[d];
      for (int t = 0; t < 1200; t++) {
        if (t % 600 == 0) {
          for (int i = 0; i < d; i++) {
            truth[i] = random.nextGaussian();
          }
        }
        double y = 0.01 * random.nextGaussian();
        for (int i = 0; i < d; i++) {
          x.setDouble(1 + random.nextGaussian(), i);
          y += truth[i] * x.getDouble(i);
        }
        fit.observe(x, y);
        if (t % 600 == 599) {
          // Noise of 0.01 over about 1 / (1 - f) = 50 observations of 20 weights.
          for (int i = 0; i < d; i++) {
            assertEquals(truth[i], fit.weights().getDouble(i), 0.02, "weight " + i + " at " + t);
          }
        }
      }
    }
  }

  @Test
  void matchesTheFactorOfTheExactRuleUpToScale() {
    int seed = 12;
    System.out.println("seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    try (Arena arena = Arena.ofConfined()) {
      int d = 70;
      double f = 0.9;
      // J^-1 <- f J^-1 + (1-f) x x' is (1-f) P^-1, hence J = P / (1-f).
      RecursiveLeastSquares fit = new RecursiveLeastSquares(arena, d, f, 1 - f);
      InverseFactor factor =
          InverseFactor.create(arena, d, Storage.symmetricTiles(), UpdateRule.EXACT, f);
      Tensor x = Tensor.allocate(arena, DType.F32, d);
      for (int t = 0; t < 30; t++) {
        for (int i = 0; i < d; i++) {
          x.setDouble(random.nextGaussian(), i);
        }
        fit.observe(x, 0);
        factor.update(x);
      }
      Tensor p = Tensor.allocate(arena, DType.F64, d, d);
      Tensor j = Tensor.allocate(arena, DType.F64, d, d);
      fit.p.toDense(p);
      factor.toDense(j);
      for (int row = 0; row < d; row++) {
        for (int column = 0; column < d; column++) {
          double wanted = (1 - f) * j.getDouble(row, column);
          assertEquals(wanted, p.getDouble(row, column), 1e-5 * factor.maxAbs());
        }
      }
    }
  }

  @Test
  void onlineCovariance() {
    int seed = 13;
    System.out.println("seed " + seed);
    SplittableRandom random = new SplittableRandom(seed);
    try (Arena arena = Arena.ofConfined()) {
      int d = 4;
      SymmetricMatrix covariance =
          SymmetricMatrix.create(arena, d, SymmetricMatrix.Layout.TILES, DType.F32);
      double[] mean = new double[d];
      Tensor x = Tensor.allocate(arena, DType.F32, d);
      Tensor deviation = Tensor.allocate(arena, DType.F32, d);
      int n = 20_000;
      for (int k = 1; k <= n; k++) {
        double common = random.nextGaussian();
        for (int i = 0; i < d; i++) {
          x.setDouble(3 + common + random.nextGaussian(), i);
        }
        // The mean of k vectors and their covariance, from those of k - 1.
        for (int i = 0; i < d; i++) {
          deviation.setDouble(x.getDouble(i) - mean[i], i);
          mean[i] += deviation.getDouble(i) / k;
        }
        covariance.update((k - 1.0) / k, 0, (k - 1.0) / ((double) k * k), deviation);
      }
      Tensor dense = Tensor.allocate(arena, DType.F32, d, d);
      covariance.toDense(dense);
      for (int i = 0; i < d; i++) {
        assertEquals(3, mean[i], 0.05);
        for (int j = 0; j < d; j++) {
          assertEquals(i == j ? 2 : 1, dense.getDouble(i, j), 0.08);
        }
      }
    }
  }

  @Test
  void quasiNewtonStepsMinimizeQuadraticFunction() {
    try (Arena arena = Arena.ofConfined()) {
      int d = 8;
      SymmetricMatrix h = SymmetricMatrix.create(arena, d, SymmetricMatrix.Layout.TILES, DType.F32);
      h.setIdentity(1);
      Tensor x = Tensor.allocate(arena, DType.F32, d);
      Tensor gradient = Tensor.allocate(arena, DType.F32, d);
      Tensor direction = Tensor.allocate(arena, DType.F32, d);
      Tensor y = Tensor.allocate(arena, DType.F32, d);
      Tensor hy = Tensor.allocate(arena, DType.F32, d);
      x.fill(1);
      gradientAt(x, gradient);
      double first = norm(gradient);
      for (int step = 0; step < 60; step++) {
        h.multiply(gradient, direction);
        // A step so short that it never rises; the function is x'Ax / 2 with A = diag(1 .. 8).
        for (int i = 0; i < d; i++) {
          direction.setDouble(-0.5 * direction.getDouble(i), i);
          x.setDouble(x.getDouble(i) + direction.getDouble(i), i);
          y.setDouble(-gradient.getDouble(i), i);
        }
        gradientAt(x, gradient);
        for (int i = 0; i < d; i++) {
          y.setDouble(y.getDouble(i) + gradient.getDouble(i), i);
        }
        bfgs(h, direction, y, hy);
      }
      assertTrue(norm(gradient) < 1e-5 * first, () -> norm(gradient) + " of " + first);
    }
  }

  /**
   * H becomes the inverse Hessian that BFGS gives it after a step s that changed the gradient by y.
   */
  private static void bfgs(SymmetricMatrix h, Tensor s, Tensor y, Tensor hy) {
    h.multiply(y, hy);
    double rho = 1 / RecursiveLeastSquares.dot(s, y);
    if (!(rho > 0) || Double.isInfinite(rho)) {
      return;
    }
    double tau = 1 + rho * RecursiveLeastSquares.dot(y, hy);
    h.update(1, 0, -rho / tau, hy);
    for (int i = 0; i < h.dimension(); i++) {
      hy.setDouble(s.getDouble(i) - hy.getDouble(i) / tau, i);
    }
    h.update(1, 0, rho * tau, hy);
  }

  private static void gradientAt(Tensor x, Tensor gradient) {
    for (int i = 0; i < x.size(); i++) {
      gradient.setDouble((1 + i) * x.getDouble(i), i);
    }
  }

  private static double norm(Tensor x) {
    return Math.sqrt(RecursiveLeastSquares.dot(x, x));
  }
}
