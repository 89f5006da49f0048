package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.random.Philox;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

/** The updates of every tier of this machine, against their formulas in double precision. */
class UpdateContractTest {
  private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final int[] SIZES = {0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 35, 67, 1024, 1100, 2500};
  private static final float GUARD = 12345.5f;
  private static final double ROUNDING = 0x1p-22;

  static Stream<Tier> tiers() {
    return Stream.of(Tier.SCALAR, Tier.VECTOR).filter(Capabilities.get().available()::contains);
  }

  /** An array between guards, at an address that is aligned to a float only. */
  private static final class Run {
    final MemorySegment memory;
    final int n;
    final double[] before;

    Run(Arena arena, int n, double low, double high, long seed) {
      this.n = n;
      memory = arena.allocate(4L * (n + 3) + 1, 4);
      before = new double[n];
      Philox random = new Philox(seed, n);
      for (int i = 0; i < n + 3; i++) {
        memory.set(F32, 4L * i, GUARD);
      }
      for (int i = 0; i < n; i++) {
        set(i, (float) (low + (high - low) * random.nextDouble()));
        before[i] = get(i);
      }
    }

    long at() {
      return 8;
    }

    double get(int i) {
      return memory.get(F32, at() + 4L * i);
    }

    void set(int i, float value) {
      memory.set(F32, at() + 4L * i, value);
    }

    void checkGuards(String message) {
      assertEquals(GUARD, memory.get(F32, 0), message);
      assertEquals(GUARD, memory.get(F32, 4), message);
      assertEquals(GUARD, memory.get(F32, at() + 4L * n), message);
    }
  }

  private static MemorySegment lanes(Arena arena) {
    return arena.allocate(UpdateKernels.LANES_BYTES, 64);
  }

  private static Coefficients coefficients(boolean nesterov, float decay) {
    Coefficients c = new Coefficients();
    c.nu = 1.75f;
    c.rate = 0.3f;
    c.beta1 = 0.9f;
    c.rest1 = 0.1f;
    c.beta2 = 0.99f;
    c.rest2 = 0.01f;
    c.correction = 1.5f;
    c.epsilon = 1e-3f;
    c.decay = decay;
    c.keep = 0.97f;
    c.nesterov = nesterov;
    return c;
  }

  private static void assertNear(double want, double got, double size, String message) {
    assertTrue(
        Math.abs(want - got) <= ROUNDING * size, () -> message + ": want " + want + ", got " + got);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void descendsAndZeroesTheGradient(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Run w = new Run(arena, n, -2, 2, 1);
        Run g = new Run(arena, n, -3, 3, 2);
        Coefficients c = coefficients(false, 0.1f);
        UpdateKernels.of(tier).descend(c, w.memory, w.at(), g.memory, g.at(), n);
        for (int i = 0; i < n; i++) {
          double d = c.nu * g.before[i] + c.decay * w.before[i];
          assertNear(w.before[i] - c.rate * d, w.get(i), 8, n + " at " + i);
          assertEquals(0, g.get(i));
        }
        w.checkGuards("w");
        g.checkGuards("g");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void descendsWithMomentumPlainAndByNesterov(Tier tier) {
    for (int n : SIZES) {
      for (boolean nesterov : new boolean[] {false, true}) {
        try (Arena arena = Arena.ofConfined()) {
          Run w = new Run(arena, n, -2, 2, 3);
          Run g = new Run(arena, n, -3, 3, 4);
          Run m = new Run(arena, n, -1, 1, 5);
          Coefficients c = coefficients(nesterov, 0.1f);
          UpdateKernels.of(tier)
              .momentum(c, w.memory, w.at(), g.memory, g.at(), m.memory, m.at(), n);
          for (int i = 0; i < n; i++) {
            double d = c.nu * g.before[i] + c.decay * w.before[i];
            double moment = c.beta1 * m.before[i] + d;
            double direction = nesterov ? d + c.beta1 * moment : moment;
            assertNear(moment, m.get(i), 8, n + " moment at " + i);
            assertNear(w.before[i] - c.rate * direction, w.get(i), 16, n + " at " + i);
            assertEquals(0, g.get(i));
          }
          w.checkGuards("w");
          g.checkGuards("g");
          m.checkGuards("m");
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void adamMovesByTheRatioOfItsMoments(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Run w = new Run(arena, n, -2, 2, 6);
        Run g = new Run(arena, n, -3, 3, 7);
        Run m = new Run(arena, n, -1, 1, 8);
        Run v = new Run(arena, n, 0, 1, 9);
        Coefficients c = coefficients(false, 0.1f);
        UpdateKernels.of(tier)
            .adam(c, w.memory, w.at(), g.memory, g.at(), m.memory, m.at(), v.memory, v.at(), n);
        for (int i = 0; i < n; i++) {
          double d = c.nu * g.before[i] + c.decay * w.before[i];
          double first = c.beta1 * m.before[i] + c.rest1 * d;
          double second = c.beta2 * v.before[i] + c.rest2 * d * d;
          double step = c.rate * first / (c.correction * Math.sqrt(second) + c.epsilon);
          assertNear(first, m.get(i), 2, n + " first moment at " + i);
          assertNear(second, v.get(i), 2, n + " second moment at " + i);
          // A first moment near zero is a difference, and the step inherits its rounding.
          double scale = 2 + c.rate * 2 / (c.correction * Math.sqrt(second) + c.epsilon);
          assertNear(c.keep * w.before[i] - step, w.get(i), scale, n + " at " + i);
          assertEquals(0, g.get(i));
        }
        w.checkGuards("w");
        g.checkGuards("g");
        m.checkGuards("m");
        v.checkGuards("v");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void lambWritesItsDirectionOverTheGradientAndAddsNorms(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Run w = new Run(arena, n, -2, 2, 10);
        Run g = new Run(arena, n, -3, 3, 11);
        Run m = new Run(arena, n, -1, 1, 12);
        Run v = new Run(arena, n, 0, 1, 13);
        Coefficients c = coefficients(false, 0.1f);
        double[] norms = {100, 200};
        UpdateKernels.of(tier)
            .lambDirection(
                c,
                w.memory,
                w.at(),
                g.memory,
                g.at(),
                m.memory,
                m.at(),
                v.memory,
                v.at(),
                n,
                lanes(arena),
                norms);
        double weights = 100;
        double directions = 200;
        for (int i = 0; i < n; i++) {
          double d = c.nu * g.before[i];
          double first = c.beta1 * m.before[i] + c.rest1 * d;
          double second = c.beta2 * v.before[i] + c.rest2 * d * d;
          double u = first / (Math.sqrt(second) + c.epsilon) + c.decay * w.before[i];
          assertNear(first, m.get(i), 2, n + " first moment at " + i);
          assertNear(second, v.get(i), 2, n + " second moment at " + i);
          assertNear(u, g.get(i), 2 + 2 / (Math.sqrt(second) + c.epsilon), n + " at " + i);
          assertEquals(w.before[i], w.get(i));
          weights += w.before[i] * w.before[i];
          directions += u * u;
        }
        assertEquals(weights, norms[0], 1e-5 * weights, n + " norm of w");
        assertEquals(directions, norms[1], 1e-5 * directions, n + " norm of u");
        w.checkGuards("w");
        g.checkGuards("g");
        m.checkGuards("m");
        v.checkGuards("v");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void mixesAndScales(Tier tier) {
    for (int n : SIZES) {
      for (float share : new float[] {0, 0.25f}) {
        try (Arena arena = Arena.ofConfined()) {
          Run g = new Run(arena, n, -3, 3, 14);
          Run h = new Run(arena, n, -3, 3, 15);
          if (share == 0) {
            IntStream.range(0, n).forEach(i -> h.set(i, Float.NaN));
          }
          UpdateKernels.of(tier).mix(1.5f, g.memory, g.at(), share, h.memory, h.at(), n);
          for (int i = 0; i < n; i++) {
            double other = share == 0 ? 0 : share * h.before[i];
            assertNear(1.5 * g.before[i] + other, g.get(i), 5, n + " at " + i);
          }
          g.checkGuards("g");
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void sumsProductsAndRows(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Run g = new Run(arena, n, -3, 3, 16);
        Run h = new Run(arena, n, -3, 3, 17);
        Run sum = new Run(arena, n, -3, 3, 18);
        double[] sums = {1, 2, 3};
        UpdateKernels.of(tier).dots(g.memory, g.at(), h.memory, h.at(), n, lanes(arena), sums);
        double[] want = {1, 2, 3};
        double total = 0;
        for (int i = 0; i < n; i++) {
          want[0] += g.before[i] * h.before[i];
          want[1] += g.before[i] * g.before[i];
          want[2] += h.before[i] * h.before[i];
          total += g.before[i];
        }
        for (int k = 0; k < 3; k++) {
          assertEquals(want[k], sums[k], 1e-6 * (9 * n + 3), n + " sum " + k);
        }
        double got =
            UpdateKernels.of(tier).addRow(g.memory, g.at(), sum.memory, sum.at(), n, lanes(arena));
        assertEquals(total, got, 1e-6 * (3 * n + 1), n + " total");
        for (int i = 0; i < n; i++) {
          assertEquals((double) (float) (sum.before[i] + g.before[i]), sum.get(i));
        }
        sum.checkGuards("sum");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void aNanStaysInItsPlace(Tier tier) {
    int n = 35;
    for (int bad : new int[] {0, 5, 34}) {
      try (Arena arena = Arena.ofConfined()) {
        Run w = new Run(arena, n, -2, 2, 19);
        Run g = new Run(arena, n, -3, 3, 20);
        Run m = new Run(arena, n, -1, 1, 21);
        Run v = new Run(arena, n, 0, 1, 22);
        g.set(bad, Float.NaN);
        UpdateKernels.of(tier)
            .adam(
                coefficients(false, 0),
                w.memory,
                w.at(),
                g.memory,
                g.at(),
                m.memory,
                m.at(),
                v.memory,
                v.at(),
                n);
        for (int i = 0; i < n; i++) {
          assertEquals(i == bad, Double.isNaN(w.get(i)), bad + " at " + i);
          assertEquals(0, g.get(i), "a NaN in g is zeroed, too");
        }
      }
    }
  }
}
