package org.quern.runtime;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BinaryOperator;
import org.jspecify.annotations.Nullable;

/**
 * Fork-join over ranges. The range {@code [0, n)} is cut into chunks of {@code grain} elements; the
 * cut depends on {@code n} and {@code grain} alone, so that results do not depend on the number of
 * threads. Chunks are claimed in ascending order by the calling thread and by helpers from the
 * common {@link ForkJoinPool}.
 *
 * <p>The caller always works and waits only for chunks that a running thread has claimed, so that a
 * nested call, or a pool with no free thread, cannot deadlock.
 */
public final class Parallel {
  private Parallel() {}

  /** Work on one chunk. */
  @FunctionalInterface
  public interface RangeBody {
    /**
     * Works on the elements {@code [from, to)}.
     *
     * @param from first element
     * @param to one past the last element
     * @param worker number of the thread in this call, from 0 (the caller) to {@code threads - 1};
     *     no two threads share one, so it may index scratch memory
     */
    void run(long from, long to, int worker);
  }

  /**
   * The result of one chunk.
   *
   * @param <T> type of the result
   */
  @FunctionalInterface
  public interface RangeFunction<T> {
    /** The result of the elements {@code [from, to)}. */
    T apply(long from, long to);
  }

  /**
   * Runs {@code body} over all chunks of {@code [0, n)} and returns when they are complete. With
   * one thread it runs inline, chunk after chunk, and allocates nothing.
   *
   * <p>Where chunks throw, no further chunk is started and the exception of the lowest chunk is
   * thrown: the same one for any number of threads.
   *
   * @param n number of elements, &ge; 0
   * @param grain elements per chunk, &ge; 1; the last chunk may be shorter
   * @param threads most threads that may work at a time, the caller among them, &ge; 1
   * @throws IllegalArgumentException where an argument is out of its range
   */
  public static void forRanges(long n, long grain, int threads, RangeBody body) {
    long chunks = chunks(n, grain, threads);
    int workers = (int) Math.min(threads, chunks);
    if (workers <= 1) {
      for (long chunk = 0; chunk < chunks; chunk++) {
        long from = chunk * grain;
        body.run(from, from + Math.min(grain, n - from), 0);
      }
      return;
    }
    Job job = new Job(n, grain, chunks, body);
    for (int i = 1; i < workers; i++) {
      ForkJoinPool.commonPool().execute(job);
    }
    job.work(0);
    job.await();
  }

  /**
   * Maps every chunk of {@code [0, n)} and combines the results pairwise in a fixed tree over the
   * chunks: neighbours first, then neighbours of those. Bit-identical for any number of threads.
   *
   * @param n number of elements, &ge; 0; for 0 the result is {@code map.apply(0, 0)}
   * @param grain elements per chunk, &ge; 1, so large that there are fewer than 2<sup>31</sup>
   *     chunks
   * @param threads most threads that may work at a time, &ge; 1
   * @param map the result of one chunk
   * @param combine joins the results of two neighbouring runs of chunks, the lower one first
   * @param <T> type of the results
   * @throws IllegalArgumentException where an argument is out of its range
   */
  public static <T> T reduce(
      long n, long grain, int threads, RangeFunction<T> map, BinaryOperator<T> combine) {
    long chunks = chunks(n, grain, threads);
    if (chunks > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          "grain: expected fewer than 2^31 chunks of " + n + " elements, got grain " + grain);
    }
    if (chunks <= 1) {
      return map.apply(0, n);
    }
    @SuppressWarnings("unchecked")
    T[] results = (T[]) new Object[(int) chunks];
    forRanges(
        n,
        grain,
        threads,
        (from, to, worker) -> results[(int) (from / grain)] = map.apply(from, to));
    for (long stride = 1; stride < chunks; stride *= 2) {
      for (long i = 0; i + stride < chunks; i += 2 * stride) {
        results[(int) i] = combine.apply(results[(int) i], results[(int) (i + stride)]);
      }
    }
    return results[0];
  }

  private static long chunks(long n, long grain, int threads) {
    if (n < 0) {
      throw new IllegalArgumentException("n: expected >= 0, got " + n);
    }
    if (grain < 1) {
      throw new IllegalArgumentException("grain: expected >= 1, got " + grain);
    }
    if (threads < 1) {
      throw new IllegalArgumentException("threads: expected >= 1, got " + threads);
    }
    return Math.ceilDiv(n, grain);
  }

  /** One call of {@link #forRanges}, run by every thread that takes part in it. */
  private static final class Job implements Runnable {
    private final long n;
    private final long grain;
    private final long chunks;
    private final RangeBody body;
    private final AtomicLong claimed = new AtomicLong();
    private final AtomicLong completed = new AtomicLong();
    private final AtomicInteger helpers = new AtomicInteger();
    private final CountDownLatch done = new CountDownLatch(1);

    /** Guarded by this; the lowest chunk that failed is also read without the lock, as a hint. */
    private volatile long failedChunk = Long.MAX_VALUE;

    private @Nullable Throwable failure;

    Job(long n, long grain, long chunks, RangeBody body) {
      this.n = n;
      this.grain = grain;
      this.chunks = chunks;
      this.body = body;
    }

    /** Entry of a helper; one that starts late finds nothing to claim and leaves the body alone. */
    @Override
    public void run() {
      work(helpers.incrementAndGet());
    }

    void work(int worker) {
      for (long chunk = claimed.getAndIncrement();
          chunk < chunks;
          chunk = claimed.getAndIncrement()) {
        // Chunks below a failed one still run: the lowest failure is the one to report.
        if (chunk < failedChunk) {
          long from = chunk * grain;
          try {
            body.run(from, from + Math.min(grain, n - from), worker);
          } catch (Throwable e) {
            fail(chunk, e);
          }
        }
        if (completed.incrementAndGet() == chunks) {
          done.countDown();
        }
      }
    }

    private synchronized void fail(long chunk, Throwable cause) {
      if (chunk < failedChunk) {
        failedChunk = chunk;
        failure = cause;
      }
    }

    void await() {
      boolean interrupted = false;
      while (true) {
        try {
          done.await();
          break;
        } catch (InterruptedException e) {
          interrupted = true;
        }
      }
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
      synchronized (this) {
        if (failure instanceof RuntimeException e) {
          throw e;
        }
        if (failure instanceof Error e) {
          throw e;
        }
        if (failure != null) {
          throw new IllegalStateException("a chunk threw a checked exception", failure);
        }
      }
    }
  }
}
