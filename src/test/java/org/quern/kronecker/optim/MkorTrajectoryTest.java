package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.kronecker.InverseFactor;
import org.quern.kronecker.Storage;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Recorded runs of the released optimizer, from the vectors on (property 17). */
class MkorTrajectoryTest {
  private static final Set<String> RUNS =
      Set.of(
          "traj_mlp_sgd",
          "traj_nobias_mean",
          "traj_seq_accum_adam",
          "traj_conv_sgd",
          "traj_firstorder_layer",
          "traj_clip",
          "traj_lamb",
          "traj_lossscale");

  private static final List<Storage> STORAGES =
      List.of(
          Storage.dense(),
          Storage.symmetricTiles(),
          new Storage.SymmetricTiles(3),
          Storage.lowRank(64, 0));

  static Stream<Tier> tiers() {
    return Stream.of(Tier.SCALAR, Tier.VECTOR).filter(Capabilities.get().available()::contains);
  }

  static Stream<Arguments> runs() {
    List<Arguments> runs = new ArrayList<>();
    tiers()
        .forEach(tier -> {
          for (String run : RUNS) {
            for (Storage storage : STORAGES) {
              runs.add(Arguments.of(run, storage, tier));
            }
          }
        });
    return runs.stream();
  }

  @ParameterizedTest
  @MethodSource("runs")
  void factorsGradientsAndParametersAreAsRecorded(String name, Storage storage, Tier tier)
      throws IOException {
    assumeTrue(Trajectory.present(), "recorded cases are absent");
    try (Arena arena = Arena.ofConfined()) {
      Trajectory run = new Trajectory(name, arena);
      MkorBuilder builder = run.builder().storage(storage).tier(tier);
      check(run, builder, arena, new Tolerances(2e-6, 1e-5, 1e-4));
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void aRunWithFactorsInHalfPrecisionIsFollowedByDeviationsInHalfPrecision(Tier tier)
      throws IOException {
    assumeTrue(Trajectory.present(), "recorded cases are absent");
    try (Arena arena = Arena.ofConfined()) {
      Trajectory run = new Trajectory("traj_fp16_emulated", arena);
      MkorBuilder builder = run.builder().storage(Storage.deviation(DType.F16)).tier(tier);
      check(run, builder, arena, new Tolerances(5e-3, 5e-3, 5e-3));
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theModeWithoutActivationsTakesItsVectorsFromTheGradient(Tier tier) throws IOException {
    assumeTrue(Trajectory.present(), "recorded cases are absent");
    try (Arena arena = Arena.ofConfined()) {
      Trajectory run = new Trajectory("traj_gradient_mean_mode", arena);
      MkorBuilder builder =
          run.builder().storage(Storage.symmetricTiles()).tier(tier).gradientMeans(true);
      check(run, builder, arena, new Tolerances(2e-6, 1e-5, 1e-4));
    }
  }

  /** Relative to the greatest magnitude of a tensor. */
  private record Tolerances(double factors, double gradients, double parameters) {}

  private static void check(
      Trajectory run, MkorBuilder builder, Arena arena, Tolerances tolerances) {
    try (Mkor applied = builder.build();
        Mkor stepped = builder.build()) {
      run.addLayers(applied);
      run.addLayers(stepped);
      Tensor[] weights = new Tensor[run.layers];
      @Nullable Tensor[] biases = new Tensor[run.layers];
      for (int i = 0; i < run.layers; i++) {
        weights[i] = start(run, i, "w", arena);
        biases[i] = run.hasBias(i) ? start(run, i, "b", arena) : null;
      }
      int compared = 0;
      for (int t = 0; t < run.steps; t++) {
        observe(run, applied, t);
        observe(run, stepped, t);
        for (int i = 0; i < run.layers; i++) {
          String place = "step " + t + ", layer " + i;
          Tensor dw = copy(run.get(t, i, "dw"), arena);
          Tensor db = run.hasBias(i) ? copy(run.get(t, i, "db"), arena) : null;
          MkorLayer layer = applied.layers().get(i);
          layer.precondition(dw, db);
          compare(place + " pw", run.get(t, i, "pw"), dw, tolerances.gradients);
          if (db != null) {
            compare(place + " pb", run.get(t, i, "pb"), db, tolerances.gradients);
          }
          compared += compareFactors(run, t, i, layer, arena, tolerances.factors);

          dw = copy(run.get(t, i, "dw"), arena);
          db = run.hasBias(i) ? copy(run.get(t, i, "db"), arena) : null;
          stepped.layers().get(i).step(weights[i], biases[i], dw, db, run.learningRate());
          assertTrue(isZero(dw), place + " leaves dw");
          assertTrue(db == null || isZero(db), place + " leaves db");
          compare(place + " w", run.get(t, i, "w"), weights[i], tolerances.parameters);
          Tensor bias = biases[i];
          if (bias != null) {
            compare(place + " b", run.get(t, i, "b"), bias, tolerances.parameters);
          }
        }
        applied.step();
        stepped.step();
      }
      assertTrue(compared > 0, "no factor was compared");
      for (LayerStats stats : stepped.stats()) {
        assertEquals(0, stats.skipped() + stats.resets() + stats.stabilized(), stats.toString());
      }
    }
  }

  /** Recorded, or where the run lacks them what the first step of descent started from. */
  private static Tensor start(Trajectory run, int layer, String name, Arena arena) {
    Tensor initial = run.find("init.l" + layer + "." + name);
    if (initial != null) {
      return copy(initial, arena);
    }
    Tensor after = run.get(0, layer, name);
    float[] values = after.toFloatArray();
    float[] moved = run.get(0, layer, "p" + name).toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] += (float) run.learningRate() * moved[i];
    }
    return Tensor.copyOf(arena, values, after.shape());
  }

  private static void observe(Trajectory run, Mkor mkor, int t) {
    for (int i = 0; i < run.layers; i++) {
      Tensor a = run.find(t, i, "a");
      assertFalse(a != null && !mkor.isRefresh(), "step " + t + " is to refresh");
      if (a != null) {
        mkor.layers().get(i).observe(a, run.get(t, i, "g"));
      }
    }
  }

  private static int compareFactors(
      Trajectory run, int t, int i, MkorLayer layer, Arena arena, double tolerance) {
    Tensor left = run.find(t, i, "L");
    Factors factors = layer.factors();
    if (left == null || factors == null) {
      assertEquals(run.isFirstOrder(i), factors == null);
      return 0;
    }
    compare("step " + t + ", layer " + i + " L", left, dense(factors.left, arena), tolerance);
    compare(
        "step " + t + ", layer " + i + " R",
        run.get(t, i, "R"),
        dense(factors.right, arena),
        tolerance);
    return 1;
  }

  private static Tensor dense(InverseFactor factor, Arena arena) {
    Tensor dense = Tensor.allocate(arena, DType.F32, factor.dimension(), factor.dimension());
    factor.toDense(dense);
    return dense;
  }

  private static void compare(String place, Tensor want, Tensor got, double tolerance) {
    double difference = Trajectory.difference(want, got);
    assertTrue(difference <= tolerance, place + ": " + difference);
  }

  private static Tensor copy(Tensor tensor, Arena arena) {
    return tensor.to(DType.F32, arena);
  }

  private static boolean isZero(Tensor tensor) {
    for (float value : tensor.toFloatArray()) {
      if (value != 0) {
        return false;
      }
    }
    return true;
  }
}
