package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import org.junit.jupiter.api.Test;
import org.quern.kronecker.optim.SwitchPolicy.Decision;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class KneePointTest {
  private static long knee(KneePoint policy, double rate) {
    for (long t = 0; t < 10_000; t++) {
      if (policy.observe(t, Math.exp(-rate * t)) == Decision.FIRST_ORDER) {
        return t;
      }
    }
    return -1;
  }

  /** The loss e^(-rt): the mean decrease is near rate e^(-rt), the share 0.1 (1 - e^(-rt))/t. */
  @Test
  void theKneeIsWhereTheMeanDecreaseFallsBelowItsShare() {
    double rate = 0.02;
    double momentum = 0.95;
    long expected = 1;
    double ema = Double.NaN;
    for (long t = 1; ; t++) {
      double decrease = Math.exp(-rate * (t - 1)) - Math.exp(-rate * t);
      ema = Double.isNaN(ema) ? decrease : momentum * ema + (1 - momentum) * decrease;
      if (t >= 100 && ema < 0.1 * (1 - Math.exp(-rate * t)) / t) {
        expected = t;
        break;
      }
    }
    assertEquals(expected, knee(new KneePoint(), rate));
    assertTrue(expected > 150, "after the least number of steps");
  }

  @Test
  void itWaitsForTheLeastNumberOfSteps() {
    assertEquals(100, knee(new KneePoint(0.5, 0.1, 100), 1));
    assertEquals(30, knee(new KneePoint(0.5, 0.1, 30), 1));
  }

  @Test
  void aLossThatFallsSteadilyNeverSwitches() {
    KneePoint policy = new KneePoint();
    for (long t = 0; t < 5000; t++) {
      assertEquals(Decision.STAY, policy.observe(t, 5000.0 - t));
    }
  }

  @Test
  void aLossThatIsNotFiniteIsIgnored() {
    KneePoint policy = new KneePoint(0, 0.1, 1);
    assertEquals(Decision.STAY, policy.observe(0, 1));
    assertEquals(Decision.STAY, policy.observe(1, Double.NaN));
    assertEquals(Decision.STAY, policy.observe(2, Double.POSITIVE_INFINITY));
    assertEquals(Decision.STAY, policy.observe(3, 0.5));
    assertEquals(Decision.FIRST_ORDER, policy.observe(4, 0.5));
  }

  @Test
  void itsStateContinues() {
    KneePoint policy = new KneePoint();
    for (long t = 0; t < 120; t++) {
      policy.observe(t, Math.exp(-0.02 * t));
    }
    KneePoint other = new KneePoint();
    other.restore(policy.state());
    for (long t = 120; t < 400; t++) {
      double loss = Math.exp(-0.02 * t);
      assertEquals(policy.observe(t, loss), other.observe(t, loss));
    }
    assertThrows(IllegalArgumentException.class, () -> other.restore(new double[3]));
  }

  @Test
  void onTheSwitchFactorsAreFreedAndMomentsStay() {
    try (Arena arena = Arena.ofConfined();
        Mkor mkor =
            Mkor.builder()
                .refreshEvery(1)
                .backEnd(new Sgd(0.5))
                .switchPolicy(new KneePoint(0.5, 0.1, 3))
                .build()) {
      Samples samples = new Samples(arena, 6);
      MkorLayer layer = mkor.layer("fc1", 4, 5, false);
      Tensor w = Tensor.allocate(arena, DType.F32, 4, 5);
      int t = 0;
      for (; t < 50 && !mkor.observeLoss(t == 0 ? 2 : 1); t++) {
        layer.observe(samples.normal(1, 5), samples.normal(1, 4));
        layer.step(w, null, samples.normal(1, 4, 5), null, 0.1);
        mkor.step();
      }
      assertTrue(t > 2 && mkor.isFirstOrder());
      assertFalse(mkor.isRefresh());
      assertNull(layer.factors());
      assertFalse(layer.isPreconditioned());
      assertEquals(0, mkor.stats().getFirst().leftRank());
      // A zero gradient moves the weights by what the moment still holds.
      float[] before = w.toFloatArray();
      layer.observe(samples.normal(1, 5), samples.normal(1, 4));
      layer.step(w, null, Tensor.allocate(arena, DType.F32, 4, 5), null, 0.1);
      mkor.step();
      float first = w.toFloatArray()[0] - before[0];
      before = w.toFloatArray();
      layer.step(w, null, Tensor.allocate(arena, DType.F32, 4, 5), null, 0.1);
      assertTrue(first != 0);
      assertEquals(0.5 * first, w.toFloatArray()[0] - before[0], 1e-6);
    }
  }
}
