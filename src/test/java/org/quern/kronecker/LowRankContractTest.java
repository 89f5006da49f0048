package org.quern.kronecker;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.io.SafetensorsFile;
import org.quern.linalg.SymmetricEigen;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Factors of low rank on every tier of this machine, against the rule in double precision. */
class LowRankContractTest {
  private static final double GAMMA = 0.95;
  private static final int[] SIZES = {1, 2, 3, 15, 16, 17, 31, 32, 33, 65, 130};

  static Stream<Tier> tiers() {
    return InverseFactor.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static InverseFactor factor(
      Arena arena, int d, int columns, double tolerance, double gamma, Tier tier) {
    return InverseFactor.create(
        arena, d, Storage.lowRank(columns, tolerance), UpdateRule.CODE, gamma, tier);
  }

  private static double[] dense(Arena arena, InverseFactor factor) {
    int d = factor.dimension();
    Tensor out = Tensor.allocate(arena, DType.F64, d, d);
    factor.toDense(out);
    return out.toDoubleArray();
  }

  private static float[] vector(int d, SplittableRandom random) {
    float[] v = new float[d];
    for (int i = 0; i < d; i++) {
      v[i] = (float) random.nextGaussian() + 0.5f;
    }
    return v;
  }

  private static double greatest(double[] x) {
    double max = 0;
    for (double value : x) {
      max = Math.max(max, Math.abs(value));
    }
    return max;
  }

  private static void assertClose(
      double[] expected, double[] actual, double tolerance, String what) {
    double scale = greatest(expected);
    for (int i = 0; i < expected.length; i++) {
      assertEquals(expected[i], actual[i], tolerance * scale, what + " at " + i);
    }
  }

  private static double spectral(int d, double[] x, double[] y) {
    double[] difference = new double[d * d];
    for (int i = 0; i < difference.length; i++) {
      difference[i] = x[i] - y[i];
    }
    double[] values = new double[d];
    new SymmetricEigen(d).decompose(d, difference, values);
    return Math.max(Math.abs(values[0]), Math.abs(values[d - 1]));
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void equalsTheDenseFactorWhileNothingIsDropped(Tier tier) {
    for (int d : SIZES) {
      for (int columns : new int[] {1, 8, 24, d}) {
        SplittableRandom random = new SplittableRandom(d);
        try (Arena arena = Arena.ofConfined()) {
          InverseFactor factor = factor(arena, d, columns, 0, GAMMA, tier);
          Reference reference = new Reference(d, GAMMA);
          for (int t = 0; t < 40; t++) {
            float[] v = vector(d, random);
            assertEquals(InverseFactor.Outcome.APPLIED, factor.update(Tensor.copyOf(arena, v, d)));
            reference.update(v);
            String what = tier + " d " + d + " columns " + columns + " step " + t;
            assertEquals(reference.s, factor.quadraticForm(), 1e-4 * (1 + reference.s), what);
            if (t % 13 == 0 || t == 39) {
              assertClose(reference.j, dense(arena, factor), 1e-5, what);
            }
          }
          LowRankFactor lowRank = (LowRankFactor) factor;
          assertTrue(lowRank.dropped() < 1e-6, tier + " d " + d + ": " + lowRank.dropped());
          assertTrue(factor.rank() <= lowRank.capacity(), tier + " d " + d);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void truncationDropsTheSmallestEigenvaluesAndLessOfThemWithMoreColumns(Tier tier) {
    int d = 48;
    double last = Double.POSITIVE_INFINITY;
    for (int columns : new int[] {6, 12, 24, 36}) {
      SplittableRandom random = new SplittableRandom(7);
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor factor = factor(arena, d, columns, Double.POSITIVE_INFINITY, GAMMA, tier);
        Reference reference = new Reference(d, GAMMA);
        double worst = 0;
        for (int t = 0; t < 60; t++) {
          float[] v = vector(d, random);
          factor.update(Tensor.copyOf(arena, v, d));
          reference.update(v);
          worst = Math.max(worst, spectral(d, reference.j, dense(arena, factor)));
          assertTrue(factor.rank() <= columns, tier + " columns " + columns);
        }
        assertEquals(columns, ((LowRankFactor) factor).capacity());
        double dropped = ((LowRankFactor) factor).dropped();
        assertTrue(dropped > 0 && dropped < 1, tier + " dropped " + dropped);
        assertTrue(worst > 1e-4 && worst < last, tier + " columns " + columns + ": " + worst);
        last = worst;
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void columnsGrowRatherThanDropMoreThanTheTolerance(Tier tier) {
    int d = 100;
    for (double tolerance : new double[] {0, 1e-3, 0.3, 1}) {
      SplittableRandom random = new SplittableRandom(3);
      try (Arena arena = Arena.ofConfined()) {
        LowRankFactor factor = (LowRankFactor) factor(arena, d, 12, tolerance, GAMMA, tier);
        Reference reference = new Reference(d, GAMMA);
        for (int t = 0; t < 90; t++) {
          float[] v = vector(d, random);
          factor.update(Tensor.copyOf(arena, v, d));
          reference.update(v);
        }
        assertTrue(factor.dropped() <= tolerance, tier + " dropped " + factor.dropped());
        assertEquals(tolerance < 1, factor.capacity() > 12, tier + " tolerance " + tolerance);
        if (tolerance == 0) {
          assertEquals(90, factor.rank());
          assertClose(reference.j, dense(arena, factor), 1e-5, tier + " grown");
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void negligibleTermsLeave(Tier tier) {
    int d = 20;
    SplittableRandom random = new SplittableRandom(5);
    try (Arena arena = Arena.ofConfined()) {
      LowRankFactor factor = (LowRankFactor) factor(arena, d, 40, 0, 0.5, tier);
      Reference reference = new Reference(d, 0.5);
      for (int t = 0; t < 200; t++) {
        float[] v = vector(d, random);
        factor.update(Tensor.copyOf(arena, v, d));
        reference.update(v);
        assertTrue(factor.rank() <= 29, tier + " step " + t + ": " + factor.rank());
      }
      assertClose(reference.j, dense(arena, factor), 1e-6, tier + " after 200");
      assertEquals(40, Math.max(40, factor.capacity() / 2 * 2));
      float[] tiny = new float[d];
      tiny[3] = 1e-20f;
      int rank = factor.rank();
      factor.update(Tensor.copyOf(arena, tiny, d));
      assertTrue(factor.rank() <= rank, tier.toString());
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void productsMeetTheDenseMatrix(Tier tier) {
    for (int d : SIZES) {
      SplittableRandom random = new SplittableRandom(d);
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor factor = factor(arena, d, 10, 1, GAMMA, tier);
        for (int t = 0; t < 15; t++) {
          factor.update(Tensor.copyOf(arena, vector(d, random), d));
        }
        double[] j = dense(arena, factor);
        float[] v = vector(d, random);
        // A vector at an odd address, which tensors of rows have.
        Tensor w = Tensor.allocate(arena, DType.F32, 3, d + 1).row(1);
        Tensor part = Tensor.of(w.memory().asSlice(4L), DType.F32, d);
        factor.multiply(Tensor.copyOf(arena, v, d), part);
        double max = 0;
        double inf = 0;
        for (int r = 0; r < d; r++) {
          double sum = 0;
          double size = 0;
          double row = 0;
          for (int k = 0; k < d; k++) {
            sum += j[r * d + k] * v[k];
            size += Math.abs(j[r * d + k] * v[k]);
            row += Math.abs(j[r * d + k]);
            max = Math.max(max, Math.abs(j[r * d + k]));
            assertEquals(j[r * d + k], j[k * d + r], tier + ": not symmetric");
          }
          inf = Math.max(inf, row);
          assertEquals(sum, part.getDouble(r), 1e-5 * (1 + size), tier + " d " + d);
        }
        assertEquals(max, factor.maxAbs(), 1e-6, tier + " d " + d);
        assertEquals(inf, factor.infinityNorm(), 1e-5 * inf, tier + " d " + d);
        assertEquals(0, w.getDouble(0), tier + " wrote before the vector");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void blendResetAndDenseImportDoWhatTheySay(Tier tier) {
    int d = 33;
    SplittableRandom random = new SplittableRandom(d);
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor factor = factor(arena, d, 48, 0, GAMMA, tier);
      for (int t = 0; t < 15; t++) {
        factor.update(Tensor.copyOf(arena, vector(d, random), d));
      }
      double[] j = dense(arena, factor);
      factor.blend(0.9);
      double[] blended = j.clone();
      for (int i = 0; i < blended.length; i++) {
        blended[i] = 0.9 * j[i] + (i % (d + 1) == 0 ? 0.1 : 0);
      }
      assertClose(blended, dense(arena, factor), 1e-6, tier + " blend");
      for (int columns : new int[] {4, 48}) {
        InverseFactor copy = factor(arena, d, columns, 0, GAMMA, tier);
        copy.fromDense(Tensor.copyOf(arena, j, d, d));
        assertClose(j, dense(arena, copy), 1e-6, tier + " from dense");
        assertEquals(15, copy.rank());
        copy.reset();
        assertEquals(0, copy.rank());
        assertEquals(1, copy.maxAbs());
      }
      InverseFactor narrow = factor(arena, d, 9, Double.POSITIVE_INFINITY, GAMMA, tier);
      narrow.fromDense(Tensor.copyOf(arena, j, d, d));
      assertEquals(6, narrow.rank());
      double error = spectral(d, j, dense(arena, narrow));
      assertEquals(error, ((LowRankFactor) narrow).dropped(), 1e-6);
      factor.blend(0);
      assertEquals(0, factor.rank());
      Tensor twice = Tensor.allocate(arena, DType.F64, d, d);
      for (int i = 0; i < d; i++) {
        twice.setDouble(2, i, i);
      }
      assertMessage("j: expected eigenvalues of at most 1, got 2", () -> factor.fromDense(twice));
      assertMessage("zeta: expected", () -> factor.blend(1.5));
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void aRestoredFactorGoesOnBitByBit(Tier tier) {
    int d = 37;
    for (int steps : new int[] {0, 5, 30}) {
      SplittableRandom random = new SplittableRandom(steps);
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor factor = factor(arena, d, 10, 0.05, GAMMA, tier);
        for (int t = 0; t < steps; t++) {
          factor.update(Tensor.copyOf(arena, vector(d, random), d));
        }
        Map<String, Tensor> state = factor.state(arena);
        InverseFactor copy = factor(arena, d, 10, 0.05, GAMMA, tier);
        copy.update(Tensor.copyOf(arena, vector(d, random), d));
        copy.restore(state);
        assertEquals(factor.quadraticForm(), copy.quadraticForm());
        for (int t = 0; t < 20; t++) {
          Tensor v = Tensor.copyOf(arena, vector(d, random), d);
          factor.update(v);
          copy.update(v);
          assertEquals(factor.rank(), copy.rank());
        }
        double[] expected = dense(arena, factor);
        double[] actual = dense(arena, copy);
        for (int i = 0; i < expected.length; i++) {
          assertEquals(expected[i], actual[i], tier + " after " + steps);
        }
        state.remove("weights");
        double[] before = dense(arena, copy);
        assertMessage("state: expected weights", () -> copy.restore(state));
        assertClose(before, dense(arena, copy), 0, tier + " after a refusal");
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void vectorsThatAreNotFiniteAreSkipped(Tier tier) {
    int d = 19;
    try (Arena arena = Arena.ofConfined()) {
      InverseFactor factor = factor(arena, d, 8, 0, GAMMA, tier);
      factor.update(Tensor.copyOf(arena, vector(d, new SplittableRandom(1)), d));
      double[] before = dense(arena, factor);
      double s = factor.quadraticForm();
      for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, -1 / 0f}) {
        for (int at : new int[] {0, 15, 18}) {
          float[] v = vector(d, new SplittableRandom(2));
          v[at] = bad;
          assertEquals(InverseFactor.Outcome.SKIPPED, factor.update(Tensor.copyOf(arena, v, d)));
        }
      }
      assertClose(before, dense(arena, factor), 0, tier + " skipped");
      assertEquals(s, factor.quadraticForm());
      assertThrows(
          IllegalArgumentException.class,
          () -> factor.update(Tensor.copyOf(arena, new float[d + 1], d + 1)));
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void vectorsOfAnyLengthAreTaken(Tier tier) {
    int d = 12;
    for (double gamma : new double[] {0.5, 0.95, 1}) {
      for (float scale : new float[] {0, 9.8E-45f, 1e-38f, 1e-19f, 1, 1e15f, 1e19f, 2e38f}) {
        SplittableRandom random = new SplittableRandom(11);
        try (Arena arena = Arena.ofConfined()) {
          InverseFactor factor = factor(arena, d, 16, 0, gamma, tier);
          Reference reference = new Reference(d, gamma);
          for (int t = 0; t < 3; t++) {
            float[] v = new float[d];
            for (int i = 0; i < d; i++) {
              v[i] = scale * (float) random.nextDouble(-1, 1);
            }
            String what = tier + " gamma " + gamma + " scale " + scale + " step " + t;
            assertEquals(
                InverseFactor.Outcome.APPLIED, factor.update(Tensor.copyOf(arena, v, d)), what);
            reference.update(v);
            assertClose(reference.j, dense(arena, factor), 1e-5, what);
            assertEquals(reference.s, factor.quadraticForm(), 1e-3 * reference.s + 1e-30, what);
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void repeatedVectorsReachTheFixedPoint(Tier tier) {
    for (double length : new double[] {1, 100, 1e4}) {
      int d = 40;
      try (Arena arena = Arena.ofConfined()) {
        InverseFactor factor = factor(arena, d, 8, 0.01, GAMMA, tier);
        float[] v = new float[d];
        v[7] = (float) Math.sqrt(length);
        for (int t = 0; t < 400; t++) {
          factor.update(Tensor.copyOf(arena, v, d));
        }
        // The positive root of gamma s l^2 + (1 + s (1 - gamma) - gamma) l = 1 - gamma.
        double square = GAMMA * length;
        double linear = 1 + length * (1 - GAMMA) - GAMMA;
        double root =
            (Math.sqrt(linear * linear + 4 * square * (1 - GAMMA)) - linear) / (2 * square);
        double[] j = dense(arena, factor);
        // J is I - K, so the error is that of I.
        assertEquals(root, j[7 * d + 7], 1e-6, tier + " " + length);
        assertEquals(1, j[0], 0);
        assertEquals(8, ((LowRankFactor) factor).capacity());
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void theRecordedSequenceIsReproduced(Tier tier) throws IOException {
    Path path = golden("kern_sequence");
    try (SafetensorsFile file = SafetensorsFile.open(path);
        Arena arena = Arena.ofConfined()) {
      Tensor vectors = file.load("V", arena);
      double[] errors = file.load("trunc24to16.err2", arena).toDoubleArray();
      int d = (int) vectors.rowLength();
      InverseFactor exact = factor(arena, d, 80, 0, GAMMA, tier);
      InverseFactor narrow = factor(arena, d, 24, Double.POSITIVE_INFINITY, GAMMA, tier);
      Reference reference = new Reference(d, GAMMA);
      for (int t = 0; t < vectors.rows(); t++) {
        Tensor v = vectors.row(t).to(DType.F32, arena);
        assertEquals(InverseFactor.Outcome.APPLIED, exact.update(v));
        assertEquals(InverseFactor.Outcome.APPLIED, narrow.update(v));
        reference.update(v.toFloatArray());
        if (t % 10 == 9) {
          double[] expected = file.load("t" + t + ".code", arena).toDoubleArray();
          assertClose(expected, dense(arena, exact), 1e-5, tier + " step " + t);
        }
        double error = spectral(d, reference.j, dense(arena, narrow));
        // In single precision; the recorded errors are those of double.
        assertEquals(errors[t], error, 1e-6, tier + " step " + t);
      }
      assertEquals(60, exact.rank());
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void recordedSpecialVectorsAreTaken(Tier tier) throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(golden("kern_update_special"));
        Arena arena = Arena.ofConfined()) {
      Tensor start = file.load("J", arena);
      int d = (int) start.rows();
      for (String gamma : new String[] {"0.5", "0.9", "0.99", "1.0"}) {
        for (String kind : new String[] {"zero", "e0", "tiny", "big", "norm"}) {
          String key = "g" + gamma + "." + kind;
          InverseFactor factor = factor(arena, d, 16, 0, Double.parseDouble(gamma), tier);
          factor.fromDense(start);
          Tensor v = file.load(key + ".v", arena).to(DType.F32, arena);
          assertEquals(InverseFactor.Outcome.APPLIED, factor.update(v), key);
          double s = file.load(key + ".s", arena).getDouble(0);
          assertEquals(s, factor.quadraticForm(), 1e-5 * s, tier + " " + key);
          assertClose(
              file.load(key + ".J", arena).toDoubleArray(),
              dense(arena, factor),
              1e-5,
              tier + " " + key);
        }
      }
    }
  }

  static Path golden(String name) {
    Path path = Path.of("..", "shared", "golden", "mkor", name + ".safetensors");
    assumeTrue(Files.exists(path), "recorded cases are absent");
    return path;
  }

  private static void assertMessage(String part, Runnable call) {
    IllegalArgumentException e = assertThrows(IllegalArgumentException.class, call::run);
    assertTrue(e.getMessage().contains(part), e.getMessage());
  }

  /** The rule as it reads. */
  private static final class Reference {
    final int d;
    final double gamma;
    final double[] j;
    double s;

    Reference(int d, double gamma) {
      this.d = d;
      this.gamma = gamma;
      this.j = new double[d * d];
      for (int i = 0; i < d; i++) {
        j[i * d + i] = 1;
      }
    }

    void update(float[] v) {
      double[] y = new double[d];
      s = 0;
      for (int r = 0; r < d; r++) {
        for (int k = 0; k < d; k++) {
          y[r] += gamma * j[r * d + k] * v[k];
        }
        y[r] += (1 - gamma) * v[r];
        s += y[r] * v[r];
      }
      for (int r = 0; r < d; r++) {
        for (int k = 0; k < d; k++) {
          j[r * d + k] = gamma * j[r * d + k] + (r == k ? 1 - gamma : 0) - y[r] / (1 + s) * y[k];
        }
      }
    }
  }
}
