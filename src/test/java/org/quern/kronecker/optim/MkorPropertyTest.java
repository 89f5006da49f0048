package org.quern.kronecker.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.kronecker.Rescale;
import org.quern.kronecker.Storage;
import org.quern.kronecker.UpdateRule;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Properties of the optimizer, numbered as in the list of its specification. */
class MkorPropertyTest {
  private static final int OUT = 37;
  private static final int IN = 70;

  private final Arena arena = Arena.ofShared();
  private final Samples samples = new Samples(arena, 2);

  @AfterEach
  void close() {
    arena.close();
  }

  static Stream<Arguments> tiersAndStorages() {
    List<Arguments> cases = new ArrayList<>();
    for (Tier tier : List.of(Tier.SCALAR, Tier.VECTOR)) {
      if (Capabilities.get().available().contains(tier)) {
        for (Storage storage :
            List.of(
                Storage.symmetricTiles(),
                Storage.deviation(DType.BF16),
                Storage.lowRank(8, Double.POSITIVE_INFINITY))) {
          cases.add(Arguments.of(tier, storage));
        }
      }
    }
    return cases.stream();
  }

  private static MkorBuilder builder(Tier tier, Storage storage) {
    return Mkor.builder().tier(tier).storage(storage).refreshEvery(1).applyFirst(true);
  }

  private Tensor a() {
    return samples.input(1, IN + 1);
  }

  private Tensor g() {
    return samples.normal(1, OUT);
  }

  /** A layer whose factors have taken some vectors. */
  private MkorLayer warm(Mkor mkor, int steps) {
    MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
    for (int i = 0; i < steps; i++) {
      layer.observe(a(), g());
      mkor.step();
    }
    return layer;
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void property8TheLengthIsKept(Tier tier, Storage storage) {
    for (Rescale rescale : new Rescale[] {Rescale.FROBENIUS, Rescale.SUM_OF_NORMS}) {
      try (Mkor mkor = builder(tier, storage).rescale(rescale).build()) {
        MkorLayer layer = warm(mkor, 5);
        Tensor dw = samples.normal(1, OUT, IN);
        Tensor db = samples.normal(3, OUT);
        double before = length(rescale, dw, db);
        double nu = layer.precondition(dw, db);
        assertEquals(before, length(rescale, dw, db), 1e-5 * before, rescale.toString());
        assertEquals(nu, mkor.stats().getFirst().nu());
      }
    }
  }

  private static double length(Rescale rescale, Tensor dw, Tensor db) {
    double w = Samples.norm(dw);
    double b = Samples.norm(db);
    return rescale == Rescale.FROBENIUS ? Math.hypot(w, b) : w + b;
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void property9WithIdentitiesTheGradientIsItself(Tier tier, Storage storage) {
    try (Mkor mkor = builder(tier, storage).build()) {
      MkorLayer layer = mkor.layer("fc1", OUT, IN, true);
      Tensor dw = samples.normal(1, OUT, IN);
      Tensor db = samples.normal(1, OUT);
      float[] before = dw.toFloatArray();
      float[] biasBefore = db.toFloatArray();
      assertEquals(1, layer.precondition(dw, db), 1e-7);
      layer.preconditionUnscaled(dw, db);
      assertArrayEquals(before, dw.toFloatArray(), 1e-6f);
      assertArrayEquals(biasBefore, db.toFloatArray(), 1e-6f);
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void property10TheDirectionDoesNotDependOnTheScaleOfTheGradient(Tier tier, Storage storage) {
    try (Mkor mkor = builder(tier, storage).build()) {
      MkorLayer layer = warm(mkor, 5);
      Tensor dw = samples.normal(1, OUT, IN);
      Tensor db = samples.normal(1, OUT);
      Tensor largeW = samples.scaled(dw, 1024);
      Tensor largeB = samples.scaled(db, 1024);
      double nu = layer.preconditionUnscaled(dw, db);
      assertEquals(nu, layer.preconditionUnscaled(largeW, largeB), 1e-6 * nu);
      assertArrayEquals(samples.scaled(dw, 1024).toFloatArray(), largeW.toFloatArray(), 1e-3f);
      assertArrayEquals(samples.scaled(db, 1024).toFloatArray(), largeB.toFloatArray(), 1e-3f);
    }
  }

  @Test
  void property12MicroBatchesGiveTheVectorsOfTheWholeBatch() {
    Tensor x = samples.normal(1, 16, IN);
    Tensor dy = samples.normal(1, 16, OUT);
    try (Mkor whole = builder(Tier.SCALAR, Storage.symmetricTiles()).build();
        Mkor split =
            builder(Tier.SCALAR, Storage.symmetricTiles())
                .microBatches(3, Accumulation.SUM)
                .build()) {
      MkorLayer one = whole.layer("fc1", OUT, IN, true);
      one.observe(samples.columnMeans(x), samples.columnSums(dy));
      whole.step();
      MkorLayer several = split.layer("fc1", OUT, IN, true);
      int[] cuts = {0, 5, 8, 16};
      for (int i = 0; i < 3; i++) {
        several.accumulate(
            samples.columnMeans(x.rows(cuts[i], cuts[i + 1])),
            samples.columnSums(dy.rows(cuts[i], cuts[i + 1])),
            cuts[i + 1] - cuts[i]);
      }
      split.step();
      assertNear(Samples.factors(one).a, Samples.factors(several).a);
      assertNear(Samples.factors(one).g, Samples.factors(several).g);
      assertArrayEquals(Samples.left(one), Samples.left(several), 1e-6f);
      assertArrayEquals(Samples.right(one), Samples.right(several), 1e-6f);
    }
  }

  @Test
  void aSharedLayerHasTheMeanOfAllItsInputsAndTheSumOfItsGradients() {
    for (Accumulation accumulation : new Accumulation[] {Accumulation.SUM, Accumulation.MEAN}) {
      try (Mkor mkor =
          builder(Tier.SCALAR, Storage.dense()).microBatches(1, accumulation).build()) {
        MkorLayer layer = mkor.layer("tied", OUT, IN, true);
        Tensor x = samples.normal(1, 12, IN);
        Tensor dy = samples.normal(1, 12, OUT);
        layer.accumulateInput(samples.columnMeans(x.rows(0, 6)), 6);
        layer.accumulateInput(samples.columnMeans(x.rows(6, 12)), 6);
        layer.accumulateOutput(samples.columnSums(dy.rows(6, 12)), 6);
        layer.accumulateOutput(samples.columnSums(dy.rows(0, 6)), 6);
        mkor.step();
        assertNear(samples.columnMeans(x), Samples.factors(layer).a);
        assertNear(samples.columnSums(dy), Samples.factors(layer).g);
      }
    }
  }

  private static void assertNear(Tensor want, Tensor got) {
    assertTrue(Trajectory.difference(want, got) < 1e-6, want + ": " + got);
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void property14ALossScaleOfAPowerOfTwoChangesNoBit(Tier tier, Storage storage) {
    for (BackEnd backEnd : List.of(new Sgd(0.9, 0.01, true), new Adam(0.01), new Lamb(0.01))) {
      try (Mkor plain = builder(tier, storage).backEnd(backEnd).build();
          Mkor scaled = builder(tier, storage).backEnd(backEnd).build()) {
        MkorLayer one = plain.layer("fc1", OUT, IN, true);
        MkorLayer other = scaled.layer("fc1", OUT, IN, true);
        scaled.lossScale(0x1p16);
        Tensor w = samples.normal(1, OUT, IN);
        Tensor b = samples.normal(1, OUT);
        Tensor w2 = samples.copy(w);
        Tensor b2 = samples.copy(b);
        for (int t = 0; t < 4; t++) {
          Tensor a = a();
          Tensor g = g();
          Tensor dw = samples.normal(1, OUT, IN);
          Tensor db = samples.normal(1, OUT);
          one.observe(a, g);
          other.observe(a, samples.scaled(g, 0x1p16));
          other.step(w2, b2, samples.scaled(dw, 0x1p16), samples.scaled(db, 0x1p16), 0.1);
          one.step(w, b, dw, db, 0.1);
          plain.step();
          scaled.step();
          assertArrayEquals(w.toFloatArray(), w2.toFloatArray(), backEnd + " step " + t);
          assertArrayEquals(b.toFloatArray(), b2.toFloatArray(), backEnd + " step " + t);
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void property19TheNumberOfThreadsChangesNoBit(Tier tier, Storage storage) {
    List<float[]> results = new ArrayList<>();
    for (int threads : new int[] {1, 2, 5}) {
      Samples same = new Samples(arena, 3);
      try (Mkor mkor = builder(tier, storage).threads(threads).backEnd(new Lamb(0.01)).build()) {
        List<MkorLayer> layers = new ArrayList<>();
        List<Tensor> weights = new ArrayList<>();
        List<Tensor> gradients = new ArrayList<>();
        for (int i = 0; i < 5; i++) {
          int rows = 20 + 50 * i;
          MkorLayer layer = mkor.layer("fc" + i, rows, IN, false);
          Tensor w = same.normal(1, rows, IN);
          Tensor dw = same.normal(1, rows, IN);
          layer.bind(w, null, dw, null);
          layers.add(layer);
          weights.add(w);
          gradients.add(dw);
        }
        for (int t = 0; t < 3; t++) {
          for (int i = 0; i < 5; i++) {
            layers.get(i).observe(same.normal(1, IN), same.normal(1, layers.get(i).outputs()));
            gradients.get(i).memory().copyFrom(same.normal(1, 20 + 50 * i, IN).memory());
          }
          mkor.step(0.1);
        }
        results.add(weights.getLast().toFloatArray());
      }
    }
    assertArrayEquals(results.get(0), results.get(1));
    assertArrayEquals(results.get(0), results.get(2));
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void aSweepEqualsPreconditioningAndThenUpdating(Tier tier, Storage storage) {
    for (BackEnd backEnd : List.of(new Sgd(0.9), Adam.decoupled(0.1), new Lamb(0))) {
      try (Mkor fused = builder(tier, storage).backEnd(backEnd).build();
          Mkor apart = builder(tier, storage).backEnd(backEnd).exclude("plain").build()) {
        int rows = 300; // several blocks
        MkorLayer layer = fused.layer("fc1", rows, IN, true);
        MkorLayer preconditions = apart.layer("fc1", rows, IN, true);
        MkorLayer updates = apart.layer("plain", rows, IN, true);
        Tensor w = samples.normal(1, rows, IN);
        Tensor b = samples.normal(1, rows);
        Tensor w2 = samples.copy(w);
        Tensor b2 = samples.copy(b);
        for (int t = 0; t < 3; t++) {
          Tensor a = a();
          Tensor g = samples.normal(1, rows);
          Tensor dw = samples.normal(1, rows, IN);
          Tensor db = samples.normal(1, rows);
          Tensor dw2 = samples.copy(dw);
          Tensor db2 = samples.copy(db);
          layer.observe(a, g);
          preconditions.observe(a, g);
          layer.step(w, b, dw, db, 0.1);
          preconditions.precondition(dw2, db2);
          updates.step(w2, b2, dw2, db2, 0.1);
          fused.step();
          apart.step();
        }
        assertArrayEquals(w2.toFloatArray(), w.toFloatArray(), 1e-4f);
        assertArrayEquals(b2.toFloatArray(), b.toFloatArray(), 1e-4f);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiersAndStorages")
  void rowsWithGapsGiveTheSameAsRowsWithout(Tier tier, Storage storage) {
    try (Mkor packed = builder(tier, storage).backEnd(new Adam()).damping(0.25).build();
        Mkor apart = builder(tier, storage).backEnd(new Adam()).damping(0.25).build()) {
      MkorLayer one = packed.layer("fc1", OUT, IN, true);
      MkorLayer other = apart.layer("fc1", OUT, IN, true);
      Tensor w = samples.normal(1, OUT, IN);
      Tensor b = samples.normal(1, OUT);
      Tensor wideW = spread(w);
      Tensor b2 = samples.copy(b);
      for (int t = 0; t < 3; t++) {
        Tensor a = a();
        Tensor g = g();
        Tensor dw = samples.normal(1, OUT, IN);
        Tensor db = samples.normal(1, OUT);
        one.observe(a, g);
        other.observe(a, g);
        other.step(wideW, b2, spread(dw), samples.copy(db), 0.1);
        one.step(w, b, dw, db, 0.1);
        packed.step();
        apart.step();
      }
      assertArrayEquals(w.toFloatArray(), wideW.toFloatArray(), 2e-5f);
      assertArrayEquals(b.toFloatArray(), b2.toFloatArray(), 2e-5f);
    }
  }

  private Tensor spread(Tensor matrix) {
    Tensor memory = Tensor.allocate(arena, DType.F32, matrix.dim(0), matrix.dim(1) + 5);
    Tensor spread = Tensor.of(memory.memory(), DType.F32, matrix.dim(1) + 5, matrix.shape());
    for (long i = 0; i < matrix.dim(0); i++) {
      for (long j = 0; j < matrix.dim(1); j++) {
        spread.setDouble(matrix.getDouble(i, j), i, j);
      }
    }
    return spread;
  }

  @Test
  void dampingMixesTheGradientIn() {
    try (Mkor plain = builder(Tier.SCALAR, Storage.dense()).build();
        Mkor damped = builder(Tier.SCALAR, Storage.dense()).damping(0.25).build()) {
      Tensor a = a();
      Tensor g = g();
      plain.layer("fc1", OUT, IN, true).observe(a, g);
      damped.layer("fc1", OUT, IN, true).observe(a, g);
      Tensor dw = samples.normal(1, OUT, IN);
      Tensor db = samples.normal(1, OUT);
      float[] before = dw.toFloatArray();
      Tensor mixed = samples.copy(dw);
      plain.layers().getFirst().precondition(dw, samples.copy(db));
      damped.layers().getFirst().precondition(mixed, samples.copy(db));
      float[] p = dw.toFloatArray();
      float[] got = mixed.toFloatArray();
      for (int i = 0; i < p.length; i++) {
        assertEquals(0.75 * p[i] + 0.25 * before[i], got[i], 1e-5);
      }
      assertThrows(
          IllegalStateException.class,
          () -> damped.layers().getFirst().preconditionUnscaled(dw, db));
    }
  }

  @Test
  void theKlClipBoundsTheStepOverAllLayers() {
    double kappa = 1e-3;
    double lr = 0.1;
    try (Mkor free = builder(Tier.SCALAR, Storage.dense()).build();
        Mkor clipped = builder(Tier.SCALAR, Storage.dense()).klClip(kappa).build()) {
      Tensor[] freeW = new Tensor[2];
      Tensor[] clippedW = new Tensor[2];
      double sum = 0;
      Tensor[] steps = new Tensor[2];
      for (int i = 0; i < 2; i++) {
        MkorLayer one = free.layer("fc" + i, OUT, IN, false);
        MkorLayer other = clipped.layer("fc" + i, OUT, IN, false);
        Tensor dw = samples.normal(1, OUT, IN);
        Tensor a = samples.normal(1, IN);
        Tensor g = g();
        one.observe(a, g);
        other.observe(a, g);
        freeW[i] = Tensor.allocate(arena, DType.F32, OUT, IN);
        clippedW[i] = Tensor.allocate(arena, DType.F32, OUT, IN);
        steps[i] = samples.copy(dw);
        one.bind(freeW[i], null, samples.copy(dw), null);
        other.bind(clippedW[i], null, dw, null);
      }
      float[][] gradients = {steps[0].toFloatArray(), steps[1].toFloatArray()};
      free.step(lr);
      clipped.step(lr);
      for (int i = 0; i < 2; i++) {
        float[] moved = freeW[i].toFloatArray();
        for (int k = 0; k < moved.length; k++) {
          sum += lr * lr * (-moved[k] / lr) * gradients[i][k];
        }
      }
      double factor = Math.min(1, Math.sqrt(kappa / sum));
      assertTrue(factor < 1, "the clip is active");
      for (int i = 0; i < 2; i++) {
        assertArrayEquals(
            samples.scaled(freeW[i], factor).toFloatArray(), clippedW[i].toFloatArray(), 1e-6f);
      }
      assertThrows(
          IllegalStateException.class,
          () ->
              clipped
                  .layers()
                  .getFirst()
                  .step(clippedW[0], null, samples.normal(1, OUT, IN), null, lr));
    }
  }

  @Test
  void theCosineIsThatOfTheAngleBetweenGradientAndStep() {
    try (Mkor mkor = builder(Tier.SCALAR, Storage.dense()).measureCosine(true).build()) {
      MkorLayer layer = warm(mkor, 3);
      Tensor dw = samples.normal(1, OUT, IN);
      Tensor db = samples.normal(1, OUT);
      float[] before = dw.toFloatArray();
      float[] biasBefore = db.toFloatArray();
      layer.precondition(dw, db);
      double dot = 0;
      double square = 0;
      for (int i = 0; i < before.length; i++) {
        dot += before[i] * dw.toFloatArray()[i];
        square += before[i] * before[i];
      }
      for (int i = 0; i < biasBefore.length; i++) {
        dot += biasBefore[i] * db.toFloatArray()[i];
        square += biasBefore[i] * biasBefore[i];
      }
      double want = dot / Math.sqrt(square) / Math.hypot(Samples.norm(dw), Samples.norm(db));
      assertEquals(want, mkor.stats().getFirst().cosine(), 1e-6);
      LayerStats stats = mkor.stats().getFirst();
      assertTrue(stats.leftMin() > 0 && stats.leftMax() <= 1 + 1e-6, stats.toString());
      assertTrue(stats.leftQuadratic() > 0 && stats.rightQuadratic() > 0, stats.toString());
      assertEquals(OUT, stats.leftRank());
    }
  }

  @ParameterizedTest
  @ValueSource(booleans = {false, true})
  void theStabiliserLeadsBothFactorsBackWhereOneIsTooLarge(boolean reset) {
    Stabilizer stabilizer =
        new Stabilizer(
            Stabilizer.Norm.MAX_ABS,
            reset ? Stabilizer.Mode.RESET : Stabilizer.Mode.BLEND,
            1.5,
            0.9);
    MkorBuilder common = builder(Tier.SCALAR, Storage.dense()).rule(UpdateRule.EXACT).gamma(0.5);
    try (Mkor free = common.stabilizer(never()).build();
        Mkor led = common.stabilizer(stabilizer).build()) {
      Tensor a = Tensor.allocate(arena, DType.F32, IN + 1);
      a.setDouble(1, IN);
      Tensor g = g();
      MkorLayer one = free.layer("fc1", OUT, IN, true);
      MkorLayer other = led.layer("fc1", OUT, IN, true);
      one.observe(a, g);
      other.observe(a, g);
      free.step();
      led.step();
      assertEquals(1, led.stats().getFirst().stabilized());
      assertEquals(0, free.stats().getFirst().stabilized());
      double zeta = reset ? 0 : 0.9;
      for (boolean left : new boolean[] {false, true}) {
        float[] want = left ? Samples.left(one) : Samples.right(one);
        float[] got = left ? Samples.left(other) : Samples.right(other);
        float[] identity = Samples.identity(left ? OUT : IN + 1);
        for (int i = 0; i < want.length; i++) {
          assertEquals(zeta * want[i] + (1 - zeta) * identity[i], got[i], 1e-6);
        }
      }
    }
  }

  private static Stabilizer never() {
    return new Stabilizer(
        Stabilizer.Norm.INFINITY, Stabilizer.Mode.RESET, Double.POSITIVE_INFINITY, 1);
  }

  @Test
  void layersHaveTheirOwnLearningRateAndDecay() {
    try (Mkor mkor =
        Mkor.builder().backEnd(new Sgd(0, 0.5, false)).decayBias(false).exclude("").build()) {
      MkorLayer common = mkor.layer("a", OUT, IN, true);
      MkorLayer own = mkor.layer("b", OUT, IN, true).learningRate(2).weightDecay(0.25);
      own.decayBias(true);
      for (MkorLayer layer : List.of(common, own)) {
        Tensor w = samples.normal(1, OUT, IN);
        Tensor b = samples.normal(1, OUT);
        float[] before = w.toFloatArray();
        float[] biasBefore = b.toFloatArray();
        layer.step(
            w,
            b,
            Tensor.allocate(arena, DType.F32, OUT, IN),
            Tensor.allocate(arena, DType.F32, OUT),
            0.1);
        double keep = layer == own ? 1 - 0.2 * 0.25 : 1 - 0.1 * 0.5;
        assertEquals(keep * before[3], w.toFloatArray()[3], 1e-6);
        assertEquals((layer == own ? keep : 1) * biasBefore[3], b.toFloatArray()[3], 1e-6);
      }
    }
  }

  /** Two steps of each back end on one parameter, by hand. */
  @Test
  void backEndsStepAsTheirFormulasSay() {
    double lr = 0.1;
    double[] g = {0.5, -0.25};
    double[] sgd = {1, 0};
    for (double d : g) {
      double withDecay = d + 0.01 * sgd[0];
      sgd[1] = 0.9 * sgd[1] + withDecay;
      sgd[0] -= lr * (withDecay + 0.9 * sgd[1]);
    }
    assertEquals(sgd[0], stepped(new Sgd(0.9, 0.01, true), lr, g), 1e-6);
    double[] adam = {1, 0, 0};
    for (int t = 0; t < 2; t++) {
      adam[0] *= 1 - lr * 0.01;
      adam[1] = 0.9 * adam[1] + 0.1 * g[t];
      adam[2] = 0.999 * adam[2] + 0.001 * g[t] * g[t];
      double first = adam[1] / (1 - Math.pow(0.9, t + 1));
      double second = adam[2] / (1 - Math.pow(0.999, t + 1));
      adam[0] -= lr * first / (Math.sqrt(second) + 1e-8);
    }
    assertEquals(adam[0], stepped(Adam.decoupled(0.01), lr, g), 1e-6);
    double[] lamb = {20, 0, 0};
    for (double d : g) {
      lamb[1] = 0.9 * lamb[1] + 0.1 * d;
      lamb[2] = 0.999 * lamb[2] + 0.001 * d * d;
      double u = lamb[1] / (Math.sqrt(lamb[2]) + 1e-6) + 0.01 * lamb[0];
      lamb[0] -= lr * Math.min(10, Math.abs(lamb[0])) / Math.abs(u) * u;
    }
    assertEquals(lamb[0], stepped(new Lamb(0.01), lr, g, 20), 1e-5);
  }

  private double stepped(BackEnd backEnd, double lr, double... gradients) {
    return stepped(backEnd, lr, gradients, 1);
  }

  private double stepped(BackEnd backEnd, double lr, double[] gradients, double start) {
    try (Mkor mkor = Mkor.builder().backEnd(backEnd).build()) {
      MkorLayer layer = mkor.parameter("scalar", 1);
      Tensor w = Tensor.copyOf(arena, new float[] {(float) start}, 1);
      for (double gradient : gradients) {
        layer.step(w, null, Tensor.copyOf(arena, new float[] {(float) gradient}, 1), null, lr);
        mkor.step();
      }
      return w.getDouble(0);
    }
  }

  @Test
  void excludedAndUnnamedLayersStayFirstOrder() {
    try (Mkor mkor = Mkor.builder().include("^encoder").exclude("head$").build()) {
      assertTrue(mkor.layer("encoder.fc1", OUT, IN, true).isPreconditioned());
      @Nullable Factors none = null;
      for (String name : List.of("encoder.head", "decoder.fc1")) {
        MkorLayer layer = mkor.layer(name, OUT, IN, true);
        assertEquals(false, layer.isPreconditioned(), name);
        layer.observe(a(), g());
        Tensor dw = samples.normal(1, OUT, IN);
        float[] before = dw.toFloatArray();
        assertEquals(1, layer.precondition(dw, g()));
        assertArrayEquals(before, dw.toFloatArray());
        assertEquals(none, layer.factors());
        assertEquals(0, mkor.memory().getLast().leftBytes());
      }
    }
  }

  @Test
  void anyFunctionOfTheStepIsASchedule() {
    try (Mkor mkor = Mkor.builder().refresh(step -> step == 1 || step == 4).build()) {
      StringBuilder pattern = new StringBuilder();
      for (int t = 0; t < 6; t++) {
        pattern.append(mkor.isRefresh() ? 'R' : '-');
        mkor.step();
      }
      assertEquals("-R--R-", pattern.toString());
    }
    try (Mkor mkor = Mkor.builder().refreshEvery(3).warmup(2).build()) {
      StringBuilder pattern = new StringBuilder();
      for (int t = 0; t < 8; t++) {
        pattern.append(mkor.isRefresh() ? 'R' : '-');
        mkor.step();
      }
      assertEquals("RR-R--R-", pattern.toString());
    }
  }
}
