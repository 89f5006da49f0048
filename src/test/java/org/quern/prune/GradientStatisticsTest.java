package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class GradientStatisticsTest {
  private static final int SAMPLES = 9;
  private static final int ROWS = 5;
  private static final int COLUMNS = 7;

  private final Arena arena = Arena.ofAuto();

  private GradientStatistics statistics(GradientNorm norm, Compat compat) {
    return GradientStatistics.builder(ROWS, COLUMNS).norms(norm).compat(compat).build(arena);
  }

  @Test
  void joinsTheMagnitudesOfTheSamples() {
    for (DType type : new DType[] {DType.F32, DType.F16, DType.BF16}) {
      Random random = new Random(21);
      GradientStatistics l1 = statistics(GradientNorm.L1, Compat.EXACT);
      GradientStatistics l2 = statistics(GradientNorm.L2, Compat.EXACT);
      double[][] sums = new double[ROWS][COLUMNS];
      double[][] squares = new double[ROWS][COLUMNS];
      for (int s = 0; s < SAMPLES; s++) {
        Tensor gradient = Tensor.allocate(arena, type, ROWS, COLUMNS);
        for (int i = 0; i < ROWS; i++) {
          for (int j = 0; j < COLUMNS; j++) {
            gradient.setDouble(1e-3 * random.nextGaussian(), i, j);
            double scaled = 100 * gradient.getDouble(i, j);
            sums[i][j] += Math.abs(scaled);
            squares[i][j] += scaled * scaled;
          }
        }
        l1.add(gradient);
        l2.add(gradient);
      }
      assertEquals(SAMPLES, l1.samples());
      Tensor gotL1 = l1.statistic(arena, DType.F32);
      Tensor gotL2 = l2.statistic(arena, DType.F32);
      for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLUMNS; j++) {
          assertEquals(sums[i][j], gotL1.getDouble(i, j), 1e-6 * sums[i][j]);
          double root = Math.sqrt(squares[i][j]);
          assertEquals(root, gotL2.getDouble(i, j), 1e-6 * root);
        }
      }
      assertEquals(DType.BF16, l2.statistic(arena, DType.BF16).type());
    }
  }

  @Test
  void theRunningHalfSumOverflowsAndTheExactOneDoesNot() {
    GradientStatistics official = statistics(GradientNorm.L1, Compat.OFFICIAL);
    GradientStatistics exact = statistics(GradientNorm.L1, Compat.EXACT);
    Tensor gradient = Tensor.allocate(arena, DType.F32, ROWS, COLUMNS);
    gradient.setDouble(-200, 0, 0);
    // 2048 + 1 is not a half: the official sum stays.
    gradient.setDouble(20.48, 1, 1);
    official.add(gradient);
    exact.add(gradient);
    gradient.setDouble(0.01, 1, 1);
    for (int s = 1; s < 4; s++) {
      official.add(gradient);
      exact.add(gradient);
    }
    assertEquals(Double.POSITIVE_INFINITY, official.statistic(arena, DType.F32).getDouble(0, 0));
    assertEquals(80_000, exact.statistic(arena, DType.F32).getDouble(0, 0));
    assertEquals(2048, official.statistic(arena, DType.F32).getDouble(1, 1));
    assertEquals(2051, exact.statistic(arena, DType.F32).getDouble(1, 1), 1e-2);
  }

  @Test
  void rejectsBadInput() {
    GradientStatistics statistics = statistics(GradientNorm.L1, Compat.EXACT);
    assertThrows(IllegalStateException.class, () -> statistics.statistic(arena, DType.F32));
    assertThrows(
        IllegalArgumentException.class,
        () -> statistics.add(Tensor.allocate(arena, DType.F32, COLUMNS, ROWS)));
    assertThrows(
        IllegalArgumentException.class,
        () -> statistics.add(Tensor.allocate(arena, DType.I32, ROWS, COLUMNS)));
    Tensor bad = Tensor.allocate(arena, DType.F32, ROWS, COLUMNS);
    bad.setDouble(Double.NEGATIVE_INFINITY, 2, 4);
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> statistics.add(bad));
    assertTrue(error.getMessage().endsWith("row 2, column 4"), error.getMessage());
  }
}
