package org.quern.prune.reconstruct;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.prune.Pattern;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class SurvivorRefitContractTest {
  private static final String NAME = "layers.1.self_attn.o_proj";

  static Stream<Tier> tiers() {
    return SparseGpt.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static Tensor hessian(Arena arena, ReferenceLayer layer) {
    InputGram moments = new InputGram(arena, layer.columns(), 1);
    moments.add(Samples.tensor(arena, DType.F32, layer.inputs));
    return moments.hessian(arena);
  }

  private static SurvivorRefit plan(int steps, Tier tier) {
    return SurvivorRefit.builder().steps(steps).tier(tier).build();
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void everyStepLowersTheObjectiveToTheLeast(Tier tier) {
    int[][] shapes = {{1, 1}, {3, 8}, {7, 67}, {40, 130}};
    for (int[] shape : shapes) {
      Random random = new Random(41 + shape[1]);
      ReferenceLayer layer = ReferenceLayer.random(shape[0], shape[1], 4, 40, random);
      boolean[][] mask = Samples.mask(shape[0], shape[1], 0.6, random);
      double[][] exact = layer.exact(mask);
      double least = layer.objective(exact);
      try (Arena arena = Arena.ofShared()) {
        Tensor hessian = hessian(arena, layer);
        Tensor packed = Samples.packed(arena, mask);
        double before = layer.objective(layer.masked(mask));
        double scale = Math.max(before, 1e-300);
        for (int steps : new int[] {0, 1, 2, 3, 5, 8, 12, 60}) {
          String what = tier + ", " + shape[0] + " x " + shape[1] + ", steps " + steps;
          Tensor weights = Samples.tensor(arena, DType.F32, layer.weights);
          SurvivorRefit.Report report = plan(steps, tier).refit(NAME, weights, hessian, packed);
          double[][] got = Samples.values(weights);
          double now = layer.objective(got);
          assertTrue(now <= before + 1e-6 * scale, what + ": " + before + ", then " + now);
          assertEquals(now, report.refitted(), 1e-5 * scale, what);
          assertEquals(layer.objective(layer.masked(mask)), report.masked(), 1e-5 * scale, what);
          assertEquals(steps + 1, report.objectives().size());
          before = now;
          for (int i = 0; i < got.length; i++) {
            for (int j = 0; j < got[i].length; j++) {
              boolean zero = Double.doubleToRawLongBits(got[i][j]) == 0;
              assertTrue(zero || !mask[i][j], what);
            }
          }
        }
        assertEquals(least, before, 1e-6 * scale, tier + " " + shape[1]);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void isNoWorseThanSparseGptWithItsOwnMask(Tier tier) {
    ReferenceLayer layer = ReferenceLayer.random(40, 144, 4, 60, new Random(42));
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = hessian(arena, layer);
      for (Pattern pattern :
          new Pattern[] {Pattern.unstructured(0.5), Pattern.nm(2, 4), Pattern.nm(4, 8)}) {
        Tensor swept = Samples.tensor(arena, DType.F32, layer.weights);
        SparseGpt.Report report =
            SparseGpt.builder().pattern(pattern).tier(tier).build().prune(NAME, swept, hessian);
        Tensor refitted = Samples.tensor(arena, DType.F32, layer.weights);
        Tensor mask = Samples.packed(arena, Samples.zeros(swept));
        double reached = plan(10, tier).refit(NAME, refitted, hessian, mask).refitted();
        assertTrue(reached < report.objective(), pattern + ": " + reached + ", " + report);
        assertTrue(
            layer.objective(Samples.values(refitted)) < layer.objective(Samples.values(swept)));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void whatIsKeptWholeOrPrunedWholeIsNotMoved(Tier tier) {
    ReferenceLayer layer = ReferenceLayer.random(3, 20, 2, 30, new Random(43));
    try (Arena arena = Arena.ofShared()) {
      for (DType type : new DType[] {DType.F32, DType.F16, DType.BF16}) {
        Tensor weights = Samples.tensor(arena, type, layer.weights);
        Tensor before = weights.to(type, arena);
        boolean[][] mask = new boolean[3][20];
        java.util.Arrays.fill(mask[1], true);
        plan(10, tier).refit(NAME, weights, hessian(arena, layer), Samples.packed(arena, mask));
        assertArrayEquals(before.row(0).toFloatArray(), weights.row(0).toFloatArray());
        assertArrayEquals(new float[20], weights.row(1).toFloatArray());
        assertArrayEquals(before.row(2).toFloatArray(), weights.row(2).toFloatArray());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void halvesAreRoundedAtTheEnd(Tier tier) {
    ReferenceLayer layer = ReferenceLayer.random(9, 40, 2, 60, new Random(44));
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = hessian(arena, layer);
      Tensor mask = Samples.packed(arena, Samples.mask(9, 40, 0.5, new Random(2)));
      for (DType type : new DType[] {DType.F16, DType.BF16}) {
        Tensor weights = Samples.tensor(arena, type, layer.weights);
        Tensor wide = weights.to(DType.F32, arena);
        plan(10, tier).refit(NAME, weights, hessian, mask);
        plan(10, tier).refit(NAME, wide, hessian, mask);
        assertEquals(-1, wide.to(type, arena).memory().mismatch(weights.memory()));
      }
    }
  }

  /** More rows than a panel holds. */
  @Test
  void isTheSameBitsForAnyThreads() {
    ReferenceLayer layer = ReferenceLayer.random(450, 100, 2, 80, new Random(45));
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = hessian(arena, layer);
      Tensor mask = Samples.packed(arena, Samples.mask(450, 100, 0.5, new Random(3)));
      Tensor once = Samples.tensor(arena, DType.F32, layer.weights);
      SurvivorRefit.Report report =
          SurvivorRefit.builder().build().refit(NAME, once, hessian, mask);
      for (int threads : new int[] {2, 3}) {
        Tensor again = Samples.tensor(arena, DType.F32, layer.weights);
        SurvivorRefit plan = SurvivorRefit.builder().threads(threads).build();
        assertEquals(report, plan.refit(NAME, again, hessian, mask));
        assertEquals(-1, once.memory().mismatch(again.memory()));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void deadColumnsKeepTheirWeights(Tier tier) {
    ReferenceLayer random = ReferenceLayer.random(4, 16, 4, 30, new Random(46));
    for (double[][] sample : random.inputs) {
      for (double[] x : sample) {
        x[5] = 0;
      }
    }
    ReferenceLayer layer = new ReferenceLayer(random.weights, random.inputs);
    try (Arena arena = Arena.ofShared()) {
      boolean[][] mask = Samples.mask(4, 16, 0.5, new Random(4));
      mask[0][5] = false;
      mask[1][5] = true;
      Tensor weights = Samples.tensor(arena, DType.F32, layer.weights);
      plan(40, tier).refit(NAME, weights, hessian(arena, layer), Samples.packed(arena, mask));
      assertEquals(layer.weights[0][5], weights.getDouble(0, 5), 1e-7);
      assertEquals(0, weights.getDouble(1, 5));
      double least = layer.objective(layer.exact(mask));
      assertEquals(least, layer.objective(Samples.values(weights)), 1e-5 * least);
    }
  }

  @Test
  void rejectsBadArgumentsByName() {
    ReferenceLayer layer = ReferenceLayer.random(3, 10, 2, 20, new Random(47));
    try (Arena arena = Arena.ofShared()) {
      SurvivorRefit plan = SurvivorRefit.builder().build();
      Tensor hessian = hessian(arena, layer);
      Tensor weights = Samples.tensor(arena, DType.F32, layer.weights);
      Tensor mask = Samples.packed(arena, Samples.mask(3, 10, 0.5, new Random(5)));
      Tensor small = Tensor.allocate(arena, DType.F32, 9, 9);
      assertMessage(() -> plan.refit(NAME, weights, small, mask), NAME, "hessian", "[10, 10]");
      Tensor narrow = Tensor.allocate(arena, DType.U8, 3, 1);
      assertMessage(() -> plan.refit(NAME, weights, hessian, narrow), NAME, "mask", "U8[3, 2]");
      Tensor bytes = Tensor.allocate(arena, DType.I8, 3, 2);
      assertMessage(() -> plan.refit(NAME, weights, hessian, bytes), NAME, "mask", "U8");
      hessian.setDouble(Double.NaN, 4, 7);
      assertMessage(() -> plan.refit(NAME, weights, hessian, mask), NAME, "NaN", "row 4, column 7");
      hessian.setDouble(0, 4, 7);
      weights.setDouble(Double.NaN, 2, 9);
      float[] before = weights.toFloatArray();
      assertMessage(() -> plan.refit(NAME, weights, hessian, mask), NAME, "NaN", "row 2, column 9");
      assertArrayEquals(before, weights.toFloatArray());
    }
    SurvivorRefit.Builder builder = SurvivorRefit.builder();
    assertThrows(IllegalArgumentException.class, () -> builder.steps(-1));
    assertThrows(IllegalArgumentException.class, () -> builder.damp(2));
    assertThrows(IllegalArgumentException.class, () -> builder.threads(0));
  }

  private static void assertMessage(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }
}
