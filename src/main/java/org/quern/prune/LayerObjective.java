package org.quern.prune;

import org.quern.tensor.Tensor;

/**
 * What a layer loses by new weights, in binary64: {@code 1/2 trace((W' - W) H (W' - W)^T)} with
 * {@code H = (2/N) sum X^T X}, damped by one per cent of the mean of its diagonal.
 */
final class LayerObjective {
  private static final double DAMP = 0.01;

  private final double[] weights;
  private final double[][] hessian;

  /**
   * The objective of a layer.
   *
   * @param weights W, [m, n]
   * @param inputs inputs of the layer, [samples, tokens, n]
   */
  LayerObjective(Tensor weights, Tensor inputs) {
    this.weights = weights.toDoubleArray();
    int n = Math.toIntExact(inputs.rowLength());
    double[] x = inputs.toDoubleArray();
    hessian = new double[n][n];
    double trace = 0;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j < n; j++) {
        double sum = 0;
        for (int token = 0; token < x.length / n; token++) {
          sum += x[token * n + i] * x[token * n + j];
        }
        hessian[i][j] = 2 * sum / inputs.dim(0);
      }
      trace += hessian[i][i];
    }
    for (int i = 0; i < n; i++) {
      hessian[i][i] += DAMP * trace / n;
    }
  }

  /** The objective of new weights, [m, n]. */
  double of(Tensor newWeights) {
    double[] changed = newWeights.toDoubleArray();
    int n = hessian.length;
    double sum = 0;
    for (int row = 0; row < changed.length / n; row++) {
      for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++) {
          int at = row * n;
          sum +=
              (changed[at + i] - weights[at + i])
                  * hessian[i][j]
                  * (changed[at + j] - weights[at + j]);
        }
      }
    }
    return sum / 2;
  }
}
