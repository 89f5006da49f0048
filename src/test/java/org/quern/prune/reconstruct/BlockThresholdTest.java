package org.quern.prune.reconstruct;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;

class BlockThresholdTest {
  @Test
  void findsWhatSortingFinds() {
    Random random = new Random(21);
    for (int kind = 0; kind < 6; kind++) {
      for (int n : new int[] {1, 2, 7, 1000, 70_000, 200_001}) {
        float[] scores = new float[n];
        for (int i = 0; i < n; i++) {
          double normal = random.nextGaussian();
          scores[i] =
              switch (kind) {
                case 0 -> (float) (normal * normal);
                case 1 -> (float) Math.exp(30 * normal); // To infinity and denormal numbers.
                case 2 -> random.nextInt(3);
                case 3 -> 0;
                case 4 -> i;
                default -> Float.MIN_VALUE * random.nextInt(5);
              };
        }
        float[] sorted = scores.clone();
        Arrays.sort(sorted);
        try (Arena arena = Arena.ofShared()) {
          MemorySegment memory = arena.allocate((long) Float.BYTES * n, 64);
          MemorySegment.copy(scores, 0, memory, ValueLayout.JAVA_FLOAT, 0, n);
          for (int rank : new int[] {0, n / 3, n / 2, n - 1}) {
            for (int threads : new int[] {1, 2}) {
              float got = BlockThreshold.find(memory, n, rank, threads);
              assertEquals(sorted[rank], got, "kind " + kind + ", " + rank + " of " + n);
            }
          }
        }
      }
    }
  }
}
