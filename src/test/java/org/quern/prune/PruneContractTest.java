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

  private static float score(Method method, float w, float c, float g) {
    float a = Math.abs(w) * c;
    float b = Math.abs(w) * Math.abs(g);
    return switch (method) {
      case MAGNITUDE -> Math.abs(w);
      case WANDA -> a;
      case GRADIENT -> b;
      case GBLM -> a + b;
    };
  }

  private static float[][] scores(Layer layer, Method method) {
    float[][] scores = new float[layer.ws.length][layer.cs.length];
    for (int i = 0; i < scores.length; i++) {
      for (int j = 0; j < layer.cs.length; j++) {
        scores[i][j] = score(method, layer.ws[i][j], layer.cs[j], layer.gs[i][j]);
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
    float[][] scores = scores(layer, method);
    int n = layer.cs.length;
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
    for (int n : COLUMNS) {
      for (Values values : Values.values()) {
        DType wType = TYPES[random.nextInt(TYPES.length)];
        DType gType = TYPES[random.nextInt(TYPES.length)];
        Method method = Method.values()[random.nextInt(Method.values().length)];
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
              Pruner pruner =
                  Pruner.builder().method(Method.GBLM).pattern(pattern).tier(tier).build();
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
          for (Compat compat : Compat.values()) {
            Layer layer = layer(arena, random, Values.NORMAL, 33, 512, wType, DType.F16);
            Tensor reference = null;
            for (Tier tier : tiers().toList()) {
              for (int threads = 1; threads <= 3; threads++) {
                Tensor mask =
                    Pruner.builder()
                        .pattern(pattern)
                        .compat(compat)
                        .tier(tier)
                        .threads(threads)
                        .build()
                        .mask(arena, layer.w, layer.statistics());
                reference = reference == null ? mask : reference;
                assertEquals(
                    -1,
                    reference.memory().mismatch(mask.memory()),
                    wType + " " + pattern + " " + compat + " " + tier + " " + threads);
              }
            }
          }
        }
      }
    }
  }
}
