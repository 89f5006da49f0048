package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.kronecker.Storage;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The defects of the released optimizer that this one must not have, numbered as in its
 * specification. Number 1 is tested in {@link DataParallelTest}, number 10 in {@link
 * MkorCheckpointTest}.
 */
class MkorDefectTest {
  private final Arena arena = Arena.ofConfined();
  private final Samples samples = new Samples(arena, 4);

  @AfterEach
  void close() {
    arena.close();
  }

  private static MkorBuilder everyStep() {
    return Mkor.builder().refreshEvery(1).applyFirst(true);
  }

  /**
   * The recorded run divided the loss and then g by three: its vectors appear with the released
   * accounting, and g is three times as large, the gradient of the bias, without.
   */
  @Test
  void defect2GradientAccumulationDividesGOnce() throws IOException {
    assumeTrue(Trajectory.present(), "recorded cases are absent");
    Trajectory run = new Trajectory("traj_seq_accum_adam", arena);
    int k = run.description.get("accum").getAsInt();
    try (Mkor released = run.builder().microBatches(k, Accumulation.RELEASED).build();
        Mkor right = run.builder().microBatches(k, Accumulation.SUM).build()) {
      run.addLayers(released);
      run.addLayers(right);
      for (int t = 0; t < run.steps; t++) {
        for (int i = 0; i < run.layers; i++) {
          MkorLayer layer = released.layers().get(i);
          MkorLayer other = right.layers().get(i);
          if (released.isRefresh()) {
            for (int q = 0; q < k; q++) {
              Tensor x = rows(run.get(t, i, "m" + q + ".x"));
              Tensor dy = rows(run.get(t, i, "m" + q + ".dy"));
              layer.accumulate(samples.columnMeans(x), samples.columnSums(dy), x.dim(0));
              other.accumulate(samples.columnMeans(x), samples.columnSums(dy), x.dim(0));
            }
          }
        }
        released.refresh();
        right.refresh();
        for (int i = 0; i < run.layers; i++) {
          MkorLayer layer = released.layers().get(i);
          if (released.isRefresh()) {
            assertNear(5e-6, run.get(t, i, "a"), Samples.factors(layer).a);
            assertNear(5e-6, run.get(t, i, "g"), Samples.factors(layer).g);
            assertNear(5e-6, run.get(t, i, "a"), Samples.factors(right.layers().get(i)).a);
            assertNear(5e-6, run.get(t, i, "db"), Samples.factors(right.layers().get(i)).g);
          }
          Tensor dw = samples.copy(run.get(t, i, "dw"));
          Tensor db = samples.copy(run.get(t, i, "db"));
          layer.precondition(dw, db);
          assertNear(1e-5, run.get(t, i, "pw"), dw);
          assertNear(1e-5, run.get(t, i, "pb"), db);
        }
        released.step();
        right.step();
      }
    }
  }

  @Test
  void aRunWithAScaledLossAndUnscaledGradientsIsAsRecorded() throws IOException {
    assumeTrue(Trajectory.present(), "recorded cases are absent");
    Trajectory run = new Trajectory("traj_lossscale", arena);
    try (Mkor mkor = run.builder().build()) {
      run.addLayers(mkor);
      mkor.lossScale(run.description.get("grad_scale").getAsDouble(), 1);
      for (int t = 0; t < run.steps; t++) {
        for (int i = 0; i < run.layers; i++) {
          Tensor x = rows(run.get(t, i, "m0.x"));
          Tensor dy = rows(run.get(t, i, "m0.dy"));
          mkor.layers().get(i).accumulate(samples.columnMeans(x), samples.columnSums(dy), x.dim(0));
        }
        for (int i = 0; i < run.layers; i++) {
          Tensor dw = samples.copy(run.get(t, i, "dw"));
          Tensor db = samples.copy(run.get(t, i, "db"));
          mkor.layers().get(i).precondition(dw, db);
          assertNear(5e-6, run.get(t, i, "g"), Samples.factors(mkor.layers().get(i)).g);
          assertNear(1e-5, run.get(t, i, "pw"), dw);
          assertNear(1e-5, run.get(t, i, "pb"), db);
        }
        mkor.step();
      }
    }
  }

  /** All dimensions but the last are rows. */
  private static Tensor rows(Tensor tensor) {
    return Tensor.of(tensor.memory(), DType.F32, tensor.rows(), tensor.rowLength());
  }

  private static void assertNear(double tolerance, Tensor want, Tensor got) {
    double difference = Trajectory.difference(want, got);
    assertTrue(difference <= tolerance, () -> "difference " + difference);
  }

  /** N = 4096 rows of dY = 20 under a loss scale of 2^22: N dY has no half, and g is 0.0195. */
  @Test
  void defect3ManyRowsOfScaledGradientsDoNotOverflow() {
    try (Mkor mkor = everyStep().build()) {
      mkor.lossScale(0x1p22);
      MkorLayer layer = mkor.layer("fc1", 2, 3, false);
      Tensor sum = Tensor.allocate(arena, DType.F32, 2);
      sum.fill(4096 * 20);
      layer.accumulate(samples.normal(1, 3), sum, 4096);
      mkor.step();
      assertEquals(4096 * 20 / 0x1p22, Samples.factors(layer).g.getDouble(0), 1e-8);
    }
  }

  static Stream<Storage> storages() {
    return Stream.of(
        Storage.dense(),
        Storage.symmetricTiles(),
        Storage.deviation(DType.F16),
        Storage.deviation(DType.BF16),
        Storage.lowRank(4, 0.1));
  }

  @ParameterizedTest
  @MethodSource("storages")
  void defect4AQuadraticFormBeyondHalvesStillUpdates(Storage storage) {
    try (Mkor mkor = everyStep().storage(storage).build()) {
      MkorLayer layer = mkor.layer("fc1", 2, 1024, false);
      Tensor a = Tensor.allocate(arena, DType.F32, 1024);
      a.fill(8);
      layer.observe(a, samples.normal(1, 2));
      mkor.step();
      assertEquals(65536, mkor.stats().getFirst().rightQuadratic(), 1);
      Tensor w = Tensor.allocate(arena, DType.F32, 1024);
      Samples.factors(layer).right.multiply(a, w);
      assertTrue(Samples.norm(w) < 0.02 * Samples.norm(a), "the direction of a is removed");
    }
  }

  @ParameterizedTest
  @MethodSource("storages")
  void defect5SmallGradientsStillUpdate(Storage storage) {
    // Halves end at 2^-24; a mean loss has gradients below the root of that.
    double small = storage.equals(Storage.deviation(DType.F16)) ? 3e-3 : 1e-4;
    try (Mkor mkor = everyStep().storage(storage).build()) {
      MkorLayer layer = mkor.layer("fc1", 8, 3, false);
      Tensor g = Tensor.allocate(arena, DType.F32, 8);
      g.fill(small);
      for (int t = 0; t < 3; t++) {
        layer.observe(samples.normal(1, 3), g);
        mkor.step();
      }
      float offDiagonal = Samples.left(layer)[1];
      // The sum of gamma^age over three updates.
      assertEquals(-small * small * (1 + 0.95 + 0.95 * 0.95), offDiagonal, 0.1 * small * small);
    }
  }

  @Test
  void defect6ANanDoesNotPoisonTheRunAndNuIsFinite() {
    try (Mkor mkor = everyStep().build()) {
      MkorLayer layer = mkor.layer("fc1", 4, 3, false);
      Tensor w = samples.normal(1, 4, 3);
      Tensor bad = samples.normal(1, 4);
      bad.setDouble(Double.NaN, 2);
      for (int t = 0; t < 4; t++) {
        layer.observe(samples.normal(1, 3), t == 1 ? bad : samples.normal(1, 4));
        layer.step(w, null, samples.normal(1, 4, 3), null, 0.1);
        assertTrue(Double.isFinite(mkor.stats().getFirst().nu()));
        assertNotEquals(1, mkor.stats().getFirst().nu(), 1e-9, "still preconditioned");
        mkor.step();
      }
      assertEquals(1, mkor.stats().getFirst().skipped());
      assertTrue(Double.isFinite(Samples.norm(w)));
    }
  }

  @Test
  void defect7ALayerUnusedInAForwardPassDoesNotStopTheRun() {
    try (Mkor mkor = everyStep().build()) {
      MkorLayer used = mkor.layer("used", 4, 3, false);
      MkorLayer unused = mkor.layer("unused", 4, 3, false);
      used.observe(samples.normal(1, 3), samples.normal(1, 4));
      mkor.step();
      assertArrayEquals(Samples.identity(4), Samples.left(unused));
      assertEquals(1, mkor.stats().get(1).unseen());
    }
  }

  @Test
  void defect8ExcludedLayersTakeNothingBesideTheirMoments() {
    try (Mkor mkor = Mkor.builder().exclude("head").backEnd(new Adam()).build()) {
      mkor.layer("fc1", 64, 64, false);
      mkor.layer("head", 30528, 1024, false);
      LayerMemory head = mkor.memory().getLast();
      assertEquals(2L * 4 * 30528 * 1024, head.bytes());
    }
  }

  @ParameterizedTest
  @MethodSource("storages")
  void defect9FactorsAreSymmetricBitForBit(Storage storage) {
    try (Mkor mkor = everyStep().storage(storage).build()) {
      int d = 70;
      MkorLayer layer = mkor.layer("fc1", d, d, false);
      for (int t = 0; t < 20; t++) {
        layer.observe(samples.normal(1, d), samples.normal(1, d));
        mkor.step();
      }
      for (float[] factor : new float[][] {Samples.left(layer), Samples.right(layer)}) {
        for (int i = 0; i < d; i++) {
          for (int j = 0; j < i; j++) {
            assertEquals(factor[i * d + j], factor[j * d + i], i + ", " + j);
          }
        }
      }
    }
  }
}
