package org.quern.kronecker.net;

import java.lang.foreign.Arena;
import org.quern.runtime.Allocations;
import org.quern.runtime.Tier;

/** Prints, in a JVM of its own, the bytes that a warm step on the vector tier allocates. */
final class NetworkAllocations {
  private static final int CALLS = 200;

  private NetworkAllocations() {}

  /** Prints the bytes of a call. */
  public static void main(String[] args) {
    try (Arena arena = Arena.ofConfined()) {
      int[] widths = {40, 50, 30};
      Network network =
          Network.create(arena, widths, 20, Activation.TANH, Loss.CROSS_ENTROPY, 1, Tier.VECTOR);
      network.initialize(1);
      long bytes =
          Allocations.perCall(
              40,
              CALLS,
              call -> {
                network.forward();
                network.backward();
              });
      System.out.println("bytes=" + bytes);
    }
  }
}
