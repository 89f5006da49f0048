package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.linalg.Gemm;
import org.quern.linalg.SymmetricEigen;
import org.quern.runtime.Capabilities;
import org.quern.runtime.ChildJvm;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Properties that hold from captured rows to preconditioned gradients, in every storage. */
class KroneckerPropertyTest {
  private static final double GAMMA = 0.95;

  static Stream<Arguments> storages() {
    List<Arguments> arguments = new ArrayList<>();
    InverseFactor.TIERS.stream()
        .filter(Capabilities.get().available()::contains)
        .forEach(tier -> {
          for (GoldenStorage storage : GoldenStorage.of(UpdateRule.CODE, 70)) {
            arguments.add(Arguments.of(tier, storage));
          }
        });
    return arguments.stream();
  }

  private static InverseFactor factor(Arena arena, int d, GoldenStorage storage, Tier tier) {
    return InverseFactor.create(arena, d, storage.storage(), UpdateRule.CODE, GAMMA, tier);
  }

  private static Tensor random(Arena arena, Random random, long rows, long columns, double mean) {
    Tensor tensor = Tensor.allocate(arena, DType.F32, rows, columns);
    for (long r = 0; r < rows; r++) {
      for (long j = 0; j < columns; j++) {
        tensor.setDouble(mean + random.nextGaussian(), r, j);
      }
    }
    return tensor;
  }

  private static double[] dense(Arena arena, InverseFactor factor) {
    Tensor dense = Tensor.allocate(arena, DType.F64, factor.dimension(), factor.dimension());
    factor.toDense(dense);
    return dense.toDoubleArray();
  }

  private static Tensor captured(Arena arena, Tensor rows, Tier tier) {
    ColumnMeans means = ColumnMeans.create(arena, (int) rows.dim(1), 1, tier);
    means.add(rows);
    Tensor a = Tensor.allocate(arena, DType.F32, rows.dim(1));
    means.mean(a);
    return a;
  }

  /** Property 2: {@code I >= J >= (1/(1-gamma) + |v|^2)^-1 I}, v the longest so far. */
  @ParameterizedTest
  @MethodSource("storages")
  void factorsOfCapturedVectorsStayBetweenTheirBounds(Tier tier, GoldenStorage storage) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    int d = 67;
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor factor = factor(arena, d, storage, tier);
      SymmetricEigen eigen = new SymmetricEigen(d);
      double[] values = new double[d];
      double longest = 0;
      for (int t = 0; t < 20; t++) {
        Tensor a = captured(arena, random(arena, random, 9, d, 0.3), tier);
        double squares = 0;
        for (double x : a.toDoubleArray()) {
          squares += x * x;
        }
        longest = Math.max(longest, squares);
        assertEquals(InverseFactor.Outcome.APPLIED, factor.update(a));
        if (t % 5 != 4) {
          continue;
        }
        double[] j = dense(arena, factor);
        for (int r = 0; r < d; r++) {
          for (int k = 0; k < r; k++) {
            assertEquals(j[r * d + k], j[k * d + r], "property 3, seed " + seed);
          }
        }
        eigen.decompose(d, j, values);
        double rounding = 1e-5 + 4 * storage.unit();
        assertTrue(values[0] <= 1 + rounding, values[0] + ", seed " + seed);
        double least = 1 / (1 / (1 - GAMMA) + longest);
        assertTrue(values[d - 1] >= least - rounding, values[d - 1] + ", seed " + seed);
        assertTrue(values[d - 1] > 0, values[d - 1] + ", seed " + seed);
      }
    }
  }

  /** Property 11: {@code L (Y'A) R = (Y L)' (A R)}. */
  @ParameterizedTest
  @MethodSource("storages")
  void factorsMeetAGradientOrTheRowsItComesFrom(Tier tier, GoldenStorage storage) {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    int o = 19;
    int i = 70;
    int n = 6;
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor left = factor(arena, o, storage, tier);
      InverseFactor right = factor(arena, i, storage, tier);
      for (int t = 0; t < 5; t++) {
        left.update(captured(arena, random(arena, random, n, o, 0.5), tier));
        right.update(captured(arena, random(arena, random, n, i, 0.5), tier));
      }
      Tensor y = random(arena, random, n, o, 0);
      Tensor a = random(arena, random, n, i, 0.5);
      Tensor g = product(arena, y, a, tier);
      Preconditioner preconditioner =
          Preconditioner.create(arena, left, right, false, Rescale.NONE, 1, tier);
      assertEquals(1, preconditioner.prepare(g, null));
      preconditioner.apply(g, null, 0, o);
      Tensor factored = product(arena, rows(arena, left, y), rows(arena, right, a), tier);
      double worst = Tally.deviation(g.toDoubleArray(), factored.toDoubleArray());
      assertTrue(worst <= 1e-5, worst + ", seed " + seed);
    }
  }

  private static Tensor rows(Arena arena, InverseFactor factor, Tensor rows) {
    Tensor out = Tensor.allocate(arena, DType.F32, rows.shape());
    for (long row = 0; row < rows.dim(0); row++) {
      factor.multiply(rows.row(row), out.row(row));
    }
    return out;
  }

  private static Tensor product(Arena arena, Tensor y, Tensor a, Tier tier) {
    Tensor out = Tensor.allocate(arena, DType.F32, y.dim(1), a.dim(1));
    Gemm.create(arena, 1, tier).multiply(true, false, 1, y, a, 0, out);
    return out;
  }

  /** One row that is not finite reaches the factor as a vector that it refuses. */
  @ParameterizedTest
  @MethodSource("storages")
  void aRowThatIsNotFiniteDoesNotReachTheFactor(Tier tier, GoldenStorage storage) {
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor factor = factor(arena, 20, storage, tier);
      Random random = new Random(3);
      factor.update(captured(arena, random(arena, random, 5, 20, 1), tier));
      double[] before = dense(arena, factor);
      Tensor rows = random(arena, random, 5, 20, 1);
      rows.setDouble(Double.NaN, 4, 19);
      assertEquals(InverseFactor.Outcome.SKIPPED, factor.update(captured(arena, rows, tier)));
      assertEquals(0, Tally.deviation(dense(arena, factor), before));
    }
  }

  @Test
  void capturesAllocateNothingWhenWarm() throws Exception {
    assumeTrue(
        Capabilities.get().available().contains(Tier.VECTOR), "the vector tier cannot run here");
    // Compiled as soon as it is due, however busy the machine.
    List<String> flags = new ArrayList<>(ChildJvm.VECTOR);
    flags.add("-XX:-BackgroundCompilation");
    Map<String, String> report = ChildJvm.run(CaptureAllocations.class, flags);
    for (String what : List.of("columns", "patches", "eva")) {
      assertEquals("0", report.get(what), "bytes per call; " + report);
    }
  }
}
