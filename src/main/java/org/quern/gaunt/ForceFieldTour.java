package org.quern.gaunt;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.quern.family.Chart;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.family.TourRow;
import org.quern.random.Philox;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;

/**
 * Fits {@link ClusterModel} to energies and forces of clusters whose potential is known, and
 * predicts clusters that it has not seen. Forces are slopes of the one energy, in the fit and in
 * the prediction. The energy is linear in the weights, so the fit is a problem of least squares.
 */
final class ForceFieldTour {
  private static final int ATOMS = 5;
  private static final int TRAINING = 60;
  private static final int TEST = 20;
  private static final long SEED = 20231231;

  /** How much an energy counts beside a component of a force. */
  private static final double ENERGY_WEIGHT = 3;

  /** Keeps weights small that the data do not tell apart, relative to the mean square. */
  private static final double RIDGE = 1e-7;

  /** Root mean square error of a force that passes, over the root mean square of the forces. */
  private static final double TOLERANCE = 0.1;

  /** Deviation of a force from the slope of the energy, F64, over the largest force. */
  private static final double SLOPE_TOLERANCE = 1e-6;

  private final TourContext context;

  ForceFieldTour(TourContext context) {
    this.context = context;
  }

  TourReport run() {
    Philox random = new Philox(SEED, 0);
    List<Cluster> training = clusters(random, TRAINING);
    List<Cluster> test = clusters(random, TEST);
    long start = System.nanoTime();
    ClusterModel model = new ClusterModel(DType.F32, context.tier());
    double[] weights = fit(model, training);
    double seconds = (System.nanoTime() - start) * 1e-9;
    double error = forceError(model, test, weights);
    double slope = slopeError(test.get(0), weights);
    TourRow row =
        new TourRow(
            GauntFamily.NAME,
            String.format(
                Locale.ROOT,
                "force field of %d weights fitted to %d clusters of %d atoms",
                ClusterModel.weights(),
                TRAINING,
                ATOMS),
            context.tier(),
            seconds,
            Double.NaN,
            "",
            String.format(
                Locale.ROOT,
                "unseen forces to %.1f %%; force and slope of the energy agree to %.0e",
                100 * error,
                slope),
            error <= TOLERANCE && slope <= SLOPE_TOLERANCE);
    return new TourReport(List.of(row), List.of(scan(model, weights)));
  }

  private static List<Cluster> clusters(Philox random, int count) {
    List<Cluster> clusters = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      clusters.add(Cluster.random(random, ATOMS));
    }
    return clusters;
  }

  /** One weight at a time gives its share of every energy and every force: a column. */
  private double[] fit(ClusterModel model, List<Cluster> clusters) {
    int n = ClusterModel.weights();
    double[][] columns = new double[n][];
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      ClusterModel.Batch batch = model.new Batch(arena, workspace, clusters);
      for (int i = 0; i < n; i++) {
        if (i % 8 == 0) {
          context.progress().report("fitting a force field", i, n);
        }
        double[] unit = new double[n];
        unit[i] = 1;
        columns[i] = joined(batch.energies(unit), batch.forces(unit));
      }
    }
    context.progress().report("fitting a force field", n, n);
    double[] energies = clusters.stream().mapToDouble(Cluster::energy).toArray();
    double[] target = joined(energies, forces(clusters));
    double[][] normal = new double[n][n];
    double[] right = new double[n];
    double trace = 0;
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        normal[i][j] = dot(columns[i], columns[j]);
      }
      right[i] = dot(columns[i], target);
      trace += normal[i][i];
    }
    for (int i = 0; i < n; i++) {
      normal[i][i] += RIDGE * trace / n;
    }
    return solve(normal, right);
  }

  private static double[] joined(double[] energies, double[] forces) {
    double[] all = new double[energies.length + forces.length];
    for (int i = 0; i < energies.length; i++) {
      all[i] = ENERGY_WEIGHT * energies[i];
    }
    System.arraycopy(forces, 0, all, energies.length, forces.length);
    return all;
  }

  private static double[] forces(List<Cluster> clusters) {
    return clusters.stream()
        .flatMapToDouble(cluster -> java.util.Arrays.stream(cluster.forces()))
        .toArray();
  }

  private static double dot(double[] a, double[] b) {
    double sum = 0;
    for (int i = 0; i < a.length; i++) {
      sum += a[i] * b[i];
    }
    return sum;
  }

  /** Solves a positive definite system, given by its lower triangle, by Cholesky's method. */
  private static double[] solve(double[][] matrix, double[] right) {
    int n = right.length;
    double[] x = right.clone();
    for (int i = 0; i < n; i++) {
      for (int j = 0; j <= i; j++) {
        double sum = matrix[i][j];
        for (int k = 0; k < j; k++) {
          sum -= matrix[i][k] * matrix[j][k];
        }
        matrix[i][j] = i == j ? Math.sqrt(sum) : sum / matrix[j][j];
      }
      for (int k = 0; k < i; k++) {
        x[i] -= matrix[i][k] * x[k];
      }
      x[i] /= matrix[i][i];
    }
    for (int i = n - 1; i >= 0; i--) {
      for (int k = i + 1; k < n; k++) {
        x[i] -= matrix[k][i] * x[k];
      }
      x[i] /= matrix[i][i];
    }
    return x;
  }

  private static double forceError(ClusterModel model, List<Cluster> clusters, double[] weights) {
    double[] expected = forces(clusters);
    double[] got;
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      got = model.new Batch(arena, workspace, clusters).forces(weights);
    }
    double error = 0;
    for (int i = 0; i < got.length; i++) {
      error += (got[i] - expected[i]) * (got[i] - expected[i]);
    }
    return Math.sqrt(error / dot(expected, expected));
  }

  /** In double precision: forces against central differences of the energy. */
  private static double slopeError(Cluster cluster, double[] weights) {
    ClusterModel model = new ClusterModel(DType.F64, Tier.SCALAR);
    double worst = 0;
    double largest = 0;
    double step = 1e-5;
    try (LayerWorkspace workspace = new LayerWorkspace();
        Arena arena = Arena.ofShared()) {
      double[] forces = model.new Batch(arena, workspace, List.of(cluster)).forces(weights);
      for (int i = 0; i < forces.length; i++) {
        double[] ahead = cluster.places().clone();
        double[] behind = cluster.places().clone();
        ahead[i] += step;
        behind[i] -= step;
        List<Cluster> pair = List.of(Cluster.of(ahead), Cluster.of(behind));
        double[] energies = model.new Batch(arena, workspace, pair).energies(weights);
        double slope = (energies[1] - energies[0]) / (2 * step);
        worst = Math.max(worst, Math.abs(slope - forces[i]));
        largest = Math.max(largest, Math.abs(forces[i]));
      }
    }
    return worst / largest;
  }

  /** The energy of three atoms over the angle between two bonds, as it is and as predicted. */
  private static Chart scan(ClusterModel model, double[] weights) {
    List<Double> angles = new ArrayList<>();
    List<Double> known = new ArrayList<>();
    List<Cluster> bent = new ArrayList<>();
    for (int degrees = 55; degrees <= 180; degrees += 5) {
      double angle = Math.toRadians(degrees);
      double[] places = {0, 0, 0, 1.3, 0, 0, 1.3 * Math.cos(angle), 1.3 * Math.sin(angle), 0};
      Cluster cluster = Cluster.of(places);
      bent.add(cluster);
      angles.add((double) degrees);
      known.add(cluster.energy());
    }
    List<Double> predicted = new ArrayList<>();
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      for (double energy : model.new Batch(arena, workspace, bent).energies(weights)) {
        predicted.add(energy);
      }
    }
    return new Chart(
        "Three atoms: energy over the angle of two bonds of length 1.3",
        Chart.Kind.LINES,
        "angle, degrees",
        "energy",
        false,
        List.of(),
        List.of(
            new Chart.Series("known potential", angles, known),
            new Chart.Series("fitted force field", angles, predicted)));
  }
}
