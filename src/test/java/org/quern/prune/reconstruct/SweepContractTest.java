package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

/** The vector kernels give the bits of the formulas. */
class SweepContractTest {
  private static final int ROWS = SweepKernels.ROWS;
  private static final int WIDTH = SweepKernels.WIDTH;

  private static MemorySegment floats(Arena arena, int count, Random random, double scale) {
    MemorySegment memory = arena.allocate((long) Float.BYTES * count, 64);
    for (int i = 0; i < count; i++) {
      memory.setAtIndex(JAVA_FLOAT, i, (float) (scale * random.nextGaussian()));
    }
    return memory;
  }

  private static MemorySegment copy(Arena arena, MemorySegment memory) {
    return arena.allocate(memory.byteSize(), 64).copyFrom(memory);
  }

  private static float[] array(MemorySegment memory) {
    return memory.toArray(JAVA_FLOAT);
  }

  private static MemorySegment upper(Arena arena, int width, Random random) {
    MemorySegment upper = arena.allocate(SweepKernels.UPPER_BYTES, 64);
    for (int i = 0; i < width; i++) {
      for (int j = i; j < width; j++) {
        double value = i == j ? 0.5 + random.nextDouble() : 0.2 * random.nextGaussian();
        upper.setAtIndex(JAVA_FLOAT, (long) i * WIDTH + j, (float) value);
      }
    }
    return upper;
  }

  private static MemorySegment squares(Arena arena, MemorySegment upper, int width) {
    MemorySegment squares = arena.allocate((long) Float.BYTES * WIDTH, 64);
    for (int i = 0; i < width; i++) {
      float root = upper.getAtIndex(JAVA_FLOAT, (long) i * WIDTH + i);
      squares.setAtIndex(JAVA_FLOAT, i, root * root);
    }
    return squares;
  }

  @Test
  void allTiersSweepAlike() {
    assumeTrue(Capabilities.get().available().contains(Tier.VECTOR), "no vector tier here");
    Random random = new Random(11);
    for (int width : new int[] {1, 2, 3, 4, 5, 15, 63, 64, 126, 127, 128}) {
      for (int of = 0; of <= 16; of++) {
        if (of > 0 && width % of != 0) {
          continue;
        }
        try (Arena arena = Arena.ofConfined()) {
          MemorySegment upper = upper(arena, width, random);
          MemorySegment squares = squares(arena, upper, width);
          MemorySegment panel = floats(arena, SweepKernels.PANEL, random, 1);
          // Equal scores, of which the first go.
          for (int r = 0; r < ROWS && width > 1; r += 5) {
            panel.setAtIndex(JAVA_FLOAT, r, 0);
            panel.setAtIndex(JAVA_FLOAT, ROWS + r, 0);
          }
          MemorySegment marks = floats(arena, SweepKernels.PANEL, random, 1);
          if (of == 0) {
            for (int i = 0; i < SweepKernels.PANEL; i++) {
              marks.setAtIndex(JAVA_FLOAT, i, random.nextBoolean() ? 1 : 0);
            }
          }
          int prune = of == 0 ? 0 : 1 + random.nextInt(of);
          MemorySegment[] expected =
              sweep(arena, Tier.SCALAR, upper, squares, width, panel, marks, prune, of);
          MemorySegment[] got =
              sweep(arena, Tier.VECTOR, upper, squares, width, panel, marks, prune, of);
          for (int i = 0; i < got.length; i++) {
            String what = "width " + width + ", runs of " + of + ", result " + i;
            int count = i == 3 ? ROWS : width * ROWS;
            assertArrayEquals(
                Arrays.copyOf(plus(expected[i]), count), Arrays.copyOf(plus(got[i]), count), what);
          }
          checkZeros(got[1], got[2], width);
        }
      }
    }
  }

  /** Without the signs of zeros: a difference of zeros has one where no difference is taken. */
  private static float[] plus(MemorySegment memory) {
    float[] values = array(memory);
    for (int i = 0; i < values.length; i++) {
      values[i] += 0f;
    }
    return values;
  }

  private static void checkZeros(MemorySegment kept, MemorySegment marks, int width) {
    for (int i = 0; i < width * ROWS; i++) {
      if (marks.getAtIndex(JAVA_FLOAT, i) != 0) {
        assertEquals(0, Float.floatToRawIntBits(kept.getAtIndex(JAVA_FLOAT, i)));
      }
    }
  }

  /** Errors, kept weights, marks, losses. */
  private static MemorySegment[] sweep(
      Arena arena,
      Tier tier,
      MemorySegment upper,
      MemorySegment squares,
      int width,
      MemorySegment panel,
      MemorySegment marks,
      int prune,
      int of) {
    MemorySegment[] results = {
      copy(arena, panel),
      arena.allocate(SweepKernels.PANEL_BYTES, 64),
      copy(arena, marks),
      arena.allocate((long) Float.BYTES * ROWS, 64)
    };
    Sweep.kernels(tier)
        .sweep(upper, squares, width, results[0], results[1], results[2], prune, of, results[3]);
    return results;
  }

  @Test
  void allTiersScoreMarkAndTransposeAlike() {
    assumeTrue(Capabilities.get().available().contains(Tier.VECTOR), "no vector tier here");
    Random random = new Random(12);
    for (int width : new int[] {1, 3, 15, 16, 17, 67, 128}) {
      for (int rows : new int[] {1, 5, 31, 32}) {
        try (Arena arena = Arena.ofConfined()) {
          int stride = width + 3;
          MemorySegment a = floats(arena, rows * stride, random, 1);
          MemorySegment squares = squares(arena, upper(arena, width, random), width);
          float[][] results = new float[2][];
          for (Tier tier : new Tier[] {Tier.SCALAR, Tier.VECTOR}) {
            SweepKernels kernels = Sweep.kernels(tier);
            MemorySegment panel = floats(arena, SweepKernels.PANEL, new Random(1), 1);
            MemorySegment marks = arena.allocate(SweepKernels.PANEL_BYTES, 64);
            MemorySegment back = arena.allocate(a.byteSize(), 64);
            MemorySegment scores = arena.allocate((long) Float.BYTES * width, 64);
            kernels.load(a, 0, stride, rows, width, panel);
            kernels.markBelow(panel, width, squares, 0.3f, marks);
            kernels.store(panel, back, 0, stride, rows, width);
            kernels.score(a, 0, squares, 0, scores, 0, width);
            for (int r = 0; r < rows; r++) {
              for (int j = 0; j < width; j++) {
                float value = a.getAtIndex(JAVA_FLOAT, (long) r * stride + j);
                assertEquals(value, panel.getAtIndex(JAVA_FLOAT, (long) j * ROWS + r));
                assertEquals(value, back.getAtIndex(JAVA_FLOAT, (long) r * stride + j));
              }
            }
            float[] all = Arrays.copyOf(array(marks), SweepKernels.PANEL + width);
            System.arraycopy(array(scores), 0, all, SweepKernels.PANEL, width);
            results[tier == Tier.SCALAR ? 0 : 1] = all;
          }
          assertArrayEquals(results[0], results[1], "width " + width + ", rows " + rows);
        }
      }
    }
  }
}
