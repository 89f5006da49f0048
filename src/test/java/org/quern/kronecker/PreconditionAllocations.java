package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.util.Map;
import java.util.SplittableRandom;
import java.util.TreeMap;
import org.quern.runtime.Allocations;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Prints, in a JVM of its own, the bytes that a warm step on the vector tier allocates: an update
 * of both factors, recompression among them, and the preconditioning of a gradient.
 */
final class PreconditionAllocations {
  static final Map<String, Storage> STORAGES =
      new TreeMap<>(
          Map.of(
              "LowRank", Storage.lowRank(10, Double.POSITIVE_INFINITY),
              "Dense", Storage.dense(),
              "SymmetricTiles", Storage.symmetricTiles(),
              "Deviation", Storage.deviation(DType.BF16)));

  private static final int O = 37;
  private static final int I = 70;
  private static final int CALLS = 100;

  private PreconditionAllocations() {}

  /**
   * Prints the bytes of a step.
   *
   * @param args none; the property {@code storage} names one of {@link #STORAGES}
   */
  public static void main(String[] args) {
    try (Arena arena = Arena.ofConfined()) {
      Step step = new Step(arena, STORAGES.get(System.getProperty("storage")));
      System.out.println("bytes=" + Allocations.perCall(40, CALLS, step::run));
    }
  }

  private static final class Step {
    final Tensor[] outputs = new Tensor[8];
    final Tensor[] inputs = new Tensor[8];
    final Tensor dw;
    final Tensor db;
    final InverseFactor left;
    final InverseFactor right;
    final Preconditioner preconditioner;

    Step(Arena arena, Storage storage) {
      SplittableRandom random = new SplittableRandom(1);
      for (int t = 0; t < 8; t++) {
        outputs[t] = Tensor.allocate(arena, DType.F32, O);
        inputs[t] = Tensor.allocate(arena, DType.F32, I);
        fill(outputs[t], O, random);
        fill(inputs[t], I, random);
      }
      dw = Tensor.allocate(arena, DType.F32, O, I - 1);
      dw.fill(0.25);
      db = Tensor.allocate(arena, DType.F32, O);
      fill(db, O, random);
      UpdateRule rule = UpdateRule.CODE;
      left = InverseFactor.create(arena, O, storage, rule, 0.95, Tier.VECTOR);
      right = InverseFactor.create(arena, I, storage, rule, 0.95, Tier.VECTOR);
      preconditioner =
          Preconditioner.create(arena, left, right, true, Rescale.SUM_OF_NORMS, 1, Tier.VECTOR);
    }

    private static void fill(Tensor v, int n, SplittableRandom random) {
      for (int j = 0; j < n; j++) {
        v.setDouble(random.nextDouble(-1, 1), j);
      }
    }

    void run(int call) {
      left.update(outputs[call % 8]);
      right.update(inputs[call % 8]);
      preconditioner.precondition(dw, db);
    }
  }
}
