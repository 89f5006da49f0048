package org.quern.jmh;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.quern.prune.ActivationStatistics;
import org.quern.prune.GradientNorm;
import org.quern.prune.GradientStatistics;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Sums over calibration data (K1, K2) beside their floors: activations are read, gradients and sums
 * are read and sums written. Data and sums are used in turn, beyond the last-level cache.
 */
public class StatisticsBenchmark extends VectorBenchmark {
  private static final long SET_BYTES = 64L << 20;

  /** Sets of data of [rows, columns] with sums of their own. */
  @State(Scope.Benchmark)
  public static class Sets {
    @Param({"4096", "11008"})
    int columns;

    @Param("F32")
    DType type;

    @Param("VECTOR")
    Tier tier;

    @Param("1")
    int threads;

    private Arena arena;
    private Tensor[] data;
    private MemorySegment[] words;
    private ActivationStatistics activations;
    private GradientStatistics[] gradients;
    private int turn;

    /** Fills the sets. */
    @Setup
    public void prepare() {
      arena = Arena.ofShared();
      long rows = SET_BYTES / columns / Float.BYTES;
      int sets = (int) Math.max(2, Math.ceilDiv(Caches.detect().beyond(), 2 * SET_BYTES));
      data = new Tensor[sets];
      words = new MemorySegment[sets];
      gradients = new GradientStatistics[sets];
      activations = new ActivationStatistics(columns, threads, tier);
      SplittableRandom random = new SplittableRandom(columns);
      for (int i = 0; i < sets; i++) {
        data[i] = Tensor.allocate(arena, type, rows, columns);
        data[i].fill(random.nextDouble() - 0.5);
        // The floor works on whole steps of four vectors.
        long bytes = data[i].memory().byteSize();
        words[i] = data[i].memory().asSlice(0, bytes - bytes % 256);
        gradients[i] =
            GradientStatistics.builder(rows, columns)
                .norms(GradientNorm.L1)
                .tier(tier)
                .threads(threads)
                .build(arena);
      }
    }

    /** Frees the sets. */
    @TearDown
    public void free() {
      arena.close();
    }

    private int next() {
      turn = turn + 1 < data.length ? turn + 1 : 0;
      return turn;
    }
  }

  /** Sums of squares of activations. */
  @Benchmark
  public void activations(Sets sets) {
    sets.activations.add(sets.data[sets.next()]);
  }

  /** Reads the activations. */
  @Benchmark
  public int activationsFloor(Sets sets) {
    return Streams.read(sets.words[sets.next()]);
  }

  /** Sums of magnitudes of gradients. */
  @Benchmark
  public void gradients(Sets sets) {
    int turn = sets.next();
    sets.gradients[turn].add(sets.data[turn]);
  }

  /** Reads two sets and writes one, as gradients of F32 and their sums demand. */
  @Benchmark
  public void gradientsFloor(Sets sets) {
    MemorySegment sums = sets.words[sets.next()];
    Streams.update(sums, sets.words[sets.next()]);
  }
}
