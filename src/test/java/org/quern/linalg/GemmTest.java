package org.quern.linalg;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.ChildJvm;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Arguments, allocation and the larger products, which {@link GemmContractTest} leaves out. */
class GemmTest {
  private static final ValueLayout.OfFloat FLOAT = ValueLayout.JAVA_FLOAT;

  @ParameterizedTest
  @MethodSource("org.quern.linalg.GemmContractTest#tiers")
  void productsOfSeveralBlocksAgreeWithTheFormula(Tier tier) {
    for (int seed = 0; seed < 8; seed++) { // every pair of transposes, as a rule twice
      GemmContractTest.checkProduct(tier, seed, 50, 1300, 100, 1, 1);
      GemmContractTest.checkProduct(tier, seed, 200, 200, 400, 0.75f, -1);
    }
  }

  @Test
  void tensorsOfAnyStrideMultiply() {
    try (Arena arena = Arena.ofConfined()) {
      Tensor a = Tensor.copyOf(arena, new float[] {1, 2, 3, 4, 5, 6}, 2, 3);
      Tensor b = Tensor.copyOf(arena, new float[] {1, 0, 2, 0, 1, 1}, 2, 3);
      Tensor c = Tensor.of(arena.allocate(64, 64), DType.F32, 4, new long[] {2, 2});
      Gemm gemm = Gemm.create(arena, 1);
      gemm.multiply(false, true, 1, a, b, 0, c);
      assertEquals(7, c.memory().getAtIndex(FLOAT, 0));
      assertEquals(5, c.memory().getAtIndex(FLOAT, 1));
      assertEquals(16, c.memory().getAtIndex(FLOAT, 4));
      assertEquals(11, c.memory().getAtIndex(FLOAT, 5));
      assertMessage("b: expected 3 rows", () -> gemm.multiply(false, false, 1, a, b, 0, c));
      assertMessage("c: expected 3 x 3", () -> gemm.multiply(true, false, 1, a, b, 0, c));
    }
  }

  @Test
  void badArgumentsAreNamed() {
    try (Arena arena = Arena.ofConfined()) {
      Gemm gemm = Gemm.create(arena, 1);
      MemorySegment x = arena.allocate(64, 64);
      MemorySegment y = arena.allocate(64, 64);
      MemorySegment z = arena.allocate(64, 64);
      assertMessage(
          "m: expected at least 0",
          () -> gemm.multiply(false, false, -1, 2, 2, 1, x, 2, y, 2, 0, z, 2));
      assertMessage(
          "a: expected a row stride of at least 3",
          () -> gemm.multiply(false, false, 2, 2, 3, 1, x, 2, y, 2, 0, z, 2));
      assertMessage(
          "b: expected at least 72 bytes",
          () -> gemm.multiply(false, false, 2, 2, 2, 1, x, 2, y, 16, 0, z, 2));
      assertMessage(
          "a: expected a native segment",
          () ->
              gemm.multiply(
                  false, false, 2, 2, 2, 1, MemorySegment.ofArray(new float[4]), 2, y, 2, 0, z, 2));
      assertMessage(
          "c: expected no overlap with a",
          () -> gemm.multiply(false, false, 2, 2, 2, 1, x, 2, y, 2, 0, x.asSlice(12), 2));
      assertMessage(
          "c: expected no overlap with b",
          () -> gemm.multiply(false, false, 2, 2, 2, 1, x, 2, y, 4, 0, y.asSlice(4), 4));
      assertMessage(
          "a: expected alignment",
          () -> gemm.multiply(false, false, 2, 2, 2, 1, x.asSlice(2), 2, y, 2, 0, z, 2));
      gemm.multiply(
          false,
          false,
          2,
          2,
          2,
          1,
          x,
          2,
          y,
          4,
          0,
          y.asSlice(8),
          4); // the right half beside the left
      assertMessage("threads: expected at least 1", () -> Gemm.create(arena, 0));
      Arena other = Arena.ofConfined();
      MemorySegment closed = other.allocate(64);
      other.close();
      assertMessage(
          "a: expected memory that is alive",
          () -> gemm.multiply(false, false, 2, 2, 2, 1, closed, 2, y, 2, 0, z, 2));
    }
  }

  private static void assertMessage(String start, Runnable call) {
    String message = assertThrows(IllegalArgumentException.class, call::run).getMessage();
    assertTrue(message.startsWith(start), message);
  }

  @Test
  void aWarmProductAllocatesNothing() throws Exception {
    assumeTrue(Capabilities.get().available().contains(Tier.VECTOR), "no vector tier");
    assertEquals("0", ChildJvm.run(GemmAllocations.class, ChildJvm.VECTOR).get("bytes"));
  }
}
