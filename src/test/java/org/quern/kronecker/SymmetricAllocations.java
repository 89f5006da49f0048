package org.quern.kronecker;

import com.sun.management.ThreadMXBean;
import java.lang.foreign.Arena;
import java.lang.management.ManagementFactory;
import java.util.List;
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

  /** Prints the least of many rounds: interpreted Vector API code allocates. */
  public static void main(String[] args) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    for (Storage storage : STORAGES) {
      try (Arena arena = Arena.ofConfined()) {
        Tensor v = Tensor.allocate(arena, DType.F32, SIZE);
        v.fill(0.25);
        Tensor w = Tensor.allocate(arena, DType.F32, SIZE);
        InverseFactor factor =
            InverseFactor.create(arena, SIZE, storage, UpdateRule.CODE, 0.95, Tier.VECTOR);
        long least = Long.MAX_VALUE;
        for (long end = System.nanoTime() + 12_000_000_000L;
            least >= CALLS && System.nanoTime() < end; ) {
          long before = threads.getCurrentThreadAllocatedBytes();
          for (int i = 0; i < CALLS; i++) {
            factor.update(v);
            factor.multiply(v, w);
          }
          least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
        }
        System.out.println(storage.toString().replaceAll("\\W", "") + "=" + least / CALLS);
      }
    }
  }
}
