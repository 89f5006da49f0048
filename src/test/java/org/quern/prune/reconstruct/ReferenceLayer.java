package org.quern.prune.reconstruct;

import java.util.Arrays;
import java.util.Comparator;
import java.util.Random;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.quern.prune.Pattern;

/** A layer with calibration inputs, and its reconstructions in binary64, as the formulas read. */
public final class ReferenceLayer {
  static final double DAMP = 0.01;

  final double[][] weights;

  /** Inputs, [samples][tokens][n]. */
  final double[][][] inputs;

  /** H without damping. */
  final double[][] hessian;

  private double @Nullable [][] factor;

  /** A layer of given weights and inputs. */
  public ReferenceLayer(double[][] weights, double[][][] inputs) {
    this.weights = weights;
    this.inputs = inputs;
    int n = weights[0].length;
    hessian = new double[n][n];
    for (double[][] sample : inputs) {
      for (double[] x : sample) {
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < n; j++) {
            hessian[i][j] += 2.0 / inputs.length * x[i] * x[j];
          }
        }
      }
    }
  }

  /** A layer whose inputs have a common part, some columns of large variance and a mean. */
  static ReferenceLayer random(int m, int n, int samples, int tokens, Random random) {
    double[][] weights = new double[m][n];
    for (double[] row : weights) {
      Arrays.setAll(row, j -> (float) (0.1 * random.nextGaussian()));
    }
    double[][][] inputs = new double[samples][tokens][n];
    for (double[][] sample : inputs) {
      for (double[] x : sample) {
        double common = random.nextGaussian();
        Arrays.setAll(
            x, j -> (float) ((random.nextGaussian() + common) * (j % 7 == 3 ? 4 : 1) + 0.5));
      }
    }
    return new ReferenceLayer(weights, inputs);
  }

  int columns() {
    return hessian.length;
  }

  /** H with the damping; a dead column has a diagonal of 1. */
  double[][] damped(double damp) {
    int n = columns();
    double[][] a = new double[n][];
    double trace = 0;
    for (int i = 0; i < n; i++) {
      a[i] = hessian[i].clone();
      a[i][i] = a[i][i] == 0 ? 1 : a[i][i];
      trace += a[i][i];
    }
    for (int i = 0; i < n; i++) {
      a[i][i] += damp * trace / n;
    }
    return a;
  }

  /** L with A = L L^T. */
  static double[][] cholesky(double[][] a) {
    int n = a.length;
    double[][] lower = new double[n][n];
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        double sum = a[i][j];
        for (int p = 0; p < j; p++) {
          sum -= lower[i][p] * lower[j][p];
        }
        lower[i][j] = i == j ? Math.sqrt(sum) : sum / lower[j][j];
      }
    }
    return lower;
  }

  /** x with L L^T x = b. */
  static double[] solve(double[][] lower, double[] b) {
    int n = b.length;
    double[] x = b.clone();
    for (int i = 0; i < n; i++) {
      for (int p = 0; p < i; p++) {
        x[i] -= lower[i][p] * x[p];
      }
      x[i] /= lower[i][i];
    }
    for (int i = n - 1; i >= 0; i--) {
      for (int p = i + 1; p < n; p++) {
        x[i] -= lower[p][i] * x[p];
      }
      x[i] /= lower[i][i];
    }
    return x;
  }

  /** U with A^-1 = U^T U: the transpose of the Cholesky factor of the inverse. */
  static double[][] upper(double[][] a) {
    int n = a.length;
    double[][] lower = cholesky(a);
    double[][] inverse = new double[n][];
    for (int i = 0; i < n; i++) {
      double[] unit = new double[n];
      unit[i] = 1;
      inverse[i] = solve(lower, unit);
    }
    double[][] ofInverse = cholesky(inverse);
    double[][] upper = new double[n][n];
    for (int i = 0; i < n; i++) {
      for (int j = i; j < n; j++) {
        upper[i][j] = ofInverse[j][i];
      }
    }
    return upper;
  }

  private double[][] factor() {
    if (factor == null) {
      factor = upper(damped(DAMP));
    }
    return factor;
  }

  /** SparseGPT by a pattern: the released program, column by column over all rows. */
  public double[][] sparseGpt(Pattern pattern) {
    return sweep(pattern, null);
  }

  /** The same sweep with a given mask. */
  double[][] sparseGpt(boolean[][] mask) {
    return sweep(null, mask);
  }

  private double[][] sweep(@Nullable Pattern pattern, boolean @Nullable [][] mask) {
    int m = weights.length;
    int n = columns();
    double[][] u = factor();
    double[][] w = new double[m][];
    Arrays.setAll(w, i -> weights[i].clone());
    boolean[][] pruned = new boolean[m][n];
    int of = pattern instanceof Pattern.NM nm ? nm.of() : 1;
    int block = 128 / of * of;
    for (int start = 0; start < n; start += block) {
      int end = Math.min(n, start + block);
      if (pattern instanceof Pattern.Unstructured ratio) {
        double[] scores = new double[m * (end - start)];
        for (int i = 0; i < m; i++) {
          for (int j = start; j < end; j++) {
            scores[i * (end - start) + j - start] = score(w[i][j], u[j][j]);
          }
        }
        double[] sorted = scores.clone();
        Arrays.sort(sorted);
        double threshold = sorted[(int) (sorted.length * ratio.ratio())];
        for (int i = 0; i < m; i++) {
          for (int j = start; j < end; j++) {
            pruned[i][j] = scores[i * (end - start) + j - start] <= threshold;
          }
        }
      }
      for (int j = start; j < end; j++) {
        for (int i = 0; i < m; i++) {
          if (pattern instanceof Pattern.NM nm && j % of == 0) {
            markSmallest(w[i], u, j, nm, pruned[i]);
          }
          boolean goes = mask == null ? pruned[i][j] : mask[i][j];
          double error = goes ? w[i][j] / u[j][j] : 0;
          for (int later = j; later < n; later++) {
            w[i][later] -= error * u[j][later];
          }
          w[i][j] = goes ? 0 : w[i][j];
        }
      }
    }
    return w;
  }

  private static void markSmallest(
      double[] row, double[][] u, int first, Pattern.NM nm, boolean[] pruned) {
    IntStream.range(first, first + nm.of())
        .boxed()
        .sorted(Comparator.comparing(j -> score(row[j], u[j][j])))
        .limit(nm.prune())
        .forEach(j -> pruned[j] = true);
  }

  private static double score(double weight, double diagonal) {
    return weight * weight / (diagonal * diagonal);
  }

  /** The weights of least objective under a mask: one linear system per row. */
  double[][] exact(boolean[][] mask) {
    double[][] a = damped(DAMP);
    int n = columns();
    double[][] best = new double[weights.length][n];
    for (int row = 0; row < best.length; row++) {
      boolean[] pruned = mask[row];
      double[] w = weights[row];
      int[] kept = IntStream.range(0, n).filter(j -> !pruned[j]).toArray();
      double[][] part = new double[kept.length][kept.length];
      double[] right = new double[kept.length];
      for (int i = 0; i < kept.length; i++) {
        for (int j = 0; j < kept.length; j++) {
          part[i][j] = a[kept[i]][kept[j]];
        }
        for (int j = 0; j < n; j++) {
          right[i] += a[kept[i]][j] * w[j];
        }
      }
      double[] x = solve(cholesky(part), right);
      for (int i = 0; i < kept.length; i++) {
        best[row][kept[i]] = x[i];
      }
    }
    return best;
  }

  /** {@code 1/2 trace((W' - W) A (W' - W)^T)} with the damped A. */
  double objective(double[][] changed) {
    double[][] a = damped(DAMP);
    double sum = 0;
    for (int row = 0; row < weights.length; row++) {
      for (int i = 0; i < a.length; i++) {
        for (int j = 0; j < a.length; j++) {
          sum +=
              (changed[row][i] - weights[row][i]) * a[i][j] * (changed[row][j] - weights[row][j]);
        }
      }
    }
    return sum / 2;
  }

  /** The weights, zero where a mask prunes. */
  double[][] masked(boolean[][] mask) {
    double[][] masked = new double[weights.length][columns()];
    for (int i = 0; i < masked.length; i++) {
      for (int j = 0; j < columns(); j++) {
        masked[i][j] = mask[i][j] ? 0 : weights[i][j];
      }
    }
    return masked;
  }
}
