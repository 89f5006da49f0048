package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.function.Function;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.kronecker.Rescale;
import org.quern.kronecker.Storage;
import org.quern.kronecker.UpdateRule;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** What an optimizer does with bad input: a method for each row of the table of behaviours. */
class MkorInputTest {
  private static final int OUT = 5;
  private static final int IN = 7;

  private final Arena arena = Arena.ofConfined();
  private final Samples samples = new Samples(arena, 1);

  @AfterEach
  void close() {
    arena.close();
  }

  private static MkorBuilder everyStep() {
    return Mkor.builder().refreshEvery(1).applyFirst(true);
  }

  private Tensor a() {
    return samples.input(1, IN + 1);
  }

  private Tensor g() {
    return samples.normal(1, OUT);
  }

  private Tensor dw() {
    return samples.normal(1, OUT, IN);
  }

  private Tensor db() {
    return samples.normal(1, OUT);
  }

  private void refresh(Mkor mkor, MkorLayer layer, Tensor a, Tensor g) {
    layer.observe(a, g);
    layer.precondition(dw(), db());
    mkor.step();
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void aVectorThatIsNotFiniteIsSkippedAndCounted(float bad) {
    try (Mkor mkor = everyStep().build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      refresh(mkor, layer, a(), g());
      float[] left = Samples.left(layer);
      float[] right = Samples.right(layer);
      Tensor g = g();
      g.setDouble(bad, 3);
      refresh(mkor, layer, a(), g);
      assertArrayEquals(left, Samples.left(layer));
      assertFalse(java.util.Arrays.equals(right, Samples.right(layer)), "R takes its own vector");
      assertEquals(1, mkor.stats().getFirst().skipped());
      Tensor a = a();
      a.setDouble(bad, 0);
      refresh(mkor, layer, a, g());
      assertEquals(2, mkor.stats().getFirst().skipped());
    }
  }

  @Test
  void strictModeNamesLayerAndVectorAndChangesNoFactor() {
    try (Mkor mkor = everyStep().strict(true).build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      MkorLayer other = mkor.layer("fc2", OUT, IN, true);
      Tensor g = g();
      g.setDouble(Float.NaN, 3);
      layer.observe(a(), g());
      other.observe(a(), g);
      ArithmeticException error = assertThrows(ArithmeticException.class, mkor::refresh);
      assertEquals(
          "layer fc2: vector g: expected finite elements, got NaN at 3", error.getMessage());
      assertArrayEquals(Samples.identity(OUT), Samples.left(layer));
      assertArrayEquals(Samples.identity(IN + 1), Samples.right(layer));
      Tensor a = a();
      a.setDouble(Float.POSITIVE_INFINITY, 1);
      layer.observe(a, g());
      error = assertThrows(ArithmeticException.class, mkor::refresh);
      assertEquals(
          "layer fc1: vector a: expected finite elements, got Infinity at 1", error.getMessage());
    }
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY})
  void aGradientThatIsNotFinitePassesUnchangedAndTouchesNoFactor(float bad) {
    try (Mkor mkor = everyStep().build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      refresh(mkor, layer, a(), g());
      float[] left = Samples.left(layer);
      float[] right = Samples.right(layer);
      Tensor dw = dw();
      dw.setDouble(bad, 2, 3);
      Tensor before = samples.copy(dw);
      Tensor db = db();
      Tensor biasBefore = samples.copy(db);
      assertEquals(1, layer.precondition(dw, db));
      assertArrayEquals(before.toFloatArray(), dw.toFloatArray());
      assertArrayEquals(biasBefore.toFloatArray(), db.toFloatArray());
      mkor.step();
      assertArrayEquals(left, Samples.left(layer));
      assertArrayEquals(right, Samples.right(layer));
      assertEquals(1, mkor.stats().getFirst().notFinite());
    }
  }

  @ParameterizedTest
  @MethodSource("rescales")
  void aZeroGradientGivesZeroWithScaleOne(Rescale rescale) {
    try (Mkor mkor = everyStep().rescale(rescale).measureCosine(false).build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      refresh(mkor, layer, a(), g());
      Tensor dw = Tensor.allocate(arena, DType.F32, OUT, IN);
      Tensor db = Tensor.allocate(arena, DType.F32, OUT);
      assertEquals(1, layer.precondition(dw, db));
      assertEquals(0, Samples.norm(dw));
      assertEquals(0, Samples.norm(db));
      assertEquals(0, mkor.stats().getFirst().vanished());
    }
  }

  static Stream<Rescale> rescales() {
    return Stream.of(Rescale.values());
  }

  @Test
  void aPreconditionedGradientThatVanishesIsReplacedByTheGradientAndCounted() {
    try (Mkor mkor = everyStep().gamma(1).clip(Double.POSITIVE_INFINITY).build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, false);
      Tensor a = Tensor.allocate(arena, DType.F32, IN);
      a.setDouble(1e15, 0);
      layer.observe(a, Tensor.allocate(arena, DType.F32, OUT));
      Tensor dw = Tensor.allocate(arena, DType.F32, OUT, IN);
      dw.setDouble(1e-20, 1, 0);
      float[] before = dw.toFloatArray();
      assertEquals(1, layer.precondition(dw, null));
      assertArrayEquals(before, dw.toFloatArray());
      assertEquals(1, mkor.stats().getFirst().vanished());
    }
  }

  @Test
  void aZeroVectorOnlyLeaksTheIdentityIn() {
    try (Mkor mkor = everyStep().build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      refresh(mkor, layer, a(), g());
      float[] left = Samples.left(layer);
      refresh(mkor, layer, a(), Tensor.allocate(arena, DType.F32, OUT));
      float[] identity = Samples.identity(OUT);
      float[] leaked = Samples.left(layer);
      for (int i = 0; i < left.length; i++) {
        assertEquals(0.95 * left[i] + 0.05 * identity[i], leaked[i], 1e-6);
      }
    }
  }

  @Test
  void aRuleWithoutFiniteResultResetsTheFactorAndIsCounted() {
    MkorBuilder builder =
        everyStep()
            .rule(UpdateRule.PAPER)
            .stabilizer(
                new Stabilizer(
                    Stabilizer.Norm.MAX_ABS, Stabilizer.Mode.RESET, Double.POSITIVE_INFINITY, 1));
    try (Mkor mkor = builder.build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      Tensor a = samples.input(2, IN + 1);
      Tensor g = samples.normal(2, OUT);
      int steps = 0;
      while (mkor.stats().getFirst().resets() == 0 && steps < 1000) {
        refresh(mkor, layer, a, g);
        steps++;
      }
      assertTrue(steps < 1000, "the rule as printed grows without bound");
      for (float value : Samples.left(layer)) {
        assertTrue(Float.isFinite(value));
      }
    }
  }

  @Test
  void wrongShapesAndTypesNameTheLayerAndBothShapes() {
    try (Mkor mkor = everyStep().build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      Tensor half = Tensor.allocate(arena, DType.F16, IN + 1);
      assertRefused(
          "layer fc1: a: expected F32[8] on cpu, got F32[7] on cpu",
          () -> layer.observe(samples.normal(1, IN), g()));
      assertRefused(
          "layer fc1: a: expected F32[8] on cpu, got F16[8] on cpu",
          () -> layer.observe(half, g()));
      assertRefused(
          "layer fc1: g: expected F32[5] on cpu, got F32[1, 5] on cpu",
          () -> layer.observe(a(), samples.normal(1, 1, OUT)));
      assertRefused(
          "layer fc1: w: expected F32[5, 7] on cpu, got F32[7, 5] on cpu",
          () -> layer.step(samples.normal(1, IN, OUT), db(), dw(), db(), 1));
      assertRefused(
          "layer fc1: dw: expected F32[5, 7] on cpu, got F32[5, 6] on cpu",
          () -> layer.step(dw(), db(), samples.normal(1, OUT, IN - 1), db(), 1));
      assertRefused(
          "layer fc1: b: expected F32[5], got null", () -> layer.step(dw(), null, dw(), db(), 1));
      assertRefused(
          "layer fc1: db: expected F32[5] on cpu, got F32[6] on cpu",
          () -> layer.step(dw(), db(), dw(), samples.normal(1, OUT + 1), 1));
      MkorLayer plain = mkor.layer("fc2", OUT, IN, false);
      assertRefused(
          "layer fc2: db: expected null without a bias, got F32[5] on cpu",
          () -> plain.precondition(dw(), db()));
      assertRefused("rows: expected at least 1, got 0", () -> layer.accumulate(a(), g(), 0));
    }
  }

  private static void assertRefused(String message, Runnable call) {
    assertEquals(message, assertThrows(IllegalArgumentException.class, call::run).getMessage());
  }

  static Stream<Arguments> ranges() {
    return Stream.of(
        range("gamma: expected in (0, 1], got 0.0", b -> b.gamma(0)),
        range("gamma: expected in (0, 1], got 1.5", b -> b.gamma(1.5)),
        range("gamma: expected in (0, 1], got NaN", b -> b.gamma(Double.NaN)),
        range("refreshEvery: expected at least 1, got 0", b -> b.refreshEvery(0)),
        range("warmup: expected at least 0, got -1", b -> b.warmup(-1)),
        range("clip: expected above 0, got 0.0", b -> b.clip(0)),
        range("threads: expected at least 1, got 0", b -> b.threads(0)),
        range("denseBudget: expected at least 0, got -1", b -> b.denseBudget(-1)),
        range("damping: expected in [0.0, 1.0], got 1.1", b -> b.damping(1.1)),
        range("klClip: expected a finite number of at least 0, got -1.0", b -> b.klClip(-1)),
        range("microBatches: expected at least 1, got 0", b -> b.microBatches(0, Accumulation.SUM)),
        range("include: expected a regular expression, got '('", b -> b.include("(")),
        range("exclude: expected a regular expression, got '['", b -> b.exclude("[")),
        range(
            "zeta: expected in [0.0, 1.0], got -0.1",
            b ->
                b.stabilizer(
                    new Stabilizer(Stabilizer.Norm.INFINITY, Stabilizer.Mode.BLEND, 1, -0.1))),
        range(
            "threshold: expected above 0, got 0.0",
            b ->
                b.stabilizer(
                    new Stabilizer(Stabilizer.Norm.INFINITY, Stabilizer.Mode.BLEND, 0, 0.5))),
        range("columns: expected at least 1, got 0", b -> b.storage(Storage.lowRank(0, 0.1))),
        range("momentum: expected in [0.0, 1.0), got 1.0", b -> b.backEnd(new Sgd(1))),
        range("nesterov: expected a momentum above 0, got 0", b -> b.backEnd(new Sgd(0, 0, true))),
        range(
            "weightDecay: expected a finite number of at least 0, got -1.0",
            b -> b.backEnd(new Adam(-1))),
        range(
            "beta2: expected in [0.0, 1.0), got 1.0",
            b -> b.backEnd(new Adam(0.9, 1, 1e-8, 0, false))),
        range(
            "epsilon: expected a finite number above 0, got 0.0",
            b -> b.backEnd(new Lamb(0.9, 0.999, 0, 0, 10))),
        range(
            "maxNorm: expected above 0, got 0.0", b -> b.backEnd(new Lamb(0.9, 0.999, 1e-6, 0, 0))),
        range(
            "every: expected at least 1, got 0",
            b -> b.refresh(new RefreshSchedule.Periodic(0, 0))),
        range("share: expected in [0.0, 1.0], got 2.0", b -> b.switchPolicy(policy(2))));
  }

  private static KneePoint policy(double share) {
    return new KneePoint(0.95, share, 100);
  }

  private static Arguments range(String message, Function<MkorBuilder, MkorBuilder> setting) {
    return Arguments.of(message, setting);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("ranges")
  void aSettingOutOfItsRangeIsNamedWithValueAndRange(
      String message, Function<MkorBuilder, MkorBuilder> setting) {
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> setting.apply(Mkor.builder()));
    assertTrue(error.getMessage().startsWith(message), error.getMessage());
  }

  @Test
  void denseFactorsBeyondTheBudgetAreRefusedBeforeTheyAreAllocated() {
    long fits = 2 * org.quern.kronecker.InverseFactor.bytes(64, Storage.dense());
    try (Mkor mkor = Mkor.builder().storage(Storage.dense()).denseBudget(fits).build()) {
      mkor.layer("fits", 64, 64, false);
      IllegalArgumentException error =
          assertThrows(
              IllegalArgumentException.class, () -> mkor.layer("decoder", 1 << 20, 64, false));
      String message = error.getMessage();
      long bytes =
          fits
              + org.quern.kronecker.InverseFactor.bytes(1 << 20, Storage.dense())
              + org.quern.kronecker.InverseFactor.bytes(64, Storage.dense());
      assertTrue(message.startsWith("layer decoder: expected dense factors of at most"), message);
      assertTrue(message.contains("got " + bytes), message);
      assertTrue(message.contains("Storage.lowRank") && message.contains("first order"), message);
      assertEquals(List.of("fits"), mkor.layers().stream().map(MkorLayer::name).toList());
    }
    try (Mkor mkor = Mkor.builder().denseBudget(0).storage(Storage.lowRank(8, 0.1)).build()) {
      mkor.layer("decoder", 1 << 20, 64, false);
      assertTrue(mkor.memory().getFirst().leftBytes() > 0);
    }
  }

  @Test
  void anEmbeddingGoesThroughTheBackEndAlone() {
    try (Mkor mkor = Mkor.builder().backEnd(new Sgd(0.9)).build()) {
      MkorLayer embedding = mkor.parameter("embedding", 4, 3, 2);
      Tensor w = samples.normal(1, 4, 3, 2);
      Tensor dw = samples.normal(1, 4, 3, 2);
      float[] before = w.toFloatArray();
      float[] gradient = dw.toFloatArray();
      embedding.step(w, null, dw, null, 0.5);
      mkor.step();
      float[] after = w.toFloatArray();
      for (int i = 0; i < before.length; i++) {
        assertEquals(before[i] - 0.5 * gradient[i], after[i], 1e-6);
      }
      assertFalse(embedding.isPreconditioned());
      assertRefused(
          "layer embedding: w: expected F32[4, 3, 2] on cpu, got F32[4, 6] on cpu",
          () -> embedding.step(samples.normal(1, 4, 6), null, dw, null, 1));
    }
  }

  @Test
  void aLayerThatIsNotSeenKeepsItsFactorsAndIsCounted() {
    try (Mkor mkor = everyStep().build()) {
      MkorLayer seen = mkor.layer("fc1", OUT, IN, true);
      MkorLayer unseen = mkor.layer("fc2", OUT, IN, true);
      unseen.observe(a(), g());
      refresh(mkor, seen, a(), g());
      float[] left = Samples.left(unseen);
      float[] right = Samples.right(unseen);
      refresh(mkor, seen, a(), g());
      assertArrayEquals(left, Samples.left(unseen));
      assertArrayEquals(right, Samples.right(unseen));
      assertEquals(1, mkor.stats().get(1).unseen());
      assertEquals(0, mkor.stats().get(0).unseen());
      assertEquals(2, mkor.stats().get(1).updates());
    }
  }

  @Test
  void vectorsOfDifferentStepsAreAnIllegalState() {
    try (Mkor mkor = everyStep().build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      layer.accumulateInput(a(), 3);
      IllegalStateException error =
          assertThrows(IllegalStateException.class, () -> layer.precondition(dw(), db()));
      assertEquals(
          "layer fc1, step 0: a was given without g: the vectors of a refresh belong to one step",
          error.getMessage());
      layer.accumulateOutput(g(), 3);
      assertThrows(IllegalStateException.class, mkor::step);
      refresh(mkor, layer, a(), g());
      layer.precondition(dw(), db());
      error = assertThrows(IllegalStateException.class, () -> layer.observe(a(), g()));
      assertTrue(error.getMessage().contains("before the first use of a gradient"));
    }
  }

  @Test
  void finishedVectorsComeOnceAndAlone() {
    try (Mkor mkor = everyStep().build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      layer.observe(a(), g());
      assertThrows(IllegalStateException.class, () -> layer.observe(a(), g()));
      assertThrows(IllegalStateException.class, () -> layer.accumulate(a(), g(), 2));
    }
  }

  @Test
  void namesAndSizesOfLayersAreChecked() {
    try (Mkor mkor = Mkor.builder().build()) {
      mkor.layer("fc1", OUT, IN, true);
      assertRefused("name: expected a new one, got 'fc1'", () -> mkor.layer("fc1", OUT, IN, true));
      assertRefused("outputs: expected at least 1, got 0", () -> mkor.layer("x", 0, IN, true));
      assertRefused("inputs: expected at least 1, got 0", () -> mkor.layer("x", OUT, 0, true));
      assertRefused("shape: expected at least 1, got 0", () -> mkor.parameter("x", 3, 0));
      assertRefused("lr: expected a finite number of at least 0, got -1.0", () -> mkor.step(-1));
      assertRefused(
          "lossScale of vectors: expected a finite number above 0, got 0.0",
          () -> mkor.lossScale(0));
    }
    try (Mkor mkor = Mkor.builder().rule(UpdateRule.EXACT).storage(Storage.lowRank(4, 0)).build()) {
      IllegalArgumentException error =
          assertThrows(IllegalArgumentException.class, () -> mkor.layer("x", OUT, IN, true));
      assertTrue(error.getMessage().startsWith("layer x: storage: expected one that keeps every"));
    }
  }
}
