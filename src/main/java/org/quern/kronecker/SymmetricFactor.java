package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.util.Map;
import org.quern.tensor.Tensor;

/** A factor that keeps every element. */
final class SymmetricFactor extends InverseFactor {
  private final int d;
  private final Storage storage;
  private final UpdateRule rule;
  private final double gamma;
  private final double[] j;
  private double quadraticForm = Double.NaN;

  SymmetricFactor(Arena arena, int d, Storage storage, UpdateRule rule, double gamma) {
    this.d = d;
    this.storage = storage;
    this.rule = rule;
    this.gamma = gamma;
    this.j = new double[d * d];
    reset();
  }

  @Override
  public int dimension() {
    return d;
  }

  @Override
  public Storage storage() {
    return storage;
  }

  @Override
  public int rank() {
    return d;
  }

  @Override
  public Outcome update(Tensor v) {
    double[] x = v.toDoubleArray();
    double[] y = new double[d];
    double s = 0;
    for (int r = 0; r < d; r++) {
      double w = 0;
      for (int k = 0; k < d; k++) {
        w += j[r * d + k] * x[k];
      }
      y[r] = rule.alpha(gamma) * w + rule.beta(gamma) * x[r];
      s += x[r] * y[r];
      if (!Double.isFinite(x[r])) {
        return Outcome.SKIPPED;
      }
    }
    for (int r = 0; r < d; r++) {
      for (int k = 0; k < d; k++) {
        j[r * d + k] =
            rule.p(gamma) * j[r * d + k]
                + (r == k ? rule.c(gamma) : 0)
                + rule.q(gamma, s) * y[r] * y[k];
      }
    }
    quadraticForm = s;
    return Outcome.APPLIED;
  }

  @Override
  public double quadraticForm() {
    return quadraticForm;
  }

  @Override
  public void multiply(Tensor v, Tensor w) {
    for (int r = 0; r < d; r++) {
      double sum = 0;
      for (int k = 0; k < d; k++) {
        sum += j[r * d + k] * v.getDouble(k);
      }
      w.setDouble(sum, r);
    }
  }

  @Override
  public void reset() {
    for (int r = 0; r < d; r++) {
      for (int k = 0; k < d; k++) {
        j[r * d + k] = r == k ? 1 : 0;
      }
    }
  }

  @Override
  public void blend(double zeta) {
    for (int r = 0; r < d; r++) {
      for (int k = 0; k < d; k++) {
        j[r * d + k] = zeta * j[r * d + k] + (r == k ? 1 - zeta : 0);
      }
    }
  }

  @Override
  public double maxAbs() {
    double max = 0;
    for (double x : j) {
      max = Math.max(max, Math.abs(x));
    }
    return max;
  }

  @Override
  public double infinityNorm() {
    double max = 0;
    for (int r = 0; r < d; r++) {
      double sum = 0;
      for (int k = 0; k < d; k++) {
        sum += Math.abs(j[r * d + k]);
      }
      max = Math.max(max, sum);
    }
    return max;
  }

  @Override
  public void toDense(Tensor out) {
    for (int r = 0; r < d; r++) {
      for (int k = 0; k < d; k++) {
        out.setDouble(j[r * d + k], r, k);
      }
    }
  }

  @Override
  public void fromDense(Tensor in) {
    for (int r = 0; r < d; r++) {
      for (int k = 0; k < d; k++) {
        j[r * d + k] = in.getDouble(r, k);
      }
    }
  }

  @Override
  public void diagonal(Tensor out) {
    for (int r = 0; r < d; r++) {
      out.setDouble(j[r * d + r], r);
    }
  }

  @Override
  public Map<String, Tensor> state(Arena arena) {
    return Map.of(
        "j",
        Tensor.copyOf(arena, j, d, d),
        "s",
        Tensor.copyOf(arena, new double[] {quadraticForm}, 1));
  }

  @Override
  public void restore(Map<String, Tensor> state) {
    Tensor saved = state.get("j");
    Tensor s = state.get("s");
    if (saved == null || s == null || saved.rank() != 2 || saved.dim(0) != d) {
      throw new IllegalArgumentException(
          "state: expected j of [" + d + ", " + d + "] and s, got " + state);
    }
    fromDense(saved);
    quadraticForm = s.getDouble(0);
  }
}
