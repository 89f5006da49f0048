package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class ActivationStatisticsTest {
  private static final int SAMPLES = 7;
  private static final int TOKENS = 5;
  private static final int COLUMNS = 19;

  private final Arena arena = Arena.ofAuto();

  private Tensor inputs(long seed, DType type) {
    Random random = new Random(seed);
    Tensor inputs = Tensor.allocate(arena, type, SAMPLES, TOKENS, COLUMNS);
    for (int s = 0; s < SAMPLES; s++) {
      for (int t = 0; t < TOKENS; t++) {
        for (int j = 0; j < COLUMNS; j++) {
          inputs.setDouble(j == 2 ? 0 : Math.exp(2 * random.nextGaussian()), s, t, j);
        }
      }
    }
    return inputs;
  }

  private static Tensor samples(Tensor inputs, int from, int to) {
    return Tensor.of(
        inputs.rows((long) from * TOKENS, (long) to * TOKENS).memory(),
        inputs.type(),
        to - from,
        TOKENS,
        COLUMNS);
  }

  @Test
  void isTheMeanOverTheSamplesOfTheSumOfSquares() {
    for (DType type : new DType[] {DType.F32, DType.F16, DType.BF16}) {
      Tensor inputs = inputs(11, type);
      ActivationStatistics statistics = new ActivationStatistics(COLUMNS);
      statistics.add(inputs);
      assertEquals(SAMPLES, statistics.samples());
      for (int j = 0; j < COLUMNS; j++) {
        double sum = 0;
        for (int s = 0; s < SAMPLES; s++) {
          for (int t = 0; t < TOKENS; t++) {
            sum += Math.pow(inputs.getDouble(s, t, j), 2);
          }
        }
        double mean = sum / SAMPLES;
        assertEquals(mean, statistics.meanSquares(arena).getDouble(j), 1e-7 * mean);
        double norm = Math.sqrt(mean);
        assertEquals(norm, statistics.columnNorms(arena).getDouble(j), 1e-6 * norm);
      }
    }
  }

  @Test
  void doesNotDependOnTheBatches() {
    Tensor inputs = inputs(12, DType.F32);
    ActivationStatistics whole = new ActivationStatistics(COLUMNS);
    whole.add(inputs);
    float[] expected = whole.meanSquares(arena).toFloatArray();
    for (int cut = 1; cut < SAMPLES; cut++) {
      ActivationStatistics parts = new ActivationStatistics(COLUMNS);
      parts.add(samples(inputs, 0, cut));
      for (int s = cut; s < SAMPLES; s++) {
        parts.add(inputs.rows((long) s * TOKENS, (s + 1L) * TOKENS));
      }
      assertEquals(SAMPLES, parts.samples());
      assertArrayEquals(expected, parts.meanSquares(arena).toFloatArray(), "cut at " + cut);
    }
  }

  @Test
  void paddingDoesNotCount() {
    Tensor inputs = inputs(13, DType.F32);
    Tensor tokens = Tensor.allocate(arena, DType.U8, SAMPLES, TOKENS);
    Tensor zeroed = inputs.to(DType.F32, arena);
    for (int s = 0; s < SAMPLES; s++) {
      for (int t = 0; t < TOKENS; t++) {
        boolean counts = (s + 2 * t) % 3 != 0;
        tokens.setLong(counts ? 1 : 0, s, t);
        for (int j = 0; j < COLUMNS && !counts; j++) {
          zeroed.setDouble(0, s, t, j);
        }
      }
    }
    ActivationStatistics masked = new ActivationStatistics(COLUMNS);
    masked.add(inputs, tokens);
    ActivationStatistics expected = new ActivationStatistics(COLUMNS);
    expected.add(zeroed);
    assertArrayEquals(
        expected.meanSquares(arena).toFloatArray(), masked.meanSquares(arena).toFloatArray());
    ActivationStatistics single = new ActivationStatistics(COLUMNS);
    single.add(inputs.rows(0, TOKENS), tokens.row(0));
    ActivationStatistics first = new ActivationStatistics(COLUMNS);
    first.add(zeroed.rows(0, TOKENS));
    assertArrayEquals(
        first.meanSquares(arena).toFloatArray(), single.meanSquares(arena).toFloatArray());
  }

  @Test
  void rejectsBadInput() {
    ActivationStatistics statistics = new ActivationStatistics(COLUMNS);
    assertThrows(IllegalStateException.class, () -> statistics.columnNorms(arena));
    assertThrows(IllegalArgumentException.class, () -> new ActivationStatistics(0));
    assertThrows(
        IllegalArgumentException.class,
        () -> statistics.add(Tensor.allocate(arena, DType.F32, 2, COLUMNS + 1)));
    assertThrows(
        IllegalArgumentException.class,
        () -> statistics.add(Tensor.allocate(arena, DType.F32, COLUMNS)));
    assertThrows(
        IllegalArgumentException.class,
        () -> statistics.add(Tensor.allocate(arena, DType.I32, 2, COLUMNS)));
    assertThrows(
        IllegalArgumentException.class,
        () -> statistics.add(inputs(1, DType.F32), Tensor.allocate(arena, DType.U8, TOKENS)));
    Tensor bad = inputs(1, DType.F32);
    bad.setDouble(Double.NaN, 1, 2, 3);
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> statistics.add(bad));
    assertTrue(error.getMessage().endsWith("column 3"), error.getMessage());
  }
}
