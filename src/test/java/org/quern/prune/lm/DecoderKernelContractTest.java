package org.quern.prune.lm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

/** The kernels of every tier of this machine, against their formulas in double precision. */
class DecoderKernelContractTest {
  private static final ValueLayout.OfFloat F32 = ValueLayout.JAVA_FLOAT_UNALIGNED;
  private static final int[] SIZES = {1, 2, 3, 7, 8, 9, 15, 16, 17, 35, 67, 1024, 1100, 2500};
  private static final int ROWS = 3;
  private static final double EPSILON = 1e-5;
  private static final double ROUNDING = 0x1p-20;
  private static final float GUARD = 12345.5f;

  private final Random random = new Random(71);

  static Stream<Tier> tiers() {
    return Stream.of(Tier.SCALAR, Tier.VECTOR).filter(Capabilities.get().available()::contains);
  }

  /** Floats in front of a guard, at an address that is aligned to a float only. */
  private final class Floats {
    final MemorySegment memory;
    final double[] before;
    private final MemorySegment all;

    Floats(Arena arena, int n, double scale) {
      all = arena.allocate(4L * (n + 2), 64);
      memory = all.asSlice(4, 4L * n);
      all.set(F32, 0, GUARD);
      all.set(F32, 4L * (n + 1), GUARD);
      before = new double[n];
      for (int i = 0; i < n; i++) {
        set(i, (float) (scale * random.nextGaussian()));
      }
    }

    void set(int i, float value) {
      memory.set(F32, 4L * i, value);
      before[i] = value;
    }

    double get(int i) {
      return memory.get(F32, 4L * i);
    }

    void check(String where) {
      assertEquals(GUARD, all.get(F32, 0), where);
      assertEquals(GUARD, all.get(F32, all.byteSize() - 4), where);
    }
  }

  private static void assertNear(double want, double got, double size, String where) {
    assertTrue(
        Math.abs(want - got) <= ROUNDING * size + Float.MIN_NORMAL,
        () -> where + ": want " + want + ", got " + got);
  }

  private static double inverseRoot(double[] x, int row, int n) {
    double squares = 0;
    for (int i = 0; i < n; i++) {
      squares += x[row * n + i] * x[row * n + i];
    }
    return 1 / Math.sqrt(squares / n + EPSILON);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void normsRows(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Floats x = new Floats(arena, ROWS * n, 3);
        Floats gain = new Floats(arena, n, 1);
        Floats y = new Floats(arena, ROWS * n, 1);
        DecoderKernels.of(tier).norm(x.memory, gain.memory, y.memory, ROWS, n, EPSILON);
        for (int i = 0; i < ROWS * n; i++) {
          double want = x.before[i] * inverseRoot(x.before, i / n, n) * gain.before[i % n];
          assertNear(want, y.get(i), Math.abs(want), n + " at " + i);
        }
        y.check("y " + n);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void addsTheGradientOfTheNorm(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Floats x = new Floats(arena, ROWS * n, 3);
        Floats gain = new Floats(arena, n, 1);
        Floats delta = new Floats(arena, ROWS * n, 2);
        Floats gradient = new Floats(arena, ROWS * n, 1);
        DecoderKernels.of(tier)
            .normBackward(x.memory, gain.memory, delta.memory, gradient.memory, ROWS, n, EPSILON);
        for (int i = 0; i < ROWS * n; i++) {
          double r = inverseRoot(x.before, i / n, n);
          double dot = 0;
          double size = 0;
          for (int j = 0; j < n; j++) {
            int at = i / n * n + j;
            double term = delta.before[at] * gain.before[j] * x.before[at];
            dot += term;
            size += Math.abs(term);
          }
          double own = r * gain.before[i % n] * delta.before[i];
          double pull = r * r * r * x.before[i] / n;
          double want = gradient.before[i] + own - pull * dot;
          size = Math.abs(gradient.before[i]) + Math.abs(own) + Math.abs(pull) * size;
          assertNear(want, gradient.get(i), size, n + " at " + i);
        }
        gradient.check("gradient " + n);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void turnsPairsThereAndBack(Tier tier) {
    for (int half : new int[] {1, 3, 8, 16, 19, 32}) {
      for (boolean back : new boolean[] {false, true}) {
        try (Arena arena = Arena.ofConfined()) {
          int heads = 2;
          Floats x = new Floats(arena, ROWS * heads * 2 * half, 1);
          Floats cosines = new Floats(arena, ROWS * half, 1);
          Floats sines = new Floats(arena, ROWS * half, 1);
          DecoderKernels.of(tier)
              .rotate(x.memory, cosines.memory, sines.memory, ROWS, heads, 2 * half, back);
          for (int i = 0; i < x.before.length; i++) {
            int element = i % (2 * half);
            int angle = i / (2 * half * heads) * half + element % half;
            boolean low = element < half;
            double other = x.before[low ? i + half : i - half];
            double sine = low == back ? sines.before[angle] : -sines.before[angle];
            double want = x.before[i] * cosines.before[angle] + other * sine;
            assertNear(want, x.get(i), 10, half + " at " + i);
          }
          x.check("x " + half);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void softmaxSeesNoLaterPosition(Tier tier) {
    for (int columns : SIZES) {
      int rows = Math.min(ROWS, columns);
      try (Arena arena = Arena.ofConfined()) {
        Floats x = new Floats(arena, rows * columns, 5);
        DecoderKernels.of(tier).causalSoftmax(x.memory, rows, columns, columns - rows);
        for (int row = 0; row < rows; row++) {
          int seen = columns - rows + row + 1;
          double sum = 0;
          for (int i = 0; i < seen; i++) {
            sum += Math.exp(x.before[row * columns + i]);
          }
          for (int i = 0; i < columns; i++) {
            double want = i < seen ? Math.exp(x.before[row * columns + i]) / sum : 0;
            // The difference to the largest score, up to about 40, is rounded.
            assertNear(want, x.get(row * columns + i), 4 * want, columns + " at " + row + ", " + i);
          }
        }
        x.check("scores " + columns);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void softmaxOfScoresFarApartIsOneAndZero(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      Floats x = new Floats(arena, 40, 1);
      for (int i = 0; i < 40; i++) {
        x.set(i, i == 21 ? 1000 : i == 5 ? Float.NEGATIVE_INFINITY : -1000);
      }
      DecoderKernels.of(tier).causalSoftmax(x.memory, 1, 40, 39);
      for (int i = 0; i < 40; i++) {
        assertEquals(i == 21 ? 1 : 0, x.get(i), 1e-37, "at " + i);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void takesTheGradientOfASoftmax(Tier tier) {
    for (int columns : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Floats p = new Floats(arena, ROWS * columns, 1);
        Floats delta = new Floats(arena, ROWS * columns, 1);
        DecoderKernels.of(tier).softmaxBackward(p.memory, delta.memory, ROWS, columns);
        for (int i = 0; i < ROWS * columns; i++) {
          double dot = 0;
          double size = Math.abs(delta.before[i]);
          for (int j = i / columns * columns; j < (i / columns + 1) * columns; j++) {
            dot += p.before[j] * delta.before[j];
            size += Math.abs(p.before[j] * delta.before[j]);
          }
          double want = p.before[i] * (delta.before[i] - dot);
          assertNear(want, delta.get(i), size * Math.abs(p.before[i]), columns + " at " + i);
        }
        delta.check("delta " + columns);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void gatesAndTakesTheGradient(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Floats gate = new Floats(arena, n, 4);
        Floats up = new Floats(arena, n, 1);
        Floats y = new Floats(arena, n, 1);
        Floats delta = new Floats(arena, n, 1);
        gate.set(0, -200);
        gate.set(n / 2, 200);
        gate.set(n - 1, -30);
        DecoderKernels.of(tier).gate(gate.memory, up.memory, y.memory, n);
        DecoderKernels.of(tier).gateBackward(gate.memory, up.memory, delta.memory, n);
        for (int i = 0; i < n; i++) {
          double x = gate.before[i];
          double s = 1 / (1 + Math.exp(-x));
          double d = delta.before[i];
          String where = n + " at " + i + ", x = " + x;
          double gated = x * s * up.before[i];
          // Beyond the range of the exponential, 1e-38 stands for 0.
          assertNear(gated, y.get(i), Math.abs(gated) + 1e-29, where);
          assertNear(d * x * s, up.get(i), Math.abs(d * x * s) + 1e-29, where);
          double slope = d * up.before[i] * s;
          double size = Math.abs(slope) * (1 + Math.abs(x)) + 1e-29;
          assertNear(slope * (1 + x * (1 - s)), gate.get(i), size, where);
        }
        y.check("y " + n);
        up.check("up " + n);
        gate.check("gate " + n);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void surpriseIsThatOfTheSoftmax(Tier tier) {
    for (int n : SIZES) {
      try (Arena arena = Arena.ofConfined()) {
        Floats x = new Floats(arena, n, 5);
        int token = random.nextInt(n);
        double sum = 0;
        for (double score : x.before) {
          sum += Math.exp(score);
        }
        double want = Math.log(sum) - x.before[token];
        DecoderKernels kernels = DecoderKernels.of(tier);
        assertNear(want, kernels.surprise(x.memory, 0, n, token), 10, "size " + n);
        double got = kernels.surpriseGradient(x.memory, 0, n, token, 0.25f);
        assertNear(want, got, 10, "size " + n);
        for (int i = 0; i < n; i++) {
          double p = Math.exp(x.before[i]) / sum;
          // The shift by the logarithm of the sum is rounded.
          double slope = 0.25 * (i == token ? p - 1 : p);
          assertNear(slope, x.get(i), 0.25 * 8 * p + Math.abs(slope) + 1e-7, n + " at " + i);
        }
        x.check("scores " + n);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void nanStaysNan(Tier tier) {
    try (Arena arena = Arena.ofConfined()) {
      for (int at : new int[] {0, 17, 38}) {
        Floats gate = new Floats(arena, 39, 1);
        Floats up = new Floats(arena, 39, 1);
        Floats y = new Floats(arena, 39, 1);
        gate.set(at, Float.NaN);
        DecoderKernels kernels = DecoderKernels.of(tier);
        kernels.gate(gate.memory, up.memory, y.memory, 39);
        for (int i = 0; i < 39; i++) {
          assertEquals(i == at, Double.isNaN(y.get(i)), at + " at " + i);
        }
        assertTrue(Double.isNaN(kernels.surprise(gate.memory, 0, 39, 3)), "surprise " + at);
      }
    }
  }
}
