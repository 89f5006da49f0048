package org.quern.kronecker.optim;

import java.lang.foreign.Arena;
import org.jspecify.annotations.Nullable;
import org.quern.kronecker.Storage;
import org.quern.runtime.Allocations;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Prints, in a JVM of its own, the bytes that a warm step on the vector tier allocates. */
final class MkorAllocations {
  private static final int OUT = 40;
  private static final int IN = 48;
  private static final int STEPS = 100;

  private MkorAllocations() {}

  private static MkorBuilder builder() {
    return Mkor.builder()
        .tier(Tier.VECTOR)
        .refreshEvery(2)
        .storage(d -> d > OUT ? Storage.lowRank(8, Double.POSITIVE_INFINITY) : tiles());
  }

  private static Storage tiles() {
    return Storage.symmetricTiles();
  }

  /** Prints the bytes of a step of the run that the property names. */
  public static void main(String[] args) {
    String run = System.getProperty("quern.test.run");
    measure(
        switch (run) {
          case "lowRank" ->
              builder()
                  .storage(Storage.lowRank(8, Double.POSITIVE_INFINITY))
                  .backEnd(new Adam())
                  .switchPolicy(new KneePoint());
          case "mixed" -> builder().backEnd(new Sgd(0.9)).vectorMean(flat -> {});
          case "lamb" -> builder().backEnd(new Lamb(0.01)).measureCosine(true).damping(0.1);
          case "means" -> builder().klClip(1e-3).gradientMeans(true);
          default -> throw new IllegalArgumentException(run);
        });
  }

  private static void measure(MkorBuilder builder) {
    try (Arena arena = Arena.ofShared();
        Mkor mkor = builder.build()) {
      MkorLayer first = bound(mkor, arena, "fc1", true);
      MkorLayer second = bound(mkor, arena, "fc2", false);
      Samples samples = new Samples(arena, 7);
      Tensor a = samples.input(1, IN + 1);
      Tensor a2 = samples.normal(1, IN);
      Tensor g = samples.normal(1, OUT);
      long bytes =
          Allocations.perCall(
              60,
              STEPS,
              call -> {
                if (mkor.isRefresh()) {
                  first.accumulate(a, g, 5);
                  first.accumulate(a, g, 3);
                  second.observe(a2, g);
                }
                mkor.observeLoss(1e6 - (double) mkor.stepNumber());
                mkor.step(1e-6);
              });
      System.out.println("bytes=" + bytes);
    }
  }

  private static MkorLayer bound(Mkor mkor, Arena arena, String name, boolean bias) {
    Samples samples = new Samples(arena, 8);
    @Nullable Tensor b = bias ? samples.normal(1, OUT) : null;
    @Nullable Tensor db = bias ? Tensor.allocate(arena, DType.F32, OUT) : null;
    MkorLayer layer = mkor.layer(name, OUT, IN, bias);
    layer.bind(samples.normal(1, OUT, IN), b, samples.normal(1, OUT, IN), db);
    return layer;
  }
}
