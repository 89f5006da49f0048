package org.quern.prune.reconstruct;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.prune.Group;
import org.quern.prune.Pattern;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class SparseGptContractTest {
  private static final String NAME = "layers.3.mlp.up_proj";

  static Stream<Tier> tiers() {
    return SparseGpt.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static SparseGpt plan(Pattern pattern, Tier tier) {
    return SparseGpt.builder().pattern(pattern).tier(tier).build();
  }

  private static Tensor hessian(Arena arena, ReferenceLayer layer) {
    InputGram moments = new InputGram(arena, layer.columns(), 1);
    moments.add(Samples.tensor(arena, DType.F32, layer.inputs));
    return moments.hessian(arena);
  }

  private static List<Pattern> patterns(int n) {
    List<Pattern> patterns = new ArrayList<>();
    patterns.add(Pattern.unstructured(0.5));
    patterns.add(Pattern.unstructured(0.7));
    for (int of : new int[] {2, 3, 4, 8, 10, 16}) {
      if (n % of == 0) {
        patterns.add(Pattern.nm(Math.max(1, of / 2), of));
      }
    }
    return patterns;
  }

  /** Shapes around the panel of 32 rows and the block of 128 columns. */
  @ParameterizedTest
  @MethodSource("tiers")
  void agreesWithBinary64(Tier tier) {
    int[][] shapes = {{1, 1}, {3, 8}, {33, 64}, {31, 130}, {70, 144}, {20, 300}};
    for (int[] shape : shapes) {
      ReferenceLayer layer = ReferenceLayer.random(shape[0], shape[1], 4, 60, new Random(shape[1]));
      try (Arena arena = Arena.ofShared()) {
        Tensor hessian = hessian(arena, layer);
        for (Pattern pattern : patterns(shape[1])) {
          String what = tier + " " + pattern + " of " + shape[0] + " x " + shape[1];
          Tensor weights = Samples.tensor(arena, DType.F32, layer.weights);
          SparseGpt.Report report = plan(pattern, tier).prune(NAME, weights, hessian);
          double[][] got = Samples.values(weights);
          boolean[][] zeros = Samples.zeros(weights);
          checkCounts(zeros, pattern, what);
          // A near tie may fall otherwise in binary32 and changes what follows in its row.
          double expected = layer.objective(layer.sparseGpt(pattern));
          assertEquals(expected, layer.objective(got), 1e-3 * expected, what);
          assertEquals(layer.objective(got), report.objective(), 1e-3 * expected, what);
          assertEquals(0.01, report.damp(), what);
          // With the mask given, nothing is left to chance.
          double[][] masked = layer.sparseGpt(zeros);
          for (int i = 0; i < got.length; i++) {
            assertArrayEquals(masked[i], got[i], 2e-5, what + ", row " + i);
          }
          double maskOnly = layer.objective(layer.masked(zeros));
          assertTrue(layer.objective(got) <= maskOnly * (1 + 1e-6), what);
        }
      }
    }
  }

  private static void checkCounts(boolean[][] zeros, Pattern pattern, String what) {
    int n = zeros[0].length;
    if (pattern instanceof Pattern.NM nm) {
      for (boolean[] row : zeros) {
        for (int first = 0; first < n; first += nm.of()) {
          int count = 0;
          for (int j = first; j < first + nm.of(); j++) {
            count += row[j] ? 1 : 0;
          }
          assertEquals(nm.prune(), count, what);
        }
      }
      return;
    }
    double ratio = ((Pattern.Unstructured) pattern).ratio();
    for (int start = 0; start < n; start += 128) {
      int end = Math.min(n, start + 128);
      long count = 0;
      for (boolean[] row : zeros) {
        for (int j = start; j < end; j++) {
          count += row[j] ? 1 : 0;
        }
      }
      assertEquals((long) (zeros.length * (end - start) * ratio) + 1, count, what);
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void aGivenMaskIsSweptAlike(Tier tier) {
    ReferenceLayer layer = ReferenceLayer.random(40, 200, 4, 60, new Random(31));
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = hessian(arena, layer);
      for (Pattern pattern : patterns(200)) {
        if (pattern instanceof Pattern.NM nm && 128 % nm.of() != 0) {
          continue; // Its blocks are whole runs, and others than those of a mask.
        }
        SparseGpt plan = plan(pattern, tier);
        HessianFactor factor = plan.factor(arena, NAME, hessian);
        Tensor pruned = Samples.tensor(arena, DType.F32, layer.weights);
        SparseGpt.Report report = plan.prune(NAME, pruned, factor);
        Tensor mask = Samples.packed(arena, Samples.zeros(pruned));
        Tensor again = Samples.tensor(arena, DType.F32, layer.weights);
        assertEquals(report, plan.reconstruct(NAME, again, factor, mask));
        assertArrayEquals(pruned.toFloatArray(), again.toFloatArray(), tier + " " + pattern);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void anEmptyMaskAndARatioOfZeroChangeNothing(Tier tier) {
    ReferenceLayer layer = ReferenceLayer.random(35, 140, 2, 50, new Random(32));
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = hessian(arena, layer);
      Tensor weights = Samples.tensor(arena, DType.F16, layer.weights);
      Tensor before = weights.to(DType.F16, arena);
      SparseGpt plan = plan(Pattern.unstructured(0), tier);
      plan.prune(NAME, weights, hessian);
      Tensor mask = Samples.packed(arena, new boolean[35][140]);
      assertEquals(0, plan.reconstruct(NAME, weights, hessian, mask).objective());
      assertEquals(-1, before.memory().mismatch(weights.memory()));
    }
  }

  @Test
  void isTheSameBitsForAnyThreads() {
    ReferenceLayer layer = ReferenceLayer.random(300, 400, 4, 120, new Random(33));
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = hessian(arena, layer);
      for (Pattern pattern : patterns(400).subList(0, 3)) {
        Tensor once = Samples.tensor(arena, DType.F32, layer.weights);
        SparseGpt.Report report =
            SparseGpt.builder().pattern(pattern).build().prune(NAME, once, hessian);
        for (int threads : new int[] {2, 3}) {
          Tensor again = Samples.tensor(arena, DType.F32, layer.weights);
          SparseGpt plan = SparseGpt.builder().pattern(pattern).threads(threads).build();
          assertEquals(report, plan.prune(NAME, again, hessian));
          assertEquals(-1, once.memory().mismatch(again.memory()), threads + " " + pattern);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void halvesAreRoundedAtTheEnd(Tier tier) {
    ReferenceLayer layer = ReferenceLayer.random(37, 136, 4, 60, new Random(34));
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = hessian(arena, layer);
      SparseGpt plan = plan(Pattern.nm(2, 4), tier);
      for (DType type : new DType[] {DType.F16, DType.BF16}) {
        Tensor weights = Samples.tensor(arena, type, layer.weights);
        Tensor wide = weights.to(DType.F32, arena);
        plan.prune(NAME, weights, hessian);
        plan.prune(NAME, wide, hessian);
        assertEquals(-1, wide.to(type, arena).memory().mismatch(weights.memory()));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void rowsMayHaveAStride(Tier tier) {
    ReferenceLayer layer = ReferenceLayer.random(5, 12, 4, 30, new Random(35));
    try (Arena arena = Arena.ofShared()) {
      Tensor dense = Samples.tensor(arena, DType.F32, layer.weights);
      Tensor wide = Tensor.allocate(arena, DType.F32, 5, 17);
      wide.fill(7);
      Tensor strided = Tensor.of(wide.memory(), DType.F32, 17, new long[] {5, 12});
      for (int i = 0; i < 5; i++) {
        for (int j = 0; j < 12; j++) {
          strided.setDouble(dense.getDouble(i, j), i, j);
        }
      }
      SparseGpt plan = plan(Pattern.nm(2, 4), tier);
      plan.prune(NAME, dense, hessian(arena, layer));
      plan.prune(NAME, strided, hessian(arena, layer));
      assertArrayEquals(dense.toFloatArray(), strided.toFloatArray());
      assertEquals(7, wide.getDouble(3, 12));
    }
  }

  /** The released program sets a dead column to zero; where a mask is given, it decides. */
  @ParameterizedTest
  @MethodSource("tiers")
  void deadColumnsBecomeZero(Tier tier) {
    ReferenceLayer random = ReferenceLayer.random(9, 16, 4, 30, new Random(36));
    for (double[][] sample : random.inputs) {
      for (double[] x : sample) {
        x[5] = 0;
      }
    }
    ReferenceLayer layer = new ReferenceLayer(random.weights, random.inputs);
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = hessian(arena, layer);
      SparseGpt plan = plan(Pattern.nm(1, 4), tier);
      HessianFactor factor = plan.factor(arena, NAME, hessian);
      assertEquals(1, factor.deadColumns());
      assertTrue(factor.isDead(5));
      Tensor weights = Samples.tensor(arena, DType.F32, layer.weights);
      plan.prune(NAME, weights, factor);
      for (int i = 0; i < 9; i++) {
        assertEquals(0, weights.getDouble(i, 5));
        assertTrue(weights.getDouble(i, 4) != 0 && weights.getDouble(i, 6) != 0);
      }
      Tensor kept = Samples.tensor(arena, DType.F32, layer.weights);
      Tensor mask = Samples.packed(arena, Samples.mask(9, 16, 0, new Random(1)));
      plan.reconstruct(NAME, kept, factor, mask);
      assertEquals((float) layer.weights[2][5], kept.getDouble(2, 5));
    }
  }

  @Test
  void dampingIsRaisedAndReported() {
    try (Arena arena = Arena.ofShared()) {
      // Two equal inputs: singular without damping.
      Tensor hessian = Samples.tensor(arena, DType.F32, new double[][] {{1, 1}, {1, 1}});
      SparseGpt plan = SparseGpt.builder().damp(0).build();
      assertEquals(0.01, plan.factor(arena, NAME, hessian).damp());
      // Not positive definite before the damping exceeds 0.6.
      hessian.setDouble(1.6, 0, 1);
      hessian.setDouble(1.6, 1, 0);
      assertEquals(1, SparseGpt.builder().build().factor(arena, NAME, hessian).damp());
      hessian.setDouble(2.5, 0, 1);
      hessian.setDouble(2.5, 1, 0);
      Tensor weights = Samples.tensor(arena, DType.F32, new double[][] {{1, 2}});
      assertMessage(() -> plan.prune(NAME, weights, hessian), NAME, "positive definite", "1.0");
      assertArrayEquals(new float[] {1, 2}, weights.toFloatArray());
    }
  }

  private static void assertMessage(Runnable call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void rejectsBadArgumentsByName() {
    ReferenceLayer layer = ReferenceLayer.random(3, 10, 2, 20, new Random(37));
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = hessian(arena, layer);
      SparseGpt plan = SparseGpt.builder().pattern(Pattern.nm(2, 4)).build();
      Tensor weights = Samples.tensor(arena, DType.F32, layer.weights);
      float[] before = weights.toFloatArray();
      assertMessage(() -> plan.prune(NAME, weights, hessian), NAME, "whole groups of 4", "10");
      SparseGpt half = SparseGpt.builder().build();
      Tensor small = Tensor.allocate(arena, DType.F32, 9, 9);
      assertMessage(() -> half.prune(NAME, weights, small), NAME, "hessian", "[10, 10]");
      Tensor oblong = Tensor.allocate(arena, DType.F32, 10, 9);
      assertMessage(() -> half.factor(arena, NAME, oblong), NAME, "square");
      Tensor cube = Tensor.allocate(arena, DType.F32, 3, 10, 1);
      assertMessage(() -> half.prune(NAME, cube, hessian), NAME, "matrix");
      Tensor integers = Tensor.allocate(arena, DType.I32, 3, 10);
      assertMessage(() -> half.prune(NAME, integers, hessian), NAME, "F32, F16 or BF16");
      Tensor mask = Tensor.allocate(arena, DType.U8, 3, 1);
      assertMessage(() -> half.reconstruct(NAME, weights, hessian, mask), NAME, "mask", "U8[3, 2]");
      HessianFactor other =
          half.factor(arena, NAME, Samples.tensor(arena, DType.F32, new double[][] {{1}}));
      assertMessage(() -> half.prune(NAME, weights, other), NAME, "10 columns", "1");
      hessian.setDouble(Double.NaN, 4, 7);
      assertMessage(() -> half.prune(NAME, weights, hessian), NAME, "NaN", "row 4, column 7");
      hessian.setDouble(0, 4, 7);
      hessian.setDouble(-1, 6, 6);
      assertMessage(() -> half.prune(NAME, weights, hessian), NAME, "-1.0", "row 6, column 6");
      assertArrayEquals(before, weights.toFloatArray());
      weights.setDouble(Double.POSITIVE_INFINITY, 2, 9);
      hessian.setDouble(1e4, 6, 6);
      assertMessage(() -> half.prune(NAME, weights, hessian), NAME, "Infinity", "row 2, column 9");
    }
    SparseGpt.Builder builder = SparseGpt.builder();
    assertThrows(IllegalArgumentException.class, () -> builder.damp(-0.1));
    assertThrows(IllegalArgumentException.class, () -> builder.damp(Double.NaN));
    assertThrows(IllegalArgumentException.class, () -> builder.threads(0));
    assertThrows(IllegalArgumentException.class, () -> builder.pattern(Pattern.cumulative(0.5)));
    assertThrows(
        IllegalArgumentException.class,
        () -> builder.pattern(Pattern.unstructured(0.5, Group.MATRIX)));
  }

  @Test
  void emptyMatricesAreLeftAlone() {
    try (Arena arena = Arena.ofShared()) {
      Tensor hessian = Samples.tensor(arena, DType.F32, new double[][] {{1}});
      Tensor weights = Tensor.allocate(arena, DType.F32, 0, 1);
      assertEquals(0, SparseGpt.builder().build().prune(NAME, weights, hessian).zeros());
    }
  }
}
