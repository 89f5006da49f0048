package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.util.List;
import org.quern.runtime.Allocations;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Prints, in a JVM of its own, the bytes that a warm update on the vector tier allocates. */
final class SymmetricAllocations {
  static final List<Storage> STORAGES =
      List.of(
          new Storage.SymmetricTiles(1),
          new Storage.Dense(1),
          new Storage.Deviation(DType.BF16, 1),
          new Storage.Deviation(DType.F16, 3));

  private static final int SIZE = 70;
  private static final int CALLS = 200;

  private SymmetricAllocations() {}

  /** Prints the bytes of a call. */
  public static void main(String[] args) {
    for (Storage storage : STORAGES) {
      try (Arena arena = Arena.ofConfined()) {
        Tensor v = Tensor.allocate(arena, DType.F32, SIZE);
        v.fill(0.25);
        Tensor w = Tensor.allocate(arena, DType.F32, SIZE);
        InverseFactor factor =
            InverseFactor.create(arena, SIZE, storage, UpdateRule.CODE, 0.95, Tier.VECTOR);
        long bytes =
            Allocations.perCall(
                12,
                CALLS,
                call -> {
                  factor.update(v);
                  factor.multiply(v, w);
                });
        System.out.println(storage.toString().replaceAll("\\W", "") + "=" + bytes);
      }
    }
  }
}
