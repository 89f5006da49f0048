package org.quern.prune.reconstruct;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.lang.foreign.MemorySegment;
import org.quern.runtime.NativeViews;

/** The formula as it reads. */
final class ScalarSweepKernels implements SweepKernels {
  static final ScalarSweepKernels INSTANCE = new ScalarSweepKernels();

  private ScalarSweepKernels() {}

  @Override
  public void score(
      MemorySegment w,
      long wOffset,
      MemorySegment d,
      long dOffset,
      MemorySegment s,
      long sOffset,
      int n) {
    MemorySegment weights = NativeViews.exact(w);
    MemorySegment squares = NativeViews.exact(d);
    MemorySegment scores = NativeViews.exact(s);
    for (int j = 0; j < n; j++) {
      long at = (long) Float.BYTES * j;
      float weight = weights.get(JAVA_FLOAT, wOffset + at);
      float score = weight * weight / squares.get(JAVA_FLOAT, dOffset + at);
      scores.set(JAVA_FLOAT, sOffset + at, score);
    }
  }

  @Override
  public void load(
      MemorySegment a, long aOffset, long lda, int rows, int width, MemorySegment panel) {
    MemorySegment from = NativeViews.exact(a);
    MemorySegment to = NativeViews.exact(panel);
    // Row by row, because rows a power of two apart share one set of the cache.
    for (int r = 0; r < ROWS; r++) {
      for (int j = 0; j < width; j++) {
        long at = aOffset + Float.BYTES * (r * lda + j);
        to.setAtIndex(JAVA_FLOAT, (long) j * ROWS + r, r < rows ? from.get(JAVA_FLOAT, at) : 0);
      }
    }
  }

  @Override
  public void store(
      MemorySegment panel, MemorySegment a, long aOffset, long lda, int rows, int width) {
    MemorySegment from = NativeViews.exact(panel);
    MemorySegment to = NativeViews.exact(a);
    for (int r = 0; r < rows; r++) {
      for (int j = 0; j < width; j++) {
        float value = from.getAtIndex(JAVA_FLOAT, (long) j * ROWS + r);
        to.set(JAVA_FLOAT, aOffset + Float.BYTES * (r * lda + j), value);
      }
    }
  }

  @Override
  public void markBelow(
      MemorySegment panel, int width, MemorySegment d, float threshold, MemorySegment marks) {
    MemorySegment weights = NativeViews.exact(panel);
    MemorySegment squares = NativeViews.exact(d);
    MemorySegment out = NativeViews.exact(marks);
    for (int j = 0; j < width; j++) {
      for (int r = 0; r < ROWS; r++) {
        float score = score(weights, squares, j, r);
        out.setAtIndex(JAVA_FLOAT, (long) j * ROWS + r, score <= threshold ? 1 : 0);
      }
    }
  }

  private static float score(MemorySegment weights, MemorySegment squares, int column, int row) {
    float weight = weights.getAtIndex(JAVA_FLOAT, (long) column * ROWS + row);
    return weight * weight / squares.getAtIndex(JAVA_FLOAT, column);
  }

  @Override
  public void sweep(
      MemorySegment upperIn,
      MemorySegment d,
      int width,
      MemorySegment panelIn,
      MemorySegment keptIn,
      MemorySegment marksIn,
      int prune,
      int of,
      MemorySegment lossesIn) {
    MemorySegment upper = NativeViews.exact(upperIn);
    MemorySegment squares = NativeViews.exact(d);
    MemorySegment panel = NativeViews.exact(panelIn);
    MemorySegment kept = NativeViews.exact(keptIn);
    MemorySegment marks = NativeViews.exact(marksIn);
    MemorySegment losses = NativeViews.exact(lossesIn);
    for (int r = 0; r < ROWS; r++) {
      float loss = losses.getAtIndex(JAVA_FLOAT, r);
      for (int i = 0; i < width; i++) {
        if (of > 0 && i % of == 0) {
          markSmallest(panel, squares, i, r, prune, of, marks);
        }
        long at = (long) i * ROWS + r;
        float weight = panel.getAtIndex(JAVA_FLOAT, at);
        boolean pruned = marks.getAtIndex(JAVA_FLOAT, at) != 0;
        float error = pruned ? weight / upper.getAtIndex(JAVA_FLOAT, (long) i * WIDTH + i) : 0;
        kept.setAtIndex(JAVA_FLOAT, at, pruned ? 0 : weight);
        panel.setAtIndex(JAVA_FLOAT, at, error);
        loss += error * error;
        for (int j = i + 1; j < width && pruned; j++) {
          long later = (long) j * ROWS + r;
          float change = error * upper.getAtIndex(JAVA_FLOAT, (long) i * WIDTH + j);
          panel.setAtIndex(JAVA_FLOAT, later, panel.getAtIndex(JAVA_FLOAT, later) - change);
        }
      }
      losses.setAtIndex(JAVA_FLOAT, r, loss);
    }
  }

  /** Marks by rank: a score comes before another where it is smaller, or equal and further left. */
  private static void markSmallest(
      MemorySegment panel,
      MemorySegment squares,
      int first,
      int row,
      int prune,
      int of,
      MemorySegment marks) {
    for (int j = first; j < first + of; j++) {
      float score = score(panel, squares, j, row);
      int rank = 0;
      for (int other = first; other < first + of; other++) {
        float otherScore = score(panel, squares, other, row);
        boolean before = other < j ? otherScore <= score : otherScore < score;
        rank += before ? 1 : 0;
      }
      marks.setAtIndex(JAVA_FLOAT, (long) j * ROWS + row, rank < prune ? 1 : 0);
    }
  }
}
