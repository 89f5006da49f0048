package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Collectors;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** What pruning does about input that is wrong or odd, one test for each kind of it. */
class PruneBadInputTest {
  private static final String NAME = "h.3.fc";
  private static final int M = 4;
  private static final int N = 24;

  @TempDir Path directory;

  private final Arena arena = Arena.ofShared();
  private Tensor weights;
  private Tensor gradients;
  private Tensor norms;

  @BeforeEach
  void makeLayer() {
    weights = random(1, M, N);
    gradients = random(2, M, N);
    float[] c = new float[N];
    for (int j = 0; j < N; j++) {
      c[j] = 1 + j % 5;
    }
    norms = Tensor.copyOf(arena, c, N);
  }

  @AfterEach
  void close() {
    arena.close();
  }

  private Tensor random(long seed, int m, int n) {
    Random random = new Random(seed);
    float[] values = new float[m * n];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return Tensor.copyOf(arena, values, m, n);
  }

  private long prune(Pruner.Builder pruner) {
    try (PruneWorkspace workspace = new PruneWorkspace()) {
      return pruner.build().prune(NAME, weights, new Statistics(gradients, norms), workspace);
    }
  }

  private static Pruner.Builder gblm() {
    return Pruner.builder().method(Method.GBLM).pattern(Pattern.unstructured(0.5));
  }

  /** The message begins with the layer's name and holds the parts. */
  private static void assertRejected(Runnable job, String... parts) {
    IllegalArgumentException error = assertThrows(IllegalArgumentException.class, job::run);
    assertTrue(error.getMessage().startsWith(NAME + ": "), error.getMessage());
    for (String part : parts) {
      assertTrue(error.getMessage().contains(part), error.getMessage());
    }
  }

  @ParameterizedTest
  @EnumSource(Method.class)
  void whatIsNotFiniteIsNamedByItsPlace(Method method) {
    for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
      makeLayer();
      weights.setDouble(bad, 2, 17);
      weights.setDouble(bad, 3, 1);
      assertRejected(
          () -> prune(gblm().method(method)),
          "finite weights, got " + bad + " at row 2, column 17");
      if (method.usesGradients()) {
        makeLayer();
        gradients.setDouble(bad, 1, 23);
        assertRejected(
            () -> prune(gblm().method(method)),
            "finite gradients, got " + bad + " at row 1, column 23");
      }
      if (method.usesActivations()) {
        makeLayer();
        norms.setDouble(bad, 5);
        assertRejected(
            () -> prune(gblm().method(method)), "column norms", "got " + bad + " at column 5");
      }
    }
    norms.setDouble(-1, 6);
    weights = random(1, M, N);
    gradients = random(2, M, N);
    if (method.usesActivations()) {
      norms.setDouble(1, 5);
      assertRejected(() -> prune(gblm().method(method)), "not negative, got -1.0 at column 6");
    }
  }

  @Test
  void statisticsOfAnotherShapeAreRejected() {
    gradients = random(2, N, M);
    assertRejected(() -> prune(gblm()), "expected gradients of shape [4, 24], got [24, 4]");
    makeLayer();
    norms = Tensor.allocate(arena, DType.F32, N - 1);
    assertRejected(() -> prune(gblm()), "expected column norms F32[24]");
    makeLayer();
    weights = Tensor.allocate(arena, DType.F32, M);
    assertRejected(() -> prune(gblm()), "expected weights of shape [rows, columns]");
    makeLayer();
    weights = Tensor.allocate(arena, DType.F64, M, N);
    assertRejected(() -> prune(gblm()), "expected weights of type F32, F16 or BF16");
  }

  @ParameterizedTest
  @ValueSource(doubles = {-0.01, 1, 1.5, Double.NaN, Double.POSITIVE_INFINITY})
  void aRatioOutsideItsRangeIsRejected(double ratio) {
    String message = "ratio: expected a share in [0, 1), got " + ratio;
    for (Runnable job :
        List.<Runnable>of(
            () -> Pattern.unstructured(ratio),
            () -> Pattern.unstructured(ratio, Group.MATRIX),
            () -> Pattern.cumulative(ratio))) {
      assertEquals(message, assertThrows(IllegalArgumentException.class, job::run).getMessage());
    }
  }

  /** No weight is to go, because the ratio is 0 or too small for one of a row. */
  @ParameterizedTest
  @EnumSource(Method.class)
  void nothingToPruneLeavesEveryBit(Method method) {
    weights.setDouble(-0.0, 1, 1);
    float[] before = weights.toFloatArray();
    for (Pattern pattern :
        List.of(
            Pattern.unstructured(0),
            Pattern.unstructured(0.99 / N),
            Pattern.unstructured(0, Group.MATRIX),
            Pattern.cumulative(0))) {
      assertEquals(0, prune(Pruner.builder().method(method).pattern(pattern)), pattern.toString());
      float[] after = weights.toFloatArray();
      for (int i = 0; i < before.length; i++) {
        assertEquals(Float.floatToRawIntBits(before[i]), Float.floatToRawIntBits(after[i]));
      }
    }
  }

  @Test
  void runsThatDoNotFitAreRejected() {
    assertRejected(
        () -> prune(gblm().pattern(Pattern.nm(2, 5))),
        "expected columns in whole groups of 5 for the pattern 2:5, got 24 columns");
    for (int[] counts : new int[][] {{0, 4}, {5, 4}, {-1, 4}, {1, 0}, {1, 17}}) {
      assertThrows(IllegalArgumentException.class, () -> Pattern.nm(counts[0], counts[1]));
    }
  }

  @ParameterizedTest
  @EnumSource(Method.class)
  void gradientsThatAreAllZeroAreTakenForAbsent(Method method) {
    gradients = Tensor.allocate(arena, DType.F32, M, N);
    Tensor own = random(1, M, N);
    prune(gblm().method(method));
    Method instead =
        !method.usesGradients()
            ? method
            : method.usesActivations() ? Method.WANDA : Method.MAGNITUDE;
    Pruner.builder()
        .method(instead)
        .pattern(Pattern.unstructured(0.5))
        .build()
        .prune(own, new Statistics(null, norms));
    assertEquals(-1, own.memory().mismatch(weights.memory()));
  }

  @ParameterizedTest
  @EnumSource(Method.class)
  void statisticsThatWereNeverGivenAreRejected(Method method) {
    if (method.usesGradients()) {
      gradients = null;
      assertRejected(() -> prune(gblm().method(method)), "needs gradients, got none");
      makeLayer();
    }
    if (method.usesActivations()) {
      norms = null;
      assertRejected(() -> prune(gblm().method(method)), "needs column norms, got none");
    }
  }

  @ParameterizedTest
  @EnumSource(Method.class)
  void zerosAreSelectedFirstAndPreservedWhereAsked(Method method) {
    for (int j = 1; j < N; j += 3) {
      weights.setDouble(j % 2 == 0 ? 0.0 : -0.0, 2, j);
    }
    Tensor before = random(1, M, N);
    before.memory().copyFrom(weights.memory());
    // 8 zeros of 12: all of them are among those that go.
    assertEquals(4L * 12, prune(gblm().method(method)));
    assertEquals(12, zeros(2));
    for (int j = 0; j < N; j++) {
      assertTrue(before.getDouble(2, j) != 0 || weights.getDouble(2, j) == 0);
    }
    weights.memory().copyFrom(before.memory());
    Pruner.Builder few =
        Pruner.builder().method(method).pattern(Pattern.unstructured(0.25)).preserveMask(true);
    assertRejected(
        () -> prune(few),
        "expected at most 6 zeros in a row to preserve by the pattern 0.25, got one more at row 2,"
            + " column 19");
    // Without the option more zeros than asked for are no error: they stay.
    prune(few.preserveMask(false));
    assertEquals(8, zeros(2));
  }

  private int zeros(int row) {
    int zeros = 0;
    for (int j = 0; j < N; j++) {
      zeros += weights.getDouble(row, j) == 0 ? 1 : 0;
    }
    return zeros;
  }

  @Test
  void aDeadInputColumnGoesFirstUnlessItsGradientsSpeak() {
    norms.setDouble(0, 9);
    weights.setDouble(100, 1, 9);
    gradients.setDouble(1000, 3, 9);
    weights.setDouble(100, 3, 9);
    Pattern one = Pattern.unstructured(1.5 / N);
    prune(Pruner.builder().method(Method.WANDA).pattern(one));
    for (int i = 0; i < M; i++) {
      assertEquals(0, weights.getDouble(i, 9));
      assertEquals(1, zeros(i));
    }
    weights.setDouble(100, 3, 9);
    prune(Pruner.builder().method(Method.GBLM).pattern(one));
    assertEquals(100, weights.getDouble(3, 9));
  }

  @Test
  void rowsWithAStrideAreSoundAndWhatIsBetweenThemIsLeftAlone() {
    Tensor wide = random(7, M, N + 8);
    Tensor copy = random(7, M, N + 8);
    Tensor dense = Tensor.allocate(arena, DType.F32, M, N);
    for (int i = 0; i < M; i++) {
      for (int j = 0; j < N; j++) {
        dense.setDouble(wide.getDouble(i, j), i, j);
      }
    }
    weights = Tensor.of(wide.memory(), DType.F32, N + 8, new long[] {M, N});
    prune(gblm());
    weights = dense;
    prune(gblm());
    for (int i = 0; i < M; i++) {
      for (int j = 0; j < N + 8; j++) {
        double expected = j < N ? dense.getDouble(i, j) : copy.getDouble(i, j);
        assertEquals(expected, wide.getDouble(i, j));
      }
    }
  }

  /** A square matrix does not tell its layout: only the option does. */
  @Test
  void theLayoutIsTheCallersWord() throws IOException {
    Path model =
        new SampleModel(4).add(NAME + ".weight", "F32", N, N).write(directory.resolve("m.st"));
    byte[][] outputs = new byte[2][];
    for (Layout layout : Layout.values()) {
      Path output = directory.resolve("out" + layout);
      CheckpointPruner.builder()
          .method(Method.MAGNITUDE)
          .pattern(Pattern.nm(2, 4))
          .layout(layout)
          .build()
          .prune(model, output);
      outputs[layout.ordinal()] = Files.readAllBytes(output);
    }
    assertFalse(Arrays.equals(outputs[0], outputs[1]));
  }

  @Test
  void tiedTensorsArePrunedOnceAndUnknownOnesKept() throws IOException {
    SampleModel model =
        new SampleModel(4)
            .metadata("format", "pt")
            .add(NAME + ".weight", "F16", M, N)
            .tie("h.4.fc.weight", NAME + ".weight")
            .add("h.3.table", "F8_E4M3", 5, 3)
            .add("h.3.ids", "I8", 4);
    Path input = model.write(directory.resolve("m.safetensors"));
    Path output = directory.resolve("out.safetensors");
    PruneReport report =
        CheckpointPruner.builder()
            .method(Method.MAGNITUDE)
            .pattern(Pattern.nm(1, 2))
            .build()
            .prune(input, output);
    assertEquals(M * N / 2, report.zerosAfter());
    Map<String, String> untouched =
        report.untouched().stream()
            .collect(Collectors.toMap(PruneReport.Untouched::name, PruneReport.Untouched::reason));
    assertEquals("the same bytes as h.3.fc.weight, pruned with it", untouched.get("h.4.fc.weight"));
    byte[] before = model.bytes();
    byte[] after = Files.readAllBytes(output);
    int begin = model.begin(NAME + ".weight");
    int end = begin + M * N * Short.BYTES;
    assertEquals(-1, Arrays.mismatch(before, 0, begin, after, 0, begin));
    assertEquals(-1, Arrays.mismatch(before, end, before.length, after, end, after.length));
  }

  @ParameterizedTest
  @ValueSource(strings = {"F32", "F16", "BF16"})
  void prunedIsPositiveZeroAndKeptKeepsItsBits(String type) {
    DType dtype = DType.valueOf(type);
    Tensor exact = weights;
    exact.setDouble(-0.0, 0, 3);
    exact.setDouble(-1e-7, 0, 4);
    weights = exact.to(dtype, arena);
    Tensor before = exact.to(dtype, arena);
    Tensor mask = gblm().build().mask(arena, weights, new Statistics(gradients, norms));
    prune(gblm());
    for (int i = 0; i < M; i++) {
      for (int j = 0; j < N; j++) {
        long at = ((long) i * N + j) * dtype.bytes();
        boolean pruned = (mask.getLong(i, j / 8) >> j % 8 & 1) != 0;
        for (long b = at; b < at + dtype.bytes(); b++) {
          int expected = pruned ? 0 : before.memory().get(ValueLayout.JAVA_BYTE, b);
          assertEquals(expected, weights.memory().get(ValueLayout.JAVA_BYTE, b));
        }
      }
    }
    assertEquals(0, Float.floatToRawIntBits((float) weights.getDouble(0, 3)));
  }

  @Test
  void aStatisticWithoutSamplesIsNoStatistic() {
    ActivationStatistics activations = new ActivationStatistics(N);
    assertThrows(IllegalStateException.class, () -> activations.columnNorms(arena));
    assertThrows(IllegalStateException.class, () -> activations.meanSquares(arena));
    GradientStatistics sums = GradientStatistics.builder(M, N).build(arena);
    assertThrows(IllegalStateException.class, () -> sums.statistic(arena, DType.F32));
  }
}
