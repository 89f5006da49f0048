package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.random.Philox;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Batches too large for the caches, whose rows are copied in and out. */
class GauntStreamContractTest {
  /** The result has one degree more than a product reaches: it is cleared where it lies. */
  private static final int[] DEGREES = {2, 1, 4};

  /** Not a multiple of the channels of a tile. */
  private static final int CHANNELS = 40;

  private static final int ROWS = 4100;

  static Stream<Tier> tiers() {
    return GauntProductContractTest.tiers();
  }

  private static Tensor allocate(Arena arena, int operand) {
    int n = (DEGREES[operand] + 1) * (DEGREES[operand] + 1);
    return Tensor.allocate(arena, DType.F32, ROWS, n, CHANNELS);
  }

  @ParameterizedTest
  @MethodSource("tiers")
  void largeBatchesGiveTheBitsOfTheirParts(Tier tier) {
    try (Arena arena = Arena.ofShared();
        GauntWorkspace workspace = new GauntWorkspace()) {
      // By set: x1, x2, out, gx1, gx2.
      Tensor[][] sets = new Tensor[2][5];
      for (Tensor[] set : sets) {
        for (int i = 0; i < set.length; i++) {
          set[i] = allocate(arena, i % 3);
          set[i].memory().fill((byte) -1);
        }
      }
      Philox random = new Philox(3, 1);
      for (int i = 0; i < 2; i++) {
        random.fillNormal(sets[0][i].memory());
        sets[1][i] = sets[0][i];
      }
      GauntProduct.Builder builder =
          GauntProduct.builder(DEGREES[0], DEGREES[1], DEGREES[2]).tier(tier);
      run(builder.threads(2).build(), sets[0], workspace);
      GauntProduct parts = builder.threads(1).build();
      for (int from = 0; from < ROWS; from += 400) {
        int to = Math.min(ROWS, from + 400);
        Tensor[] part = new Tensor[5];
        for (int i = 0; i < part.length; i++) {
          part[i] = rows(sets[1][i], from, to);
        }
        run(parts, part, workspace);
      }
      for (int i = 2; i < 5; i++) {
        assertEquals(-1, sets[0][i].memory().mismatch(sets[1][i].memory()), "tensor " + i);
      }
    }
  }

  private static Tensor rows(Tensor tensor, long from, long to) {
    long n = tensor.dim(1);
    Tensor flat = tensor.rows(from * n, to * n);
    return Tensor.of(flat.memory(), DType.F32, to - from, n, CHANNELS);
  }

  private static void run(GauntProduct product, Tensor[] set, GauntWorkspace workspace) {
    product.multiply(set[0], set[1], ProductWeights.NONE, set[2], workspace);
    ProductGradients gradients = ProductGradients.ofInputs(set[3], set[4]);
    product.gradients(set[0], set[1], ProductWeights.NONE, set[2], gradients, workspace);
  }
}
