package org.quern.prune.reconstruct;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

class InputGramContractTest {
  static Stream<Tier> tiers() {
    return SparseGpt.TIERS.stream().filter(Capabilities.get().available()::contains);
  }

  private static Tensor inputs(Arena arena, int samples, int tokens, int n, long seed) {
    return Samples.tensor(
        arena, DType.F32, ReferenceLayer.random(1, n, samples, tokens, new Random(seed)).inputs);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void isTwiceTheMeanOfTheProducts(Tier tier) {
    for (int n : new int[] {1, 3, 16, 67, 130}) {
      ReferenceLayer layer = ReferenceLayer.random(1, n, 3, 11, new Random(n));
      try (Arena arena = Arena.ofShared()) {
        InputGram moments = new InputGram(arena, n, 1, tier);
        moments.add(Samples.tensor(arena, DType.F32, layer.inputs));
        assertEquals(3, moments.samples());
        Tensor hessian = moments.hessian(arena);
        for (int i = 0; i < n; i++) {
          for (int j = 0; j < n; j++) {
            double bound = Math.sqrt(layer.hessian[i][i] * layer.hessian[j][j]);
            assertEquals(
                layer.hessian[i][j], hessian.getDouble(i, j), 1e-6 * bound, n + ": " + i + " " + j);
          }
        }
      }
    }
  }

  /** More tokens than a panel holds, more columns than a stripe. */
  @Test
  void isTheSameBitsForEveryCutAndAnyThreads() {
    int n = 400;
    try (Arena arena = Arena.ofShared()) {
      Tensor inputs = inputs(arena, 4, 450, n, 5);
      float[] once = null;
      for (int threads : new int[] {1, 2, 3}) {
        for (int batch : new int[] {4, 1, 3}) {
          InputGram moments = new InputGram(arena, n, threads);
          for (int from = 0; from < 4; from += batch) {
            int to = Math.min(4, from + batch);
            moments.add(
                Tensor.of(
                    inputs.rows(from * 450L, to * 450L).memory(), DType.F32, to - from, 450, n));
          }
          float[] got = moments.hessian(arena).toFloatArray();
          once = once == null ? got : once;
          assertArrayEquals(once, got, threads + " threads, batches of " + batch);
        }
      }
    }
  }

  @Test
  void leavesPaddingOut() {
    try (Arena arena = Arena.ofShared()) {
      Tensor inputs = inputs(arena, 2, 4, 5, 6);
      Tensor spoilt = inputs.to(DType.F32, arena);
      Tensor tokens = Tensor.allocate(arena, DType.U8, 2, 4);
      tokens.fill(1);
      tokens.setLong(0, 1, 2);
      spoilt.setDouble(Double.NaN, 1, 2, 3); // Padding may hold anything.
      InputGram moments = new InputGram(arena, 5, 1);
      moments.add(spoilt, tokens);
      for (int j = 0; j < 5; j++) {
        inputs.setDouble(0, 1, 2, j);
      }
      InputGram expected = new InputGram(arena, 5, 1);
      expected.add(inputs);
      assertArrayEquals(
          expected.hessian(arena).toFloatArray(), moments.hessian(arena).toFloatArray());
    }
  }

  @Test
  void takesEveryStorageAndOneSampleAsAMatrix() {
    try (Arena arena = Arena.ofShared()) {
      Tensor inputs = inputs(arena, 1, 6, 9, 7);
      for (DType type : new DType[] {DType.F16, DType.BF16}) {
        Tensor stored = inputs.to(type, arena);
        InputGram moments = new InputGram(arena, 9, 1);
        moments.add(Tensor.of(stored.memory(), type, 6, 9));
        InputGram expected = new InputGram(arena, 9, 1);
        expected.add(stored.to(DType.F32, arena));
        assertEquals(1, moments.samples());
        assertArrayEquals(
            expected.hessian(arena).toFloatArray(), moments.hessian(arena).toFloatArray());
      }
    }
  }

  @Test
  void moreSamplesMayFollowAHessian() {
    try (Arena arena = Arena.ofShared()) {
      Tensor inputs = inputs(arena, 2, 6, 9, 8);
      InputGram moments = new InputGram(arena, 9, 1);
      moments.add(inputs);
      Tensor first = moments.hessian(arena);
      moments.add(inputs);
      assertEquals(4, moments.samples());
      float[] again = moments.hessian(arena).toFloatArray();
      assertArrayEquals(first.toFloatArray(), again, 1e-4f);
    }
  }

  @Test
  void rejectsWhatItCannotTake() {
    try (Arena arena = Arena.ofShared()) {
      assertThrows(IllegalArgumentException.class, () -> new InputGram(arena, 0, 1));
      assertThrows(IllegalArgumentException.class, () -> new InputGram(arena, 4, 0));
      InputGram moments = new InputGram(arena, 4, 1);
      String empty =
          assertThrows(IllegalStateException.class, () -> moments.hessian(arena)).getMessage();
      assertTrue(empty.contains("got none"), empty);
      Tensor narrow = Tensor.allocate(arena, DType.F32, 2, 3);
      assertThrows(IllegalArgumentException.class, () -> moments.add(narrow));
      Tensor integers = Tensor.allocate(arena, DType.I32, 2, 4);
      assertThrows(IllegalArgumentException.class, () -> moments.add(integers));
      Tensor inputs = Tensor.allocate(arena, DType.F32, 2, 3, 4);
      Tensor tokens = Tensor.allocate(arena, DType.U8, 3, 2);
      assertThrows(IllegalArgumentException.class, () -> moments.add(inputs, tokens));
      inputs.setDouble(Double.POSITIVE_INFINITY, 1, 2, 3);
      String message =
          assertThrows(IllegalArgumentException.class, () -> moments.add(inputs)).getMessage();
      assertTrue(message.contains("token 5 of the batch, column 3"), message);
      assertThrows(IllegalStateException.class, () -> moments.hessian(arena));
      assertThrows(IllegalStateException.class, () -> moments.add(inputs));
    }
  }
}
