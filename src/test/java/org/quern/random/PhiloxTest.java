package org.quern.random;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import org.junit.jupiter.api.Test;

/** All seeds are fixed, so that the statistical bounds either always hold or never. */
class PhiloxTest {
  private static void assertBlock(int[] counter, int[] key, int... expected) {
    int[] out = new int[4];
    Philox.block(counter[0], counter[1], counter[2], counter[3], key[0], key[1], out);
    assertArrayEquals(expected, out);
  }

  /** The vectors of the file kat_vectors of Random123 for philox4x32-10. */
  @Test
  void knownAnswers() {
    assertBlock(
        new int[] {0, 0, 0, 0}, new int[] {0, 0}, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
    assertBlock(
        new int[] {-1, -1, -1, -1},
        new int[] {-1, -1},
        0x408f276d,
        0x41c83b0e,
        0xa20bc7c6,
        0x6d5451fd);
    assertBlock(
        new int[] {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
        new int[] {0xa4093822, 0x299f31d0},
        0xd16cfe09,
        0x94fdcceb,
        0x5001e420,
        0x24126ea1);
  }

  /** The third vector again, through the layout of seed, stream and block. */
  @Test
  void theCounterIsBlockThenStreamAndTheKeyIsTheSeed() {
    Philox random = new Philox(0x299f31d0_a4093822L, 0x03707344_13198a2eL);
    random.seek(0x85a308d3_243f6a88L);
    assertEquals(0xd16cfe09, random.nextInt());
    assertEquals(0x94fdcceb, random.nextInt());
    assertEquals(0x24126ea1_5001e420L, random.nextLong());
  }

  @Test
  void seekGivesWhatReadingOnWouldHaveGiven() {
    Philox straight = new Philox(1, 2);
    int[] words = new int[4000];
    for (int i = 0; i < words.length; i++) {
      words[i] = straight.nextInt();
    }
    Philox jumping = new Philox(1, 2);
    for (int block : new int[] {999, 0, 500, 1, 998}) {
      jumping.seek(block);
      for (int i = 4 * block; i < Math.min(words.length, 4 * block + 7); i++) {
        assertEquals(words[i], jumping.nextInt(), "word " + i);
      }
    }
  }

  @Test
  void theBlockNumberCarriesIntoItsHighWordAndWraps() {
    int[] out = new int[4];
    Philox random = new Philox(5, 6);
    random.seek(0xffffffffL);
    random.nextLong();
    random.nextLong();
    Philox.block(0, 1, 6, 0, 5, 0, out);
    assertEquals(out[0], random.nextInt());
    random.seek(-1);
    random.nextLong();
    random.nextLong();
    Philox.block(0, 0, 6, 0, 5, 0, out);
    assertEquals(out[0], random.nextInt());
  }

  @Test
  void seekForgetsTheSecondGaussianOfAPair() {
    Philox random = new Philox(3, 0);
    double first = random.nextGaussian();
    random.seek(0);
    assertEquals(first, random.nextGaussian());
  }

  @Test
  void floatsAndDoublesAreTheUpperBitsOfWords() {
    Philox words = new Philox(11, 12);
    Philox values = new Philox(11, 12);
    for (int i = 0; i < 100; i++) {
      float f = values.nextFloat();
      assertEquals((words.nextInt() >>> 8) / (float) (1 << 24), f);
      double d = values.nextDouble();
      assertEquals((words.nextLong() >>> 11) / (double) (1L << 53), d);
    }
  }

  @Test
  void fillsEqualSingleCallsForArraysAndSegments() {
    for (int n : new int[] {0, 1, 3, 4, 5, 67}) {
      float[] uniform = new float[n];
      float[] normal = new float[n];
      Philox filling = new Philox(9, 9);
      filling.fillUniform(uniform);
      filling.fillNormal(normal);
      Philox single = new Philox(9, 9);
      for (float value : uniform) {
        assertEquals(single.nextFloat(), value);
      }
      for (float value : normal) {
        assertEquals((float) single.nextGaussian(), value);
      }
      try (Arena arena = Arena.ofConfined()) {
        MemorySegment memory = arena.allocate(4L * n, 4);
        Philox segments = new Philox(9, 9);
        segments.fillUniform(memory);
        assertArrayEquals(uniform, memory.toArray(ValueLayout.JAVA_FLOAT));
        segments.fillNormal(memory);
        assertArrayEquals(normal, memory.toArray(ValueLayout.JAVA_FLOAT));
      }
    }
    MemorySegment odd = MemorySegment.ofArray(new byte[6]);
    assertThrows(IllegalArgumentException.class, () -> new Philox(0, 0).fillUniform(odd));
    assertThrows(IllegalArgumentException.class, () -> new Philox(0, 0).fillNormal(odd));
  }

  @Test
  void uniformsHaveTheMomentsAndTheFlatHistogramOfUniforms() {
    int n = 1_000_000;
    Philox random = new Philox(42, 0);
    long[] bins = new long[256];
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < n; i++) {
      float u = random.nextFloat();
      assertTrue(u >= 0 && u < 1);
      bins[(int) (u * 256)]++;
      sum += u;
      squares += (double) u * u;
    }
    // Five standard errors.
    assertEquals(0.5, sum / n, 5 * Math.sqrt(1 / 12.0 / n));
    assertEquals(1 / 3.0, squares / n, 5 * Math.sqrt(4 / 45.0 / n));
    assertChiSquare(bins, n);
  }

  @Test
  void normalsHaveTheMomentsOfNormals() {
    int n = 1_000_000;
    Philox random = new Philox(43, 0);
    double[] moments = new double[5];
    double lag = 0;
    double previous = 0;
    for (int i = 0; i < n; i++) {
      double z = random.nextGaussian();
      double power = 1;
      for (int k = 0; k < 5; k++) {
        moments[k] += power;
        power *= z;
      }
      lag += z * previous;
      previous = z;
    }
    // The variance of the k-th power is E z^2k - (E z^k)^2: 1, 2, 15, 96.
    assertEquals(0, moments[1] / n, 5 * Math.sqrt(1.0 / n));
    assertEquals(1, moments[2] / n, 5 * Math.sqrt(2.0 / n));
    assertEquals(0, moments[3] / n, 5 * Math.sqrt(15.0 / n));
    assertEquals(3, moments[4] / n, 5 * Math.sqrt(96.0 / n));
    assertEquals(0, lag / n, 5 * Math.sqrt(1.0 / n));
  }

  @Test
  void boundedIntegersAreFlatAndInRange() {
    for (int bound : new int[] {1, 2, 3, 7, 100, 255}) {
      int n = 200_000;
      Philox random = new Philox(44, bound);
      long[] bins = new long[bound];
      for (int i = 0; i < n; i++) {
        bins[random.nextInt(bound)]++;
      }
      assertChiSquare(bins, n);
    }
    assertThrows(IllegalArgumentException.class, () -> new Philox(0, 0).nextInt(0));
  }

  /** With this bound, 3/8 of 2^32, a modulo would favour the two lower thirds by three to two. */
  @Test
  void aBoundFarFromAPowerOfTwoHasNoBias() {
    int bound = 3 << 29;
    int n = 300_000;
    Philox random = new Philox(45, 0);
    long[] thirds = new long[3];
    for (int i = 0; i < n; i++) {
      thirds[random.nextInt(bound) >>> 29]++;
    }
    assertChiSquare(thirds, n);
  }

  @Test
  void neighbouringStreamsAndSeedsAreUncorrelated() {
    int n = 200_000;
    Philox base = new Philox(7, 7);
    Philox stream = new Philox(7, 8);
    Philox seed = new Philox(8, 7);
    double withStream = 0;
    double withSeed = 0;
    for (int i = 0; i < n; i++) {
      double u = base.nextDouble() - 0.5;
      withStream += u * (stream.nextDouble() - 0.5);
      withSeed += u * (seed.nextDouble() - 0.5);
    }
    double bound = 5 / 12.0 / Math.sqrt(n);
    assertEquals(0, withStream / n, bound);
    assertEquals(0, withSeed / n, bound);
  }

  /** Below the mean of the distribution plus five standard deviations. */
  private static void assertChiSquare(long[] bins, int n) {
    double expected = (double) n / bins.length;
    double statistic = 0;
    for (long bin : bins) {
      statistic += (bin - expected) * (bin - expected) / expected;
    }
    int freedom = bins.length - 1;
    assertTrue(
        statistic <= freedom + 5 * Math.sqrt(2.0 * freedom),
        "chi square " + statistic + " with " + freedom + " degrees of freedom");
  }
}
