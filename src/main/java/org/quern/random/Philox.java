package org.quern.random;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.random.RandomGenerator;

/**
 * Philox4x32-10, a counter-based generator (Salmon, Moraes, Dror and Shaw, "Parallel random
 * numbers: as easy as 1, 2, 3", SC'11): block {@code i} of four 32-bit words is a fixed function of
 * the key and of {@code i}, so that any part of a stream can be made anywhere, in any order.
 *
 * <p>The key is the seed, low word first. The counter is, from word 0, the number of the block
 * (low, high) and the number of the stream (low, high): the layout of cuRAND's Philox4_32_10, where
 * the stream is called subsequence. A stream has 2<sup>66</sup> words; streams do not overlap.
 *
 * <p>What a method returns depends only on the words that it takes, stated at each method, and all
 * arithmetic is exact or that of {@link StrictMath}: the same numbers on every JVM. An instance is
 * not safe for use by several threads; give each its own stream or block range.
 */
public final class Philox implements RandomGenerator {
  private static final int MULTIPLIER_0 = 0xD2511F53;
  private static final int MULTIPLIER_1 = 0xCD9E8D57;

  /** The golden ratio and the square root of 3 less 1, as 32-bit fractions. */
  private static final int WEYL_0 = 0x9E3779B9;

  private static final int WEYL_1 = 0xBB67AE85;
  private static final int ROUNDS = 10;
  private static final int WORDS = 4;

  private final long seed;
  private final long stream;
  private final int[] words = new int[WORDS];
  private long nextBlock;
  private int used = WORDS;
  private double spareGaussian = Double.NaN;

  /** The start of a stream of a seed; all values are allowed for both. */
  public Philox(long seed, long stream) {
    this.seed = seed;
    this.stream = stream;
  }

  /**
   * The bijection itself: one block of four words.
   *
   * @param c0 word 0 of the counter
   * @param c1 word 1 of the counter
   * @param c2 word 2 of the counter
   * @param c3 word 3 of the counter
   * @param k0 word 0 of the key
   * @param k1 word 1 of the key
   * @param out receives the four words at 0 to 3
   */
  public static void block(int c0, int c1, int c2, int c3, int k0, int k1, int[] out) {
    for (int round = 0; round < ROUNDS; round++) {
      long product0 = Integer.toUnsignedLong(MULTIPLIER_0) * Integer.toUnsignedLong(c0);
      long product1 = Integer.toUnsignedLong(MULTIPLIER_1) * Integer.toUnsignedLong(c2);
      c0 = (int) (product1 >>> 32) ^ c1 ^ k0;
      c1 = (int) product1;
      c2 = (int) (product0 >>> 32) ^ c3 ^ k1;
      c3 = (int) product0;
      k0 += WEYL_0;
      k1 += WEYL_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
  }

  /**
   * Goes to the first word of a block, forward or back.
   *
   * @param block number of the block, unsigned; its first word is word {@code 4 * block} of the
   *     stream
   */
  public void seek(long block) {
    nextBlock = block;
    used = WORDS;
    spareGaussian = Double.NaN;
  }

  /** The next word of the stream. */
  @Override
  public int nextInt() {
    if (used == WORDS) {
      block(
          (int) nextBlock,
          (int) (nextBlock >>> 32),
          (int) stream,
          (int) (stream >>> 32),
          (int) seed,
          (int) (seed >>> 32),
          words);
      nextBlock++;
      used = 0;
    }
    return words[used++];
  }

  /** The next two words, the low half first. */
  @Override
  public long nextLong() {
    long low = Integer.toUnsignedLong(nextInt());
    return low | (long) nextInt() << 32;
  }

  /** Uniform in {@code [0, 1)}, a multiple of 2<sup>-24</sup>: the upper 24 bits of one word. */
  @Override
  public float nextFloat() {
    return (nextInt() >>> 8) * 0x1p-24f;
  }

  /** Uniform in {@code [0, 1)}, a multiple of 2<sup>-53</sup>: the upper 53 bits of two words. */
  @Override
  public double nextDouble() {
    return (nextLong() >>> 11) * 0x1p-53;
  }

  /**
   * Uniform in {@code [0, bound)} without bias: the upper half of word times bound, drawn again in
   * the rare case that the lower half shows the word to be of the uneven rest (Lemire, "Fast random
   * integer generation in an interval", ACM Transactions on Modeling and Computer Simulation 29(1),
   * 2019). One word, seldom more.
   *
   * @throws IllegalArgumentException where {@code bound < 1}
   */
  @Override
  public int nextInt(int bound) {
    if (bound < 1) {
      throw new IllegalArgumentException("bound: expected >= 1, got " + bound);
    }
    long product = Integer.toUnsignedLong(nextInt()) * bound;
    long low = product & 0xffffffffL;
    if (low < bound) {
      // 2^32 mod bound words are too many for equal shares.
      long rest = (1L << 32) % bound;
      while (low < rest) {
        product = Integer.toUnsignedLong(nextInt()) * bound;
        low = product & 0xffffffffL;
      }
    }
    return (int) (product >>> 32);
  }

  /**
   * Standard normal, by the transform of Box and Muller ("A note on the generation of random normal
   * deviates", Annals of Mathematical Statistics 29(2), 1958): of two words w and v, with u = (w +
   * 1) 2<sup>-32</sup> in (0, 1] and t = v 2<sup>-32</sup>, first sqrt(-2 ln u) cos(2 pi t), and at
   * the next call, from the same words, sqrt(-2 ln u) sin(2 pi t). At most 6.66 in magnitude.
   */
  @Override
  public double nextGaussian() {
    double spare = spareGaussian;
    if (!Double.isNaN(spare)) {
      spareGaussian = Double.NaN;
      return spare;
    }
    double u = (Integer.toUnsignedLong(nextInt()) + 1) * 0x1p-32;
    double angle = 2 * Math.PI * (Integer.toUnsignedLong(nextInt()) * 0x1p-32);
    double radius = StrictMath.sqrt(-2 * StrictMath.log(u));
    spareGaussian = radius * StrictMath.sin(angle);
    return radius * StrictMath.cos(angle);
  }

  /** Fills an array with what {@link #nextFloat} returns, in order. */
  public void fillUniform(float[] target) {
    for (int i = 0; i < target.length; i++) {
      target[i] = nextFloat();
    }
  }

  /** Fills an array with what {@link #nextGaussian} returns, rounded to {@code float}, in order. */
  public void fillNormal(float[] target) {
    for (int i = 0; i < target.length; i++) {
      target[i] = (float) nextGaussian();
    }
  }

  /**
   * Fills a segment with the floats that {@link #nextFloat} returns, in order.
   *
   * @throws IllegalArgumentException where its size is not a multiple of 4 bytes
   */
  public void fillUniform(MemorySegment target) {
    long n = floats(target);
    for (long i = 0; i < n; i++) {
      target.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * i, nextFloat());
    }
  }

  /**
   * Fills a segment with what {@link #nextGaussian} returns, rounded to {@code float}, in order.
   *
   * @throws IllegalArgumentException where its size is not a multiple of 4 bytes
   */
  public void fillNormal(MemorySegment target) {
    long n = floats(target);
    for (long i = 0; i < n; i++) {
      target.set(ValueLayout.JAVA_FLOAT_UNALIGNED, 4 * i, (float) nextGaussian());
    }
  }

  private static long floats(MemorySegment target) {
    if (target.byteSize() % Float.BYTES != 0) {
      throw new IllegalArgumentException(
          "target: expected a multiple of 4 bytes, got " + target.byteSize());
    }
    return target.byteSize() / Float.BYTES;
  }
}
