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
 * Trains {@link ClusterModel} on energies and forces of clusters whose potential is known, and
 * predicts clusters that it has not seen. Forces are slopes of the one energy, in training, where
 * the gradient of their errors is made of second gradients of the layers, and in the prediction.
 */
final class ForceFieldTour {
  private static final int ATOMS = 5;
  private static final int TRAINING = 60;
  private static final int TEST = 20;
  private static final int STEPS = 200;
  private static final long SEED = 20231231;

  /** How much an energy counts beside a component of a force. */
  private static final double ENERGY_WEIGHT = 3;

  /** Root mean square error of a force that passes, over the root mean square of the forces. */
  private static final double TOLERANCE = 0.1;

  /** Deviation of a force from the slope of the energy, F64, over the largest force. */
  private static final double SLOPE_TOLERANCE = 1e-6;

  /** Deviation of forces on a turned cluster from turned forces, F64, over the largest. */
  private static final double TURN_TOLERANCE = 1e-12;

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
    List<Double> losses = new ArrayList<>();
    double[] parameters = train(model, training, losses);
    double seconds = (System.nanoTime() - start) * 1e-9;
    double error = forceError(model, test, parameters);
    double slope = slopeError(test.getFirst(), parameters);
    double turn = turnError(random, test.getFirst(), parameters);
    TourRow row =
        new TourRow(
            GauntFamily.NAME,
            String.format(
                Locale.ROOT,
                "force field of %d parameters trained on forces of %d clusters of %d atoms",
                ClusterModel.parameters(),
                TRAINING,
                ATOMS),
            context.tier(),
            seconds,
            Double.NaN,
            "",
            String.format(
                Locale.ROOT,
                "unseen forces to %.1f %%; slope of the energy to %.0e, turned with the cluster to"
                    + " %.0e",
                100 * error,
                slope,
                turn),
            error <= TOLERANCE && slope <= SLOPE_TOLERANCE && turn <= TURN_TOLERANCE);
    return new TourReport(List.of(row), List.of(history(losses), scan(model, parameters)));
  }

  private static List<Cluster> clusters(Philox random, int count) {
    List<Cluster> clusters = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      clusters.add(Cluster.random(random, ATOMS));
    }
    return clusters;
  }

  /** Steps down the loss of energies and forces, whose root mean squares are recorded. */
  private double[] train(ClusterModel model, List<Cluster> clusters, List<Double> losses) {
    int numbers = TRAINING * (1 + 3 * ATOMS);
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      ClusterModel.Batch batch = model.new Batch(arena, workspace, clusters);
      Lbfgs descent =
          new Lbfgs(
              (parameters, gradient) -> batch.loss(parameters, ENERGY_WEIGHT, gradient),
              ClusterModel.start());
      losses.add(Math.sqrt(descent.value() / numbers));
      for (int step = 0; step < STEPS && descent.step(); step++) {
        losses.add(Math.sqrt(descent.value() / numbers));
        context.progress().report("training a force field", step + 1, STEPS);
      }
      return descent.x();
    }
  }

  private static Chart history(List<Double> losses) {
    List<Double> steps = new ArrayList<>();
    for (int i = 0; i < losses.size(); i++) {
      steps.add((double) i);
    }
    return new Chart(
        "Force field: root mean square error of forces and weighted energies while training",
        Chart.Kind.LINES,
        "step",
        "error",
        true,
        List.of(),
        List.of(new Chart.Series("training clusters", steps, losses)));
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

  private static double forceError(
      ClusterModel model, List<Cluster> clusters, double[] parameters) {
    double[] expected = forces(clusters);
    double[] got;
    try (Arena arena = Arena.ofShared();
        LayerWorkspace workspace = new LayerWorkspace()) {
      got = model.new Batch(arena, workspace, clusters).forces(parameters);
    }
    double error = 0;
    for (int i = 0; i < got.length; i++) {
      error += (got[i] - expected[i]) * (got[i] - expected[i]);
    }
    return Math.sqrt(error / dot(expected, expected));
  }

  /** In double precision: forces against central differences of the energy. */
  private static double slopeError(Cluster cluster, double[] parameters) {
    ClusterModel model = new ClusterModel(DType.F64, Tier.SCALAR);
    double worst = 0;
    double largest = 0;
    double step = 1e-5;
    try (LayerWorkspace workspace = new LayerWorkspace();
        Arena arena = Arena.ofShared()) {
      double[] forces = model.new Batch(arena, workspace, List.of(cluster)).forces(parameters);
      for (int i = 0; i < forces.length; i++) {
        double[] ahead = cluster.places().clone();
        double[] behind = cluster.places().clone();
        ahead[i] += step;
        behind[i] -= step;
        List<Cluster> pair = List.of(Cluster.of(ahead), Cluster.of(behind));
        double[] energies = model.new Batch(arena, workspace, pair).energies(parameters);
        double slope = (energies[1] - energies[0]) / (2 * step);
        worst = Math.max(worst, Math.abs(slope - forces[i]));
        largest = Math.max(largest, Math.abs(forces[i]));
      }
    }
    return worst / largest;
  }

  /** In double precision: forces on a turned cluster against turned forces. */
  private static double turnError(Philox random, Cluster cluster, double[] parameters) {
    double[] rotation =
        WignerD.rotation(
            2 * Math.PI * random.nextDouble(),
            Math.acos(2 * random.nextDouble() - 1),
            2 * Math.PI * random.nextDouble());
    ClusterModel model = new ClusterModel(DType.F64, Tier.SCALAR);
    try (LayerWorkspace workspace = new LayerWorkspace();
        Arena arena = Arena.ofShared()) {
      Cluster turned = Cluster.of(turned(rotation, cluster.places()));
      double[] expected =
          turned(rotation, model.new Batch(arena, workspace, List.of(cluster)).forces(parameters));
      double[] got = model.new Batch(arena, workspace, List.of(turned)).forces(parameters);
      double worst = 0;
      double largest = 0;
      for (int i = 0; i < got.length; i++) {
        worst = Math.max(worst, Math.abs(got[i] - expected[i]));
        largest = Math.max(largest, Math.abs(expected[i]));
      }
      return worst / largest;
    }
  }

  private static double[] turned(double[] rotation, double[] vectors) {
    double[] turned = new double[vectors.length];
    for (int i = 0; i < vectors.length; i++) {
      for (int axis = 0; axis < 3; axis++) {
        turned[i] += rotation[3 * (i % 3) + axis] * vectors[i - i % 3 + axis];
      }
    }
    return turned;
  }

  /** The energy of three atoms over the angle between two bonds, as it is and as predicted. */
  private static Chart scan(ClusterModel model, double[] parameters) {
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
      for (double energy : model.new Batch(arena, workspace, bent).energies(parameters)) {
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
            new Chart.Series("trained force field", angles, predicted)));
  }
}
