package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

class TrainingRunTest {
  private static final Arena ARENA = Arena.ofShared();
  private static final Tier BEST =
      Capabilities.get().available().contains(Tier.VECTOR) ? Tier.VECTOR : Tier.SCALAR;

  /** On the scalar tier a step takes many milliseconds. */
  private static final int STEPS = BEST == Tier.VECTOR ? 40 : 12;

  private static TrainingRun.Images images;

  @BeforeAll
  static void draw() {
    images = TrainingRun.Images.draw(ARENA);
  }

  @AfterAll
  static void free() {
    ARENA.close();
  }

  @ParameterizedTest
  @EnumSource
  void everyContenderLearnsAndRepeatsItself(Contender contender) {
    double rate = contender == Contender.ADAM || contender == Contender.EVA ? 1e-3 : 3e-2;
    TrainingRun.Result first = TrainingRun.train(images, contender, rate, STEPS, BEST);
    TrainingRun.Result second = TrainingRun.train(images, contender, rate, STEPS, BEST);
    assertTrue(first.repeats(second), () -> firstDifference(first, second));
    assertEquals(first.accuracy(), second.accuracy());
    double start = first.loss(0);
    double end = first.smoothed(STEPS - 1, 5);
    assertTrue(end < 0.995 * start, () -> start + " -> " + end);
  }

  private static String firstDifference(TrainingRun.Result first, TrainingRun.Result second) {
    int step = 0;
    while (step < STEPS && first.loss(step) == second.loss(step)) {
      step++;
    }
    return "step " + step + ": " + first.loss(step) + " and " + second.loss(step);
  }

  @Test
  void runThatDivergesEndsAtInfinity() {
    TrainingRun.Result result = TrainingRun.train(images, Contender.SGD, 1e9, 6, BEST);
    assertTrue(result.loss(0) < 2);
    assertEquals(Double.POSITIVE_INFINITY, result.loss(5));
    assertEquals(Double.POSITIVE_INFINITY, result.smoothed(5, 3));
  }

  @Test
  void lossesAreSmoothedBackward() {
    TrainingRun.Result result =
        new TrainingRun.Result(new double[] {4, 2, 6, 1}, new double[] {1, 1, 2, 3}, 0.5);
    assertEquals(4, result.smoothed(0, 3));
    assertEquals(3, result.smoothed(1, 3));
    assertEquals(3, result.smoothed(3, 3));
    assertEquals(4, result.secondsUntil(2));
  }
}
