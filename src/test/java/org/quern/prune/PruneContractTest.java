package org.quern.prune;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** What every tier must do, compared with a selection by full sort written for this test alone. */
class PruneContractTest {
  private static final int[] COLUMNS = {
    1, 2, 3, 7, 15, 16, 17, 48, 63, 64, 65, 67, 100, 127, 128, 200, 259, 1024, 1027
  };
  private static final Method[] METHODS = Method.values();
  private static final DType[] TYPES = {DType.F32, DType.F16, DType.BF16};

  static Stream<Tier> tiers() {
    return Pruner.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  /** One layer: weights, gradients and norms as the floats that their storage holds. */
  private record Layer(Tensor w, Tensor g, Tensor c, float[][] ws, float[][] gs, float[] cs) {
    Statistics statistics() {
      return new Statistics(g, c);
    }
  }

  private enum Values {
    NORMAL,
    CONSTANT,
    SORTED,
    TWO_VALUED,
    HEAVY_TAILED,
    ZERO,
    DENORMAL,
    TIES,
    MANY_ZEROS,
    HUGE
  }

  private static float value(Values values, Random random, int row, int column) {
    return switch (values) {
      case NORMAL -> (float) random.nextGaussian() * (1 + row % 5);
      case CONSTANT -> 0.25f;
      case SORTED -> (column + 1) * 0.01f;
      case TWO_VALUED -> random.nextInt(3) == 0 ? -1f : 4f;
      case HEAVY_TAILED -> (float) Math.exp(4 * random.nextGaussian());
      case ZERO -> random.nextBoolean() ? 0f : -0f;
      case DENORMAL -> Float.intBitsToFloat(random.nextInt(0x7fffff));
      case TIES -> random.nextInt(4);
      case MANY_ZEROS -> random.nextInt(10) < 7 ? 0f : (float) random.nextGaussian();
      case HUGE -> (random.nextInt(3) == 0 ? 3e38f : 1f) * random.nextFloat();
    };
  }

  private static Layer layer(
      Arena arena, Random random, Values values, int rows, int n, DType wType, DType gType) {
    boolean strided = random.nextBoolean();
    long wStride = (long) n + (strided ? random.nextInt(5) : 0);
    Tensor w = strided(arena, wType, rows, n, wStride);
    Tensor g = strided(arena, gType, rows, n, n + (strided ? 3 : 0));
    float[] cs = new float[n];
    float[][] ws = new float[rows][n];
    float[][] gs = new float[rows][n];
    boolean plain =
        values == Values.CONSTANT || values == Values.TIES || values == Values.TWO_VALUED;
    for (int j = 0; j < n; j++) {
      cs[j] = plain ? 1 : random.nextInt(20) == 0 ? 0 : (float) Math.exp(random.nextGaussian());
    }
    for (int i = 0; i < rows; i++) {
      for (int j = 0; j < n; j++) {
        ws[i][j] = store(w, i, j, value(values, random, i, j));
        gs[i][j] =
            store(
                g,
                i,
                j,
                plain
                    ? 1
                    : (float) Math.exp(random.nextGaussian()) * (random.nextBoolean() ? 1 : -1));
      }
    }
    return new Layer(w, g, Tensor.copyOf(arena, cs, n), ws, gs, cs);
  }

  private static Tensor strided(Arena arena, DType type, int rows, int n, long stride) {
    MemorySegment memory = arena.allocate(Math.max(1, rows * stride * type.bytes()), type.bytes());
    return Tensor.of(memory, type, stride, new long[] {rows, n});
  }

  private static float store(Tensor t, int i, int j, float value) {
    long at = (i * t.rowStride() + j) * t.type().bytes();
    float kept = value;
    switch (t.type()) {
      case F32 -> t.memory().set(ValueLayout.JAVA_FLOAT, at, value);
      case F16 -> {
        short half = Float.floatToFloat16(value);
        if ((half & 0x7c00) == 0x7c00) {
          half = (short) 0x7bff;
        }
        t.memory().set(ValueLayout.JAVA_SHORT, at, half);
        kept = Float.float16ToFloat(half);
      }
      default -> {
        short high = (short) (Float.floatToRawIntBits(value) >>> 16);
        t.memory().set(ValueLayout.JAVA_SHORT, at, high);
        kept = Float.intBitsToFloat(high << 16);
      }
    }
    return kept;
  }

  /** Sums, extremes and settings that a score takes beside its own weight. */
  private record Terms(float[] columns, float[] rows, float least, float range) {
    static Terms of(Layer layer) {
      int n = layer.cs.length;
      double[] down = new double[n];
      float[] rows = new float[layer.ws.length];
      float least = Float.POSITIVE_INFINITY;
      float most = 0;
      for (int i = 0; i < rows.length; i++) {
        double[] across = new double[64];
        for (int j = 0; j < n; j++) {
          down[j] += Math.abs(layer.ws[i][j]);
          across[j % 64] += Math.abs(layer.ws[i][j]);
          least = Math.min(least, Math.abs(layer.gs[i][j]));
          most = Math.max(most, Math.abs(layer.gs[i][j]));
        }
        rows[i] = (float) Arrays.stream(across).reduce(0, Double::sum);
      }
      float[] columns = new float[n];
      for (int j = 0; j < n; j++) {
        columns[j] = (float) down[j];
      }
      return least == most
          ? new Terms(columns, rows, 0, most)
          : new Terms(columns, rows, least, most - least);
    }
  }

  private static float score(Method method, Layer layer, Terms terms, int i, int j) {
    float w = Math.abs(layer.ws[i][j]);
    float g = Math.abs(layer.gs[i][j]);
    float c = layer.cs[j];
    float a = w * c;
    float b = w * g;
    return switch (method) {
      case MAGNITUDE -> w;
      case WANDA -> a;
      case GRADIENT -> b;
      case GBLM -> a + b;
      case RIA ->
          w == 0 ? 0 : (w / terms.columns[j] + w / terms.rows[i]) * (float) StrictMath.pow(c, 0.5);
      case PRUNER_ZERO -> {
        float share = (g - terms.least) / terms.range;
        yield share == 0 ? 0 : w * w * share;
      }
      case WANDA_PLUS_PLUS -> w == 0 ? 0 : (100 * g + c) * w;
    };
  }

  private static float[][] scores(Layer layer, Method method) {
    Terms terms = Terms.of(layer);
    float[][] scores = new float[layer.ws.length][layer.cs.length];
    for (int i = 0; i < scores.length; i++) {
      for (int j = 0; j < layer.cs.length; j++) {
        scores[i][j] = score(method, layer, terms, i, j);
      }
    }
    return scores;
  }

  /** The k smallest of the columns [from, to), lowest column first among equals. */
  private static void select(boolean[] pruned, float[] scores, int from, int to, int k) {
    IntStream.range(from, to)
        .boxed()
        .sorted(Comparator.<Integer>comparingDouble(j -> scores[j]).thenComparing(j -> j))
        .limit(k)
        .forEach(j -> pruned[j] = true);
  }

  private static boolean[][] expected(Layer layer, Method method, Pattern pattern) {
    return expected(scores(layer, method), pattern);
  }

  private static boolean[][] expected(float[][] scores, Pattern pattern) {
    int n = scores[0].length;
    boolean[][] pruned = new boolean[scores.length][n];
    switch (pattern) {
      case Pattern.NM nm -> {
        for (int i = 0; i < scores.length; i++) {
          for (int from = 0; from < n; from += nm.of()) {
            select(pruned[i], scores[i], from, from + nm.of(), nm.prune());
          }
        }
      }
      case Pattern.Unstructured u when u.group() == Group.ROW -> {
        for (int i = 0; i < scores.length; i++) {
          select(pruned[i], scores[i], 0, n, (int) (n * u.ratio()));
        }
      }
      case Pattern.Unstructured u -> {
        float[] flat = new float[scores.length * n];
        for (int i = 0; i < scores.length; i++) {
          System.arraycopy(scores[i], 0, flat, i * n, n);
        }
        boolean[] all = new boolean[flat.length];
        select(all, flat, 0, flat.length, (int) (flat.length * u.ratio()));
        for (int i = 0; i < scores.length; i++) {
          System.arraycopy(all, i * n, pruned[i], 0, n);
        }
      }
      case Pattern.Cumulative c -> throw new AssertionError("not compared here: " + c);
    }
    return pruned;
  }

  private static void assertPruned(String what, Layer layer, Tensor w, boolean[][] expected) {
    for (int i = 0; i < expected.length; i++) {
      for (int j = 0; j < expected[i].length; j++) {
        float now =
            ScalarPruneKernels.load(w.memory(), i * w.rowStride() * w.type().bytes(), w.type(), j);
        int bits = Float.floatToRawIntBits(now);
        int wanted = expected[i][j] ? 0 : Float.floatToRawIntBits(layer.ws[i][j]);
        if (bits != wanted) {
          assertEquals(
              wanted,
              bits,
              what + ": row " + i + ", column " + j + ", weight was " + layer.ws[i][j]);
        }
      }
    }
  }

  private static void assertMask(String what, Tensor mask, boolean[][] expected) {
    for (int i = 0; i < expected.length; i++) {
      boolean[] row = new boolean[expected[i].length];
      for (int j = 0; j < row.length; j++) {
        row[j] =
            (mask.memory().get(ValueLayout.JAVA_BYTE, i * mask.rowStride() + j / 8) >> j % 8 & 1)
                != 0;
      }
      assertArrayEquals(expected[i], row, what + ": mask of row " + i);
    }
  }

  private static List<Pattern> patterns(int n) {
    List<Pattern> patterns = new ArrayList<>();
    for (double ratio : new double[] {0, 0.1, 0.5, 0.7, 0.99}) {
      patterns.add(Pattern.unstructured(ratio));
    }
    patterns.add(Pattern.unstructured(0.5, Group.MATRIX));
    patterns.add(Pattern.unstructured(0.93, Group.MATRIX));
    for (int of = 1; of <= Pattern.NM.MAX_OF; of++) {
      if (n % of == 0) {
        patterns.add(Pattern.nm(Math.max(1, of / 2), of));
        patterns.add(Pattern.nm(of, of));
        patterns.add(Pattern.nm(1, of));
      }
    }
    return patterns;
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void prunesExactlyTheSmallestOfEveryGroup(Tier tier) {
    long seed = 20260101L;
    Random random = new Random(seed);
    int round = 0;
    for (int n : COLUMNS) {
      for (Values values : Values.values()) {
        DType wType = TYPES[random.nextInt(TYPES.length)];
        DType gType = TYPES[random.nextInt(TYPES.length)];
        Method method = METHODS[round++ % METHODS.length];
        int threads = 1 + random.nextInt(2);
        try (Arena arena = Arena.ofShared()) {
          Layer layer = layer(arena, random, values, 1 + random.nextInt(6), n, wType, gType);
          for (Pattern pattern : patterns(n)) {
            String what =
                tier + " seed " + seed + " n " + n + " " + values + " " + wType + "/" + gType + " "
                    + method + " " + pattern;
            Pruner pruner =
                Pruner.builder()
                    .method(method)
                    .pattern(pattern)
                    .tier(tier)
                    .threads(threads)
                    .build();
            boolean[][] expected = expected(layer, method, pattern);
            assertMask(what, pruner.mask(arena, layer.w, layer.statistics()), expected);
            assertPruned(what + " after mask()", layer, layer.w, new boolean[expected.length][n]);
            Tensor w = copy(arena, layer.w);
            long pruned = pruner.prune(w, layer.statistics());
            assertPruned(what, layer, w, expected);
            assertEquals(
                Arrays.stream(expected)
                    .mapToLong(r -> IntStream.range(0, n).filter(j -> r[j]).count())
                    .sum(),
                pruned,
                what);
          }
        }
      }
    }
  }

  private static Tensor copy(Arena arena, Tensor t) {
    MemorySegment memory = arena.allocate(Math.max(1, t.memory().byteSize()), t.type().bytes());
    memory.copyFrom(t.memory());
    return Tensor.of(memory, t.type(), t.rowStride(), t.shape());
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void scoresAreTheRoundedProductsAdded(Tier tier) {
    Random random = new Random(7);
    for (int n : COLUMNS) {
      for (Method method : Method.values()) {
        try (Arena arena = Arena.ofConfined()) {
          Layer layer = layer(arena, random, Values.NORMAL, 3, n, DType.F32, DType.F16);
          layer.cs[n / 2] = 0;
          layer.c.setDouble(0, n / 2);
          Tensor scores =
              Pruner.builder()
                  .method(method)
                  .tier(tier)
                  .build()
                  .scores(arena, layer.w, layer.statistics());
          float[][] expected = scores(layer, method);
          for (int i = 0; i < 3; i++) {
            for (int j = 0; j < n; j++) {
              assertEquals(
                  expected[i][j],
                  scores.memory().getAtIndex(ValueLayout.JAVA_FLOAT, (long) i * n + j),
                  method + " n " + n);
            }
          }
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void longRowsWhoseThresholdsJumpStayExact(Tier tier) {
    Random random = new Random(11);
    int n = 4096;
    try (Arena arena = Arena.ofShared()) {
      for (Values values : Values.values()) {
        Layer layer = layer(arena, random, values, 24, n, DType.F32, DType.F32);
        for (int i = 0; i < 24; i++) {
          float scale = (float) Math.exp(2 * random.nextGaussian());
          for (int j = 0; j < n; j++) {
            layer.ws[i][j] =
                store(
                    layer.w, i, j, values == Values.HUGE ? layer.ws[i][j] : layer.ws[i][j] * scale);
          }
        }
        Pattern pattern = Pattern.unstructured(0.3);
        Pruner.builder()
            .method(Method.GBLM)
            .pattern(pattern)
            .tier(tier)
            .build()
            .prune(layer.w, layer.statistics());
        assertPruned(tier + " " + values, layer, layer.w, expected(layer, Method.GBLM, pattern));
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void namesTheFirstValueThatIsNotFinite(Tier tier) {
    int round = 0;
    for (Pattern pattern :
        List.of(
            Pattern.unstructured(0.5),
            Pattern.nm(2, 4),
            Pattern.nm(4, 8),
            Pattern.nm(1, 2),
            Pattern.unstructured(0.5, Group.MATRIX),
            Pattern.cumulative(0.5))) {
      for (int column : new int[] {0, 5, 63, 64, 71, 127, 135}) {
        for (float bad :
            new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
          for (boolean inGradients : new boolean[] {false, true}) {
            try (Arena arena = Arena.ofShared()) {
              Layer layer =
                  layer(arena, new Random(3), Values.NORMAL, 4, 136, DType.F32, DType.F32);
              store(inGradients ? layer.g : layer.w, 2, column, bad);
              Method method = next(round++, inGradients);
              Pruner pruner = Pruner.builder().method(method).pattern(pattern).tier(tier).build();
              try (PruneWorkspace workspace = new PruneWorkspace()) {
                IllegalArgumentException error =
                    assertThrows(
                        IllegalArgumentException.class,
                        () ->
                            pruner.prune("layer.0.q_proj", layer.w, layer.statistics(), workspace));
                assertTrue(error.getMessage().contains("layer.0.q_proj"), error.getMessage());
                assertTrue(
                    error.getMessage().contains(inGradients ? "gradients" : "weights"),
                    error.getMessage());
                assertTrue(
                    error.getMessage().endsWith("row 2, column " + column), error.getMessage());
              }
            }
          }
        }
      }
    }
  }

  /** The methods in turn, of those that read gradients where they must. */
  private static Method next(int round, boolean readsGradients) {
    Method[] methods =
        Arrays.stream(METHODS)
            .filter(method -> method.usesGradients() || !readsGradients)
            .toArray(Method[]::new);
    return methods[round % methods.length];
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void anOperandThatScoresNothingIsCheckedAllTheSame(Tier tier) {
    for (Method method : METHODS) {
      for (boolean preserve : new boolean[] {false, true}) {
        try (Arena arena = Arena.ofShared()) {
          Layer layer = layer(arena, new Random(4), Values.NORMAL, 3, 70, DType.F32, DType.F32);
          layer.c.setDouble(0, 66);
          store(layer.w, 1, 65, method.usesGradients() ? 0 : Float.NaN);
          store(layer.w, 1, 66, method.usesGradients() ? 1 : Float.NEGATIVE_INFINITY);
          store(layer.g, 1, 65, Float.POSITIVE_INFINITY);
          Pruner pruner =
              Pruner.builder()
                  .method(method)
                  .pattern(Pattern.unstructured(0.5))
                  .preserveMask(preserve)
                  .tier(tier)
                  .build();
          IllegalArgumentException error =
              assertThrows(
                  IllegalArgumentException.class, () -> pruner.prune(layer.w, layer.statistics()));
          assertTrue(error.getMessage().endsWith("at row 1, column 65"), error.getMessage());
        }
      }
    }
  }

  /** A dead input column scores 0 as a zero does: only the latter is preserved first. */
  @ParameterizedTest
  @MethodSource("tiers")
  void preservedZerosComeFirstAndAreCounted(Tier tier) {
    long seed = 20261125L;
    Random random = new Random(seed);
    for (int n : new int[] {16, 64, 112, 1040}) {
      for (Method method : METHODS) {
        for (DType type : TYPES) {
          try (Arena arena = Arena.ofShared()) {
            Layer layer = layer(arena, random, Values.NORMAL, 5, n, type, DType.F16);
            boolean[][] zeros = new boolean[5][n];
            for (int j = 0; j < n; j += 4) {
              layer.c.setDouble(0, j);
              layer.cs[j] = 0;
              for (int i = 0; i < 5; i++) {
                int zero = j + 1 + random.nextInt(3);
                zeros[i][zero] = true;
                layer.ws[i][zero] = store(layer.w, i, zero, i % 2 == 0 ? 0f : -0f);
              }
            }
            for (Pattern pattern :
                List.of(
                    Pattern.unstructured(0.5),
                    Pattern.unstructured(0.75, Group.MATRIX),
                    Pattern.nm(3, 4),
                    Pattern.nm(4, 8),
                    Pattern.nm(8, 16),
                    Pattern.cumulative(0.7))) {
              Pruner.Builder builder =
                  Pruner.builder().method(method).pattern(pattern).tier(tier).threads(2);
              String what = tier + " seed " + seed + " n " + n + " " + method + " " + pattern;
              Tensor mask =
                  builder.preserveMask(true).build().mask(arena, layer.w, layer.statistics());
              for (int i = 0; i < 5; i++) {
                for (int j = 0; j < n; j++) {
                  assertTrue(!zeros[i][j] || bit(mask, i, j), what + ": " + i + ", " + j);
                }
              }
              if (!(pattern instanceof Pattern.Cumulative)) {
                Tensor plain = copy(arena, layer.w);
                float[][] scores = scores(layer, method);
                assertMask(what, mask, expected(ranked(scores, zeros), pattern));
                long pruned = builder.preserveMask(true).build().prune(plain, layer.statistics());
                assertEquals(pruned, zeros(plain), what);
              }
            }
          }
        }
      }
    }
  }

  /** Scores with all zeros below the weights that are not. */
  private static float[][] ranked(float[][] scores, boolean[][] zeros) {
    for (int i = 0; i < scores.length; i++) {
      for (int j = 0; j < scores[i].length; j++) {
        scores[i][j] = zeros[i][j] ? -1 : scores[i][j];
      }
    }
    return scores;
  }

  private static boolean bit(Tensor mask, int i, int j) {
    return (mask.getLong(i, j / 8) >> j % 8 & 1) != 0;
  }

  private static long zeros(Tensor w) {
    long zeros = 0;
    for (long i = 0; i < w.dim(0); i++) {
      for (long j = 0; j < w.dim(1); j++) {
        zeros += w.getDouble(i, j) == 0 ? 1 : 0;
      }
    }
    return zeros;
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void moreZerosThanThePatternPrunesAreNotPreserved(Tier tier) {
    try (Arena arena = Arena.ofShared()) {
      Layer layer = layer(arena, new Random(5), Values.CONSTANT, 4, 24, DType.BF16, DType.F16);
      for (int j : new int[] {1, 3, 4, 6, 19}) {
        store(layer.w, 2, j, -0f);
      }
      for (Map.Entry<Pattern, String> each :
          Map.of(
                  Pattern.unstructured(0.17), "at most 4 zeros in a row,19",
                  Pattern.nm(1, 4), "at most 1 zeros in a run of 4,3",
                  Pattern.nm(3, 8), "at most 3 zeros in a run of 8,6",
                  Pattern.cumulative(0.03), "at most 2 zeros in the matrix,4",
                  Pattern.unstructured(0.02, Group.MATRIX), "at most 1 zeros in the matrix,3")
              .entrySet()) {
        Pruner pruner =
            Pruner.builder()
                .method(Method.WANDA)
                .pattern(each.getKey())
                .preserveMask(true)
                .tier(tier)
                .build();
        try (PruneWorkspace workspace = new PruneWorkspace()) {
          Tensor before = copy(arena, layer.w);
          IllegalArgumentException error =
              assertThrows(
                  IllegalArgumentException.class,
                  () -> pruner.prune("h.0.fc", layer.w, layer.statistics(), workspace));
          String[] expected = each.getValue().split(",");
          assertTrue(
              error.getMessage().startsWith("h.0.fc: expected " + expected[0]), error.getMessage());
          assertTrue(
              error.getMessage().contains("at row 2, column " + expected[1] + ";"),
              error.getMessage());
          assertEquals(-1, before.memory().mismatch(layer.w.memory()));
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void aWorkspaceCarriesNothingFromOneLayerToTheNext(Tier tier) {
    Random random = new Random(23);
    try (Arena arena = Arena.ofShared();
        PruneWorkspace workspace = new PruneWorkspace()) {
      for (int round = 0; round < 60; round++) {
        int n = COLUMNS[random.nextInt(COLUMNS.length)];
        Method method = Method.values()[random.nextInt(Method.values().length)];
        DType wType = TYPES[random.nextInt(TYPES.length)];
        DType gType = TYPES[random.nextInt(TYPES.length)];
        Layer layer = layer(arena, random, Values.NORMAL, 5, n, wType, gType);
        List<Pattern> patterns = patterns(n);
        Pattern pattern = patterns.get(random.nextInt(patterns.size()));
        Pruner pruner = Pruner.builder().method(method).pattern(pattern).tier(tier).build();
        boolean[][] expected = expected(layer, method, pattern);
        pruner.prune("layer", layer.w, layer.statistics(), workspace);
        String what = tier + " round " + round + " n " + n + " " + method + " " + pattern;
        assertPruned(what, layer, layer.w, expected);
      }
    }
  }

  @Test
  void tiersAgreeBitForBit() {
    Random random = new Random(99);
    try (Arena arena = Arena.ofShared()) {
      for (DType wType : TYPES) {
        for (Pattern pattern :
            List.of(
                Pattern.unstructured(0.5),
                Pattern.nm(2, 4),
                Pattern.cumulative(0.6),
                Pattern.unstructured(0.4, Group.MATRIX))) {
          for (Method method : METHODS) {
            Compat compat = Compat.values()[random.nextInt(2)];
            boolean preserve = random.nextBoolean();
            Layer layer = layer(arena, random, Values.NORMAL, 33, 1100, wType, DType.F16);
            Tensor reference = null;
            for (Tier tier : tiers().toList()) {
              for (int threads = 1; threads <= 3; threads++) {
                Tensor mask =
                    Pruner.builder()
                        .method(method)
                        .pattern(pattern)
                        .compat(compat)
                        .preserveMask(preserve)
                        .tier(tier)
                        .threads(threads)
                        .build()
                        .mask(arena, layer.w, layer.statistics());
                reference = reference == null ? mask : reference;
                assertEquals(
                    -1,
                    reference.memory().mismatch(mask.memory()),
                    wType + " " + method + " " + pattern + " " + compat + " " + tier + " "
                        + threads);
              }
            }
          }
        }
      }
    }
  }
}
