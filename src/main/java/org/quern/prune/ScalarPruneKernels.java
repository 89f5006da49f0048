package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT;
import static java.lang.foreign.ValueLayout.JAVA_FLOAT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import org.quern.tensor.DType;

/** The formulas as written: the oracle that every other tier is tested against. */
final class ScalarPruneKernels implements PruneKernels {
  static final ScalarPruneKernels INSTANCE = new ScalarPruneKernels();

  private ScalarPruneKernels() {}

  @Override
  public long scratchBytes(int n) {
    return (long) n * Float.BYTES;
  }

  @Override
  public long score(Operands o, long row, MemorySegment out, MemorySegment scratch) {
    return score(o, row, 0, o.n, out, 0) ? ALL_FINITE : row;
  }

  /**
   * Writes the scores of columns [from, to) of a row to {@code out} at {@code at}; false where an
   * operand is not finite.
   */
  static boolean score(Operands o, long row, int from, int to, MemorySegment out, long at) {
    boolean finite = true;
    float rowSum = o.method == Method.RIA ? rowSum(o, row) : 1;
    for (int j = from; j < to; j++) {
      float w = Math.abs(load(o.w, row * o.wStride, o.wType, j));
      float c = o.method.usesActivations() ? o.c.get(JAVA_FLOAT, (long) j * Float.BYTES) : 0;
      float g = o.method.usesGradients() ? Math.abs(load(o.g, row * o.gStride, o.gType, j)) : 0;
      float score = score(o, w, c, g, j, rowSum);
      if (o.zerosFirst) {
        score = w == 0 ? 0 : Math.max(score, Float.MIN_VALUE);
      }
      out.set(JAVA_FLOAT, at + (long) (j - from) * Float.BYTES, score);
      finite &= Float.isFinite(w) && Float.isFinite(c) && Float.isFinite(g);
    }
    return finite;
  }

  private static float score(Operands o, float w, float c, float g, int j, float rowSum) {
    return switch (o.method) {
      case MAGNITUDE -> w;
      case WANDA -> w * c;
      case GRADIENT -> w * g;
      case GBLM -> {
        float byActivation = w * c;
        float byGradient = w * g;
        if (o.halfProducts) {
          byGradient = Float.float16ToFloat(Float.floatToFloat16(byGradient));
        }
        yield byActivation + byGradient;
      }
      case RIA -> (w / o.columnSums.get(JAVA_FLOAT, (long) j * Float.BYTES) + w / rowSum) * c;
      case PRUNER_ZERO -> product(w * w, (g - o.leastGradient) / o.gradientRange);
      case WANDA_PLUS_PLUS -> product(o.gradientScale * g + c, w);
    };
  }

  /** The product, 0 where one factor is 0 although the other overflowed. */
  private static float product(float a, float b) {
    return a == 0 || b == 0 ? 0 : a * b;
  }

  /** Partial sums of a row: fixed, so that every tier adds in the same order. */
  static final int PARTIAL_SUMS = 64;

  /** The sum of |W| over a row, by 64 partial sums of every 64th weight; 1 where it is 0. */
  private static float rowSum(Operands o, long row) {
    double[] sums = new double[PARTIAL_SUMS];
    for (int j = 0; j < o.n; j++) {
      sums[j % PARTIAL_SUMS] += Math.abs(load(o.w, row * o.wStride, o.wType, j));
    }
    double sum = 0;
    for (double partial : sums) {
      sum += partial;
    }
    return divisor(sum);
  }

  /** A sum of |W| as the divisor of the weights in it. */
  static float divisor(double sum) {
    return sum == 0 ? 1 : (float) sum;
  }

  @Override
  public void columnSums(Operands o, int from, int to, MemorySegment sums, MemorySegment scratch) {
    double[] columns = new double[to - from];
    for (long row = 0; row < o.rows; row++) {
      for (int j = from; j < to; j++) {
        columns[j - from] += Math.abs(load(o.w, row * o.wStride, o.wType, j));
      }
    }
    for (int j = from; j < to; j++) {
      sums.set(JAVA_FLOAT, (long) j * Float.BYTES, divisor(columns[j - from]));
    }
  }

  @Override
  public long gradientRange(Operands o, long from, long to, MemorySegment scratch) {
    int least = Integer.MAX_VALUE;
    int most = 0;
    for (long row = from; row < to; row++) {
      for (int j = 0; j < o.n; j++) {
        float g = Math.abs(load(o.g, row * o.gStride, o.gType, j));
        least = Math.min(least, Float.floatToRawIntBits(g));
        most = Math.max(most, Float.floatToRawIntBits(g));
      }
    }
    return (long) most << Integer.SIZE | least;
  }

  @Override
  public long pruneSmallest(
      Operands o,
      int k,
      long from,
      long to,
      MemorySegment bits,
      long bitsRow,
      long bitsStride,
      MemorySegment scratch) {
    float[] sorted = new float[o.n];
    for (long row = from; row < to; row++) {
      if (score(o, row, scratch, scratch) != ALL_FINITE) {
        return row;
      }
      float threshold = 0;
      long ties = 0;
      if (k > 0) {
        MemorySegment.copy(scratch, JAVA_FLOAT, 0, sorted, 0, o.n);
        Arrays.sort(sorted);
        threshold = sorted[k - 1];
        for (int i = k - 1; i >= 0 && sorted[i] == threshold; i--) {
          ties++;
        }
      }
      selectBelow(scratch, o.n, threshold, ties, bits, (row - bitsRow) * bitsStride);
      apply(o, row, bits, (row - bitsRow) * bitsStride);
    }
    return ALL_FINITE;
  }

  @Override
  public long pruneGroups(
      Operands o,
      int prune,
      int of,
      long from,
      long to,
      MemorySegment bits,
      long bitsRow,
      long bitsStride,
      MemorySegment scratch) {
    for (long row = from; row < to; row++) {
      if (score(o, row, scratch, scratch) != ALL_FINITE) {
        return row;
      }
      selectGroups(scratch, o.n, prune, of, bits, (row - bitsRow) * bitsStride);
      apply(o, row, bits, (row - bitsRow) * bitsStride);
    }
    return ALL_FINITE;
  }

  @Override
  public long pruneBelow(
      Operands o,
      long row,
      float threshold,
      long ties,
      MemorySegment bits,
      long bitsOffset,
      MemorySegment scratch) {
    if (score(o, row, scratch, scratch) != ALL_FINITE) {
      return row;
    }
    selectBelow(scratch, o.n, threshold, ties, bits, bitsOffset);
    apply(o, row, bits, bitsOffset);
    return ALL_FINITE;
  }

  private static void selectBelow(
      MemorySegment scores,
      int n,
      float threshold,
      long ties,
      MemorySegment bits,
      long bitsOffset) {
    clear(bits, bitsOffset, n);
    long left = ties;
    for (int j = 0; j < n; j++) {
      float score = scores.get(JAVA_FLOAT, (long) j * Float.BYTES);
      if (score < threshold || (score == threshold && left-- > 0)) {
        mark(bits, bitsOffset, j);
      }
    }
  }

  /**
   * Selects by rank: a score is pruned where fewer than {@code prune} of its group come before it.
   */
  static void selectGroups(
      MemorySegment scores, int n, int prune, int of, MemorySegment bits, long bitsOffset) {
    clear(bits, bitsOffset, n);
    for (int start = 0; start < n; start += of) {
      for (int j = start; j < start + of; j++) {
        float score = scores.get(JAVA_FLOAT, (long) j * Float.BYTES);
        int rank = 0;
        for (int other = start; other < start + of; other++) {
          float rival = scores.get(JAVA_FLOAT, (long) other * Float.BYTES);
          if (rival < score || (rival == score && other < j)) {
            rank++;
          }
        }
        if (rank < prune) {
          mark(bits, bitsOffset, j);
        }
      }
    }
  }

  /** Writes +0.0 over the marked weights of a row. */
  private static void apply(Operands o, long row, MemorySegment bits, long bitsOffset) {
    if (!o.inPlace) {
      return;
    }
    for (int j = 0; j < o.n; j++) {
      if ((bits.get(JAVA_BYTE, bitsOffset + (j >> 3)) >> (j & 7) & 1) != 0) {
        long at = row * o.wStride + (long) j * o.wType.bytes();
        if (o.wType == DType.F32) {
          o.w.set(JAVA_FLOAT_UNALIGNED, at, 0f);
        } else {
          o.w.set(JAVA_SHORT_UNALIGNED, at, (short) 0);
        }
      }
    }
  }

  /** Element j of a row as F32. */
  static float load(MemorySegment memory, long rowOffset, DType type, int j) {
    long at = rowOffset + (long) j * type.bytes();
    return switch (type) {
      case F32 -> memory.get(JAVA_FLOAT_UNALIGNED, at);
      case F16 -> Float.float16ToFloat(memory.get(JAVA_SHORT_UNALIGNED, at));
      case BF16 -> Float.intBitsToFloat(memory.get(JAVA_SHORT_UNALIGNED, at) << 16);
      default -> throw new IllegalArgumentException("type: expected F32, F16 or BF16, got " + type);
    };
  }

  private static void clear(MemorySegment bits, long offset, int n) {
    for (long at = 0; at < Math.ceilDiv(n, 64); at++) {
      bits.set(JAVA_LONG, offset + at * Long.BYTES, 0);
    }
  }

  private static void mark(MemorySegment bits, long offset, int j) {
    long at = offset + (j >> 3);
    bits.set(JAVA_BYTE, at, (byte) (bits.get(JAVA_BYTE, at) | 1 << (j & 7)));
  }
}
