package org.quern.prune.sparse;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Every tier against sums in double precision, and sparse against dense bit for bit. */
class LinearContractTest {
  private static final List<DType> TYPES = List.of(DType.F32, DType.F16, DType.BF16);
  private static final int[] COLUMNS = {0, 1, 3, 15, 16, 17, 31, 63, 64, 65, 127, 128, 200, 323};
  private static final int[] BATCHES = {1, 2, 3, 5, 8, 9, 20};

  private final Arena arena = Arena.ofShared();

  @AfterEach
  void close() {
    arena.close();
  }

  static Stream<Tier> tiers() {
    return Linear.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static Random random() {
    long seed = new Random().nextLong();
    System.out.println("LinearContractTest seed " + seed);
    return new Random(seed);
  }

  /** A batch with gaps between the vectors; one vector alone has rank 1 every other time. */
  private Tensor vectors(Random random, int batch, int length) {
    Tensor all = Tensor.allocate(arena, DType.F32, Math.max(1, batch * (length + 3L)));
    for (long i = 0; i < all.size(); i++) {
      all.setDouble(random.nextGaussian(), i);
    }
    return batch == 1 && random.nextBoolean()
        ? Tensor.of(all.memory(), DType.F32, length)
        : Tensor.of(all.memory(), DType.F32, length + 3, new long[] {batch, length});
  }

  private static double get(Tensor tensor, int b, int i) {
    return tensor.rank() == 1 ? tensor.getDouble(i) : tensor.getDouble(b, i);
  }

  /** The bound of n fused multiply-adds in any order, and of adding the bias. */
  private static void assertProduct(Tensor w, Tensor x, Tensor bias, Tensor y, String what) {
    int n = (int) w.dim(1);
    for (int b = 0; b < x.rows(); b++) {
      for (int i = 0; i < w.dim(0); i++) {
        double sum = 0;
        double size = 0;
        for (int j = 0; j < n; j++) {
          double product = w.getDouble(i, j) * get(x, b, j);
          sum += product;
          size += Math.abs(product);
        }
        sum += bias.getDouble(i);
        size += Math.abs(bias.getDouble(i));
        double got = get(y, b, i);
        assertTrue(
            Math.abs(got - sum) <= (n + 2) * 0x1p-24 * size,
            what + ": vector " + b + " row " + i + ": expected " + sum + ", got " + got);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void productsAreThoseOfTheDenseMatrix(Tier tier) {
    Random random = random();
    for (DType type : TYPES) {
      for (int columns : COLUMNS) {
        int rows = random.nextInt(1, 12);
        double density = random.nextInt(5) / 4.0;
        Tensor dense = SampleWeights.unstructured(arena, random, type, rows, columns, density);
        check(tier, random, dense, BitmaskMatrix.pack(dense, arena));
        if (columns % 4 == 0) {
          Tensor structured = SampleWeights.twoOfFour(arena, random, type, rows, columns);
          check(tier, random, structured, TwoOfFourMatrix.pack(structured, arena));
        }
      }
    }
  }

  private void check(Tier tier, Random random, Tensor dense, SparseMatrix packed) {
    int rows = packed.rows();
    Tensor bias = Tensor.allocate(arena, DType.F32, rows);
    bias.setDouble(random.nextGaussian(), random.nextInt(rows));
    SparseLinear one = SparseLinear.create(arena, packed, bias, 1, tier);
    SparseLinear three = SparseLinear.create(arena, packed, bias, 3, tier);
    DenseLinear reference = DenseLinear.create(arena, dense, bias, 1, tier);
    for (int batch : BATCHES) {
      String what = tier + " " + packed + " batch " + batch;
      Tensor x = vectors(random, batch, packed.columns());
      Tensor y = like(x, rows);
      one.multiply(x, y);
      assertProduct(dense, x, bias, y, what);
      Tensor again = like(x, rows);
      three.multiply(x, again);
      assertArrayEquals(y.toFloatArray(), again.toFloatArray(), what + ", 3 threads");
      Tensor other = like(x, rows);
      reference.multiply(x, other);
      assertArrayEquals(other.toFloatArray(), y.toFloatArray(), what + ", dense and sparse");
    }
  }

  private Tensor like(Tensor x, int rows) {
    return x.rank() == 1
        ? Tensor.allocate(arena, DType.F32, rows)
        : Tensor.of(
            arena.allocate(x.rows() * (rows + 5L) * 4, 64),
            DType.F32,
            rows + 5,
            new long[] {x.rows(), rows});
  }

  /** Enough rows for several chunks of work, and for several panels. */
  @ParameterizedTest
  @MethodSource("tiers")
  void resultsDoNotDependOnTheNumberOfThreads(Tier tier) {
    Random random = random();
    Tensor dense = SampleWeights.unstructured(arena, random, DType.BF16, 1400, 320, 0.5);
    SparseMatrix packed = BitmaskMatrix.pack(dense, arena);
    for (int batch : new int[] {1, 4, 16}) {
      Tensor x = vectors(random, batch, 320);
      Tensor y = like(x, 1400);
      SparseLinear.create(arena, packed, null, 1, tier).multiply(x, y);
      for (int threads : new int[] {2, 5}) {
        Tensor again = like(x, 1400);
        SparseLinear.create(arena, packed, null, threads, tier).multiply(x, again);
        assertArrayEquals(y.toFloatArray(), again.toFloatArray());
      }
    }
  }

  /** The other way through 16-bit rows, which another machine would choose. */
  @Test
  void bothWaysThroughHalvesAgree() {
    if (!Capabilities.get().available().contains(Tier.VECTOR)) {
      return;
    }
    Random random = random();
    for (DType type : List.of(DType.F16, DType.BF16)) {
      for (int n : COLUMNS) {
        Tensor dense = SampleWeights.unstructured(arena, random, type, 5, n, 0.5);
        SparseMatrix packed = BitmaskMatrix.pack(dense, arena);
        Tensor x = Tensor.allocate(arena, DType.F32, n);
        for (int j = 0; j < n; j++) {
          x.setDouble(random.nextGaussian(), j);
        }
        Tensor none = Tensor.allocate(arena, DType.F32, 5);
        for (boolean pairs : new boolean[] {false, true}) {
          LinearKernels kernels = new VectorLinearKernels(pairs);
          Tensor prepared = Tensor.allocate(arena, DType.F32, LinearKernels.padded(n));
          prepared.fill(Double.NaN);
          kernels.prepare(type, x.memory(), 0, n, prepared.memory());
          Tensor sparse = Tensor.allocate(arena, DType.F32, 5);
          kernels.multiply(packed, prepared.memory(), 0, 5, sparse.memory());
          assertProduct(dense, x, none, sparse, "pairs " + pairs + " " + packed);
          Tensor full = Tensor.allocate(arena, DType.F32, 5);
          kernels.multiply(dense, prepared.memory(), 0, 5, full.memory());
          assertArrayEquals(full.toFloatArray(), sparse.toFloatArray());
        }
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void subnormalAndLargeWeightsCount(Tier tier) {
    for (DType type : TYPES) {
      Tensor dense = Tensor.allocate(arena, type, 4, 70);
      SampleWeights.setBits(dense, 0, 0, 1);
      SampleWeights.setBits(dense, 1, 69, type == DType.F32 ? 0x80000001 : 0x8001);
      dense.setDouble(65504, 2, 33);
      dense.setDouble(-65504, 3, 34);
      Tensor x = Tensor.allocate(arena, DType.F32, 70);
      x.fill(0x1p60);
      Tensor y = Tensor.allocate(arena, DType.F32, 4);
      SparseLinear.create(arena, BitmaskMatrix.pack(dense, arena), null, 1, tier).multiply(x, y);
      for (int i = 0; i < 4; i++) {
        double sum = 0;
        for (int j = 0; j < 70; j++) {
          sum += dense.getDouble(i, j) * 0x1p60;
        }
        assertEquals(sum, y.getDouble(i), Math.abs(sum) * 0x1p-23, type + " row " + i);
        assertTrue(sum != 0);
      }
    }
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void infinityAndNanPropagate(Tier tier) {
    for (DType type : TYPES) {
      for (int batch : new int[] {1, 2, 9}) {
        Tensor dense = Tensor.allocate(arena, type, 4, 80);
        dense.fill(1);
        dense.setDouble(Double.POSITIVE_INFINITY, 1, 3);
        dense.setDouble(Double.NaN, 2, 79);
        dense.setDouble(0, 3, 40);
        Tensor x = Tensor.allocate(arena, DType.F32, batch, 80);
        x.fill(-1);
        x.setDouble(Double.POSITIVE_INFINITY, batch - 1, 40);
        Tensor y = Tensor.allocate(arena, DType.F32, batch, 4);
        SparseLinear.create(arena, BitmaskMatrix.pack(dense, arena), null, 1, tier).multiply(x, y);
        String what = tier + " " + type + " batch " + batch;
        assertEquals(Double.POSITIVE_INFINITY, y.getDouble(batch - 1, 0), what);
        assertEquals(Double.NaN, y.getDouble(batch - 1, 1), what);
        assertEquals(Double.NaN, y.getDouble(batch - 1, 2), what);
        assertEquals(Double.NaN, y.getDouble(batch - 1, 3), what + ": zero times infinity");
        if (batch > 1) {
          assertEquals(-80, y.getDouble(0, 0), what);
          assertEquals(Double.NEGATIVE_INFINITY, y.getDouble(0, 1), what);
          assertEquals(-79, y.getDouble(0, 3), what);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F64", "F16", "I32"})
  void vectorsOfAnotherTypeAreRefused(DType type) {
    SparseLinear layer = layer();
    Tensor x = Tensor.allocate(arena, type, 8);
    Tensor y = Tensor.allocate(arena, DType.F32, 4);
    assertMessage("x: expected F32[8] or [batch, 8], got " + x, () -> layer.multiply(x, y));
  }

  @Test
  void shapesThatDoNotFitAreRefused() {
    SparseLinear layer = layer();
    Tensor x = Tensor.allocate(arena, DType.F32, 2, 8);
    assertMessage(
        "y: expected F32[4] or [batch, 4]",
        () -> layer.multiply(x, Tensor.allocate(arena, DType.F32, 2, 5)));
    assertMessage(
        "y: expected as many vectors as x",
        () -> layer.multiply(x, Tensor.allocate(arena, DType.F32, 3, 4)));
    assertMessage(
        "y: expected as many vectors as x",
        () -> layer.multiply(x, Tensor.allocate(arena, DType.F32, 4)));
    assertMessage(
        "bias: expected F32[4]",
        () ->
            SparseLinear.create(
                arena, layer.weights(), Tensor.allocate(arena, DType.F32, 5), 1, null));
    assertMessage(
        "threads: expected at least 1",
        () -> SparseLinear.create(arena, layer.weights(), null, 0, null));
    assertMessage(
        "weights: expected a contiguous tensor",
        () ->
            DenseLinear.create(
                arena, Tensor.of(arena.allocate(400), DType.F32, 9, new long[] {4, 8})));
    assertMessage(
        "dense: expected a matrix of F32, F16 or BF16",
        () -> DenseLinear.create(arena, Tensor.allocate(arena, DType.F64, 4, 8)));
  }

  private SparseLinear layer() {
    return SparseLinear.create(
        arena, BitmaskMatrix.pack(Tensor.allocate(arena, DType.F32, 4, 8), arena));
  }

  private static void assertMessage(String start, Runnable action) {
    IllegalArgumentException refused = assertThrows(IllegalArgumentException.class, action::run);
    assertTrue(refused.getMessage().startsWith(start), refused.getMessage());
  }
}
