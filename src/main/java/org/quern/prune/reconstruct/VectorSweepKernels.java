package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import java.nio.ByteOrder;
import jdk.incubator.vector.FloatVector;
import jdk.incubator.vector.VectorMask;
import jdk.incubator.vector.VectorOperators;
import jdk.incubator.vector.VectorSpecies;
import org.quern.runtime.NativeViews;

/**
 * A lane is a row. The sweep takes four columns at a time: they settle among themselves, then their
 * errors stay in registers while every later column of the panel passes once, 16 multiplications
 * and differences to 2 loads, 4 broadcasts and 2 stores.
 */
final class VectorSweepKernels implements SweepKernels {
  static final VectorSweepKernels INSTANCE = new VectorSweepKernels();

  private static final VectorSpecies<Float> F = FloatVector.SPECIES_PREFERRED;
  private static final ByteOrder LE = ByteOrder.LITTLE_ENDIAN;
  private static final int LANES = F.length();

  /** Bytes of a vector. */
  private static final long BYTES = (long) LANES * Float.BYTES;

  /** Bytes of a column of a panel, and of a row of the packed U. */
  private static final long COLUMN = (long) ROWS * Float.BYTES;

  private static final long UPPER_ROW = (long) WIDTH * Float.BYTES;

  /** Columns that settle together. */
  private static final int TILE = 4;

  private VectorSweepKernels() {}

  @Override
  public void score(
      MemorySegment w,
      long wOffset,
      MemorySegment d,
      long dOffset,
      MemorySegment s,
      long sOffset,
      int n) {
    MemorySegment weights = NativeViews.base(w);
    MemorySegment squares = NativeViews.base(d);
    MemorySegment scores = NativeViews.base(s);
    long bytes = (long) Float.BYTES * n;
    long weightAt = NativeViews.at(w, wOffset, bytes);
    long squareAt = NativeViews.at(d, dOffset, bytes);
    long scoreAt = NativeViews.at(s, sOffset, bytes);
    int j = 0;
    for (; j <= n - LANES; j += LANES) {
      long at = (long) Float.BYTES * j;
      FloatVector weight = FloatVector.fromMemorySegment(F, weights, weightAt + at, LE);
      weight
          .mul(weight)
          .div(FloatVector.fromMemorySegment(F, squares, squareAt + at, LE))
          .intoMemorySegment(scores, scoreAt + at, LE);
    }
    for (; j < n; j++) {
      long at = (long) Float.BYTES * j;
      float weight = weights.get(JAVA_FLOAT, weightAt + at);
      float score = weight * weight / squares.get(JAVA_FLOAT, squareAt + at);
      scores.set(JAVA_FLOAT, scoreAt + at, score);
    }
  }

  // Transposing is scalar: a store for every element, which the first-level cache takes at one per
  // cycle, against 250 cycles per row that the sweep itself takes.

  @Override
  public void load(
      MemorySegment a, long aOffset, long lda, int rows, int width, MemorySegment panel) {
    ScalarSweepKernels.INSTANCE.load(a, aOffset, lda, rows, width, panel);
  }

  @Override
  public void store(
      MemorySegment panel, MemorySegment a, long aOffset, long lda, int rows, int width) {
    ScalarSweepKernels.INSTANCE.store(panel, a, aOffset, lda, rows, width);
  }

  @Override
  public void markBelow(
      MemorySegment panelIn, int width, MemorySegment d, float threshold, MemorySegment marksIn) {
    MemorySegment panel = NativeViews.base(panelIn);
    MemorySegment squares = NativeViews.base(d);
    MemorySegment marks = NativeViews.base(marksIn);
    long panelAt = NativeViews.at(panelIn, 0, COLUMN * width);
    long squareAt = NativeViews.at(d, 0, (long) Float.BYTES * width);
    long markAt = NativeViews.at(marksIn, 0, COLUMN * width);
    FloatVector zero = FloatVector.zero(F);
    for (int j = 0; j < width; j++) {
      float square = squares.get(JAVA_FLOAT, squareAt + (long) Float.BYTES * j);
      for (long at = COLUMN * j; at < COLUMN * (j + 1); at += BYTES) {
        FloatVector weight = FloatVector.fromMemorySegment(F, panel, panelAt + at, LE);
        VectorMask<Float> below =
            weight.mul(weight).div(square).compare(VectorOperators.LE, threshold);
        zero.blend(1, below).intoMemorySegment(marks, markAt + at, LE);
      }
    }
  }

  @Override
  public void sweep(
      MemorySegment upper,
      MemorySegment d,
      int width,
      MemorySegment panel,
      MemorySegment kept,
      MemorySegment marks,
      int prune,
      int of,
      MemorySegment losses) {
    int run = of > 0 ? of : width;
    for (int first = 0; first < width; first += run) {
      if (of > 0) {
        markSmallest(panel, d, first, prune, of, kept, marks);
      }
      for (int i = first; i < first + run; i += TILE) {
        int count = Math.min(TILE, first + run - i);
        settle(upper, i, count, panel, kept, marks, losses);
        spread(upper, i, count, width, panel);
      }
    }
  }

  /**
   * Marks by rank: a score comes before another where it is smaller, or equal and further left.
   *
   * @param scoresIn a panel, of which the columns of the run receive the scores
   */
  private static void markSmallest(
      MemorySegment panelIn,
      MemorySegment d,
      int first,
      int prune,
      int of,
      MemorySegment scoresIn,
      MemorySegment marksIn) {
    MemorySegment panel = NativeViews.base(panelIn);
    MemorySegment squares = NativeViews.base(d);
    MemorySegment scores = NativeViews.base(scoresIn);
    MemorySegment marks = NativeViews.base(marksIn);
    long panelAt = NativeViews.at(panelIn, COLUMN * first, COLUMN * of);
    long squareAt = NativeViews.at(d, (long) Float.BYTES * first, (long) Float.BYTES * of);
    long scoreAt = NativeViews.at(scoresIn, COLUMN * first, COLUMN * of);
    long markAt = NativeViews.at(marksIn, COLUMN * first, COLUMN * of);
    FloatVector zero = FloatVector.zero(F);
    for (int j = 0; j < of; j++) {
      float square = squares.get(JAVA_FLOAT, squareAt + (long) Float.BYTES * j);
      for (long at = COLUMN * j; at < COLUMN * (j + 1); at += BYTES) {
        FloatVector weight = FloatVector.fromMemorySegment(F, panel, panelAt + at, LE);
        weight.mul(weight).div(square).intoMemorySegment(scores, scoreAt + at, LE);
      }
    }
    for (int j = 0; j < of; j++) {
      for (long lane = 0; lane < COLUMN; lane += BYTES) {
        FloatVector score =
            FloatVector.fromMemorySegment(F, scores, scoreAt + COLUMN * j + lane, LE);
        FloatVector rank = zero;
        for (int other = 0; other < j; other++) {
          FloatVector left =
              FloatVector.fromMemorySegment(F, scores, scoreAt + COLUMN * other + lane, LE);
          rank = rank.add(1, left.compare(VectorOperators.LE, score));
        }
        for (int other = j + 1; other < of; other++) {
          FloatVector right =
              FloatVector.fromMemorySegment(F, scores, scoreAt + COLUMN * other + lane, LE);
          rank = rank.add(1, right.compare(VectorOperators.LT, score));
        }
        zero.blend(1, rank.compare(VectorOperators.LT, prune))
            .intoMemorySegment(marks, markAt + COLUMN * j + lane, LE);
      }
    }
  }

  /** Splits columns {@code i} to {@code i + count - 1} into e and q, one after the other. */
  private static void settle(
      MemorySegment upperIn,
      int i,
      int count,
      MemorySegment panelIn,
      MemorySegment keptIn,
      MemorySegment marksIn,
      MemorySegment lossesIn) {
    MemorySegment upper = NativeViews.base(upperIn);
    MemorySegment panel = NativeViews.base(panelIn);
    MemorySegment kept = NativeViews.base(keptIn);
    MemorySegment marks = NativeViews.base(marksIn);
    MemorySegment losses = NativeViews.base(lossesIn);
    long upperAt = NativeViews.at(upperIn, UPPER_ROW * i + (long) Float.BYTES * i, 0);
    long panelAt = NativeViews.at(panelIn, COLUMN * i, COLUMN * count);
    long keptAt = NativeViews.at(keptIn, COLUMN * i, COLUMN * count);
    long markAt = NativeViews.at(marksIn, COLUMN * i, COLUMN * count);
    long lossAt = NativeViews.at(lossesIn, 0, COLUMN);
    FloatVector zero = FloatVector.zero(F);
    for (int a = 0; a < count; a++) {
      long row = upperAt + UPPER_ROW * a;
      float diagonal = upper.get(JAVA_FLOAT, row + (long) Float.BYTES * a);
      for (long lane = 0; lane < COLUMN; lane += BYTES) {
        long at = COLUMN * a + lane;
        FloatVector weight = FloatVector.fromMemorySegment(F, panel, panelAt + at, LE);
        VectorMask<Float> pruned =
            FloatVector.fromMemorySegment(F, marks, markAt + at, LE).compare(VectorOperators.NE, 0);
        FloatVector error = zero.blend(weight.div(diagonal), pruned);
        weight.blend(zero, pruned).intoMemorySegment(kept, keptAt + at, LE);
        error.intoMemorySegment(panel, panelAt + at, LE);
        FloatVector.fromMemorySegment(F, losses, lossAt + lane, LE)
            .add(error.mul(error))
            .intoMemorySegment(losses, lossAt + lane, LE);
        for (int b = a + 1; b < count; b++) {
          float u = upper.get(JAVA_FLOAT, row + (long) Float.BYTES * b);
          long later = panelAt + COLUMN * b + lane;
          FloatVector.fromMemorySegment(F, panel, later, LE)
              .sub(error.mul(u))
              .intoMemorySegment(panel, later, LE);
        }
      }
    }
  }

  /**
   * Takes the errors of columns {@code i} to {@code i + count - 1} to all columns right of them.
   */
  private static void spread(
      MemorySegment upperIn, int i, int count, int width, MemorySegment panelIn) {
    MemorySegment upper = NativeViews.base(upperIn);
    MemorySegment panel = NativeViews.base(panelIn);
    int from = i + count;
    int columns = Math.min(width, WIDTH) - from;
    // In place of an error that is not there, the first is taken zero times: a vector that is
    // chosen by a branch could become an object.
    float has1 = count > 1 ? 1 : 0;
    float has2 = count > 2 ? 1 : 0;
    float has3 = count > 3 ? 1 : 0;
    long column1 = count > 1 ? COLUMN : 0;
    long column2 = count > 2 ? 2 * COLUMN : 0;
    long column3 = count > 3 ? 3 * COLUMN : 0;
    long u0 = NativeViews.at(upperIn, UPPER_ROW * i + (long) Float.BYTES * from, 0);
    long u1 = count > 1 ? u0 + UPPER_ROW : u0;
    long u2 = count > 2 ? u0 + 2 * UPPER_ROW : u0;
    long u3 = count > 3 ? u0 + 3 * UPPER_ROW : u0;
    long errorAt = NativeViews.at(panelIn, COLUMN * i, COLUMN * count);
    long panelAt = NativeViews.at(panelIn, COLUMN * from, COLUMN * columns);
    for (long lane = 0; lane < COLUMN; lane += 2 * BYTES) {
      long at = errorAt + lane;
      FloatVector l0 = error(panel, at, 1);
      FloatVector r0 = error(panel, at + BYTES, 1);
      FloatVector l1 = error(panel, at + column1, has1);
      FloatVector r1 = error(panel, at + column1 + BYTES, has1);
      FloatVector l2 = error(panel, at + column2, has2);
      FloatVector r2 = error(panel, at + column2 + BYTES, has2);
      FloatVector l3 = error(panel, at + column3, has3);
      FloatVector r3 = error(panel, at + column3 + BYTES, has3);
      for (int j = 0; j < columns; j++) {
        long target = panelAt + lane + COLUMN * j;
        long step = (long) Float.BYTES * j;
        FloatVector left = FloatVector.fromMemorySegment(F, panel, target, LE);
        FloatVector right = FloatVector.fromMemorySegment(F, panel, target + BYTES, LE);
        FloatVector u = FloatVector.broadcast(F, upper.get(JAVA_FLOAT, u0 + step));
        left = left.sub(l0.mul(u));
        right = right.sub(r0.mul(u));
        u = FloatVector.broadcast(F, upper.get(JAVA_FLOAT, u1 + step));
        left = left.sub(l1.mul(u));
        right = right.sub(r1.mul(u));
        u = FloatVector.broadcast(F, upper.get(JAVA_FLOAT, u2 + step));
        left = left.sub(l2.mul(u));
        right = right.sub(r2.mul(u));
        u = FloatVector.broadcast(F, upper.get(JAVA_FLOAT, u3 + step));
        left = left.sub(l3.mul(u));
        right = right.sub(r3.mul(u));
        left.intoMemorySegment(panel, target, LE);
        right.intoMemorySegment(panel, target + BYTES, LE);
      }
    }
  }

  private static FloatVector error(MemorySegment panel, long at, float factor) {
    return FloatVector.fromMemorySegment(F, panel, at, LE).mul(factor);
  }
}
