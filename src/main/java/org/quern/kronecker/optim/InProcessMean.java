package org.quern.kronecker.optim;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.time.Duration;
import java.util.Objects;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The exchange between workers that are threads of one process. Every element is added in the order
 * of the ranks, 0 first, in double; one worker that takes the same vectors as micro-batches in that
 * order ({@link Accumulation#MEAN}) has the same factors bit for bit.
 */
public final class InProcessMean {
  private static final ValueLayout.OfDouble F64 = ValueLayout.JAVA_DOUBLE_UNALIGNED;

  private final MemorySegment[] vectors;
  private final long patience;
  private final CyclicBarrier barrier;

  /**
   * An exchange.
   *
   * @param workers number of workers, at least 1
   * @param patience how long a worker waits for the others before all fail
   */
  public InProcessMean(int workers, Duration patience) {
    Ranges.atLeast("workers", workers, 1);
    vectors = new MemorySegment[workers];
    this.patience = patience.toNanos();
    barrier = new CyclicBarrier(workers, this::add);
  }

  /** The end of one worker. */
  public VectorMean worker(int rank) {
    Objects.checkIndex(rank, vectors.length);
    return flat -> reduce(rank, flat);
  }

  private void reduce(int rank, Tensor flat) {
    if (flat.type() != DType.F64 || !flat.isContiguous()) {
      throw new IllegalArgumentException("flat: expected a contiguous F64 vector, got " + flat);
    }
    vectors[rank] = flat.hostMemory().asSlice(0, flat.size() * Double.BYTES);
    try {
      barrier.await(patience, TimeUnit.NANOSECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("worker " + rank + " was interrupted in the exchange", e);
    } catch (BrokenBarrierException | TimeoutException e) {
      throw new IllegalStateException(
          "worker " + rank + ": expected all " + vectors.length + " workers in the exchange", e);
    }
  }

  /** Runs in the last worker that arrives, before any leaves. */
  private void add() {
    long bytes = vectors[0].byteSize();
    for (MemorySegment vector : vectors) {
      if (vector.byteSize() != bytes) {
        throw new IllegalStateException(
            "workers have vectors of different lengths: "
                + bytes / Double.BYTES
                + " and "
                + vector.byteSize() / Double.BYTES);
      }
    }
    for (long at = 0; at < bytes; at += Double.BYTES) {
      double sum = 0;
      for (MemorySegment vector : vectors) {
        sum += vector.get(F64, at);
      }
      for (MemorySegment vector : vectors) {
        vector.set(F64, at, sum);
      }
    }
  }
}
