package org.quern.kronecker;

import java.lang.foreign.Arena;
import org.quern.runtime.Allocations;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Prints, in a JVM of its own, the bytes that warm captures on the vector tier allocate. */
final class CaptureAllocations {
  private static final int CALLS = 100;

  private CaptureAllocations() {}

  /** Prints the bytes of a call. */
  public static void main(String[] args) {
    try (Arena arena = Arena.ofConfined()) {
      Tensor rows = Tensor.allocate(arena, DType.F32, 13, 70);
      Tensor halves = Tensor.allocate(arena, DType.F16, 13, 70);
      Tensor a = Tensor.allocate(arena, DType.F32, 71);
      ColumnMeans means = ColumnMeans.create(arena, 70, 1, Tier.VECTOR);
      measure(
          "columns",
          () -> {
            means.reset();
            means.add(rows);
            means.add(rows, 100);
            means.add(halves);
            means.mean(a);
          });
      Tensor images = Tensor.allocate(arena, DType.F32, 2, 3, 9, 11);
      Window window = new Window(3, 2, 1, 1);
      PatchMeans patches = PatchMeans.create(arena, 3, 1, window, window, 1, Tier.VECTOR);
      ColumnMeans target = ColumnMeans.create(arena, patches.columns(), 1, Tier.VECTOR);
      measure("patches", () -> patches.add(images, 100, target));
      Tensor g = Tensor.allocate(arena, DType.F32, 13);
      Eva eva = Eva.builder().tier(Tier.VECTOR).build();
      EvaLayer layer = eva.layer("l", 13, 70, true);
      measure(
          "eva",
          () -> {
            layer.observe(a, g);
            layer.prepare(rows, g);
            layer.apply(rows, g, eva.scale(1e-3));
          });
    }
  }

  private static void measure(String name, Runnable body) {
    long bytes = Allocations.perCall(12, CALLS, call -> body.run());
    System.out.println(name + "=" + bytes);
  }
}
