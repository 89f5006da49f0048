package org.quern.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.time.Duration;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ForkJoinPool;
import java.util.concurrent.ForkJoinTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicIntegerArray;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ParallelTest {
  record Range(long from, long to) {}

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 8, 100})
  void chunksCoverTheRangeOnceAndDoNotDependOnThreads(int threads) {
    for (int n : new int[] {0, 1, 7, 8, 9, 63, 64, 65, 1000}) {
      for (long grain : new long[] {1, 8, 64, 2000, Long.MAX_VALUE}) {
        AtomicIntegerArray visits = new AtomicIntegerArray(n);
        Set<Range> ranges = ConcurrentHashMap.newKeySet();
        Parallel.forRanges(
            n,
            grain,
            threads,
            (from, to, worker) -> {
              assertTrue(worker >= 0 && worker < threads, "worker " + worker);
              ranges.add(new Range(from, to));
              for (long i = from; i < to; i++) {
                visits.incrementAndGet((int) i);
              }
            });
        for (int i = 0; i < n; i++) {
          assertEquals(1, visits.get(i), "element " + i + " of " + n);
        }
        for (Range range : ranges) {
          assertEquals(0, range.from % grain);
          assertEquals(Math.min(grain, n - range.from), range.to - range.from);
        }
      }
    }
  }

  @Test
  void hugeRangesDoNotOverflow() {
    AtomicLong last = new AtomicLong();
    Parallel.forRanges(
        Long.MAX_VALUE,
        Long.MAX_VALUE / 2,
        2,
        (from, to, worker) -> last.accumulateAndGet(to, Math::max));
    assertEquals(Long.MAX_VALUE, last.get());
  }

  @Test
  void workersDoNotShareANumber() {
    int threads = 4;
    AtomicIntegerArray busy = new AtomicIntegerArray(threads);
    Parallel.forRanges(
        5_000,
        1,
        threads,
        (from, to, worker) -> {
          assertEquals(1, busy.incrementAndGet(worker), "threads with number " + worker);
          Thread.yield();
          busy.decrementAndGet(worker);
        });
  }

  @Test
  void aSecondThreadTakesPart() {
    CountDownLatch both = new CountDownLatch(2);
    Parallel.forRanges(
        2,
        1,
        2,
        (from, to, worker) -> {
          both.countDown();
          try {
            assertTrue(both.await(10, TimeUnit.SECONDS), "two threads meet");
          } catch (InterruptedException e) {
            throw new AssertionError(e);
          }
        });
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 5})
  void theLowestFailureIsThrownAndLaterChunksAreCancelled(int threads) {
    AtomicInteger runs = new AtomicInteger();
    for (int repeat = 0; repeat < 200; repeat++) {
      runs.set(0);
      IllegalStateException thrown =
          assertThrows(
              IllegalStateException.class,
              () ->
                  Parallel.forRanges(
                      1_000_000,
                      1,
                      threads,
                      (from, to, worker) -> {
                        runs.incrementAndGet();
                        if (from >= 10) {
                          throw new IllegalStateException("chunk " + from);
                        }
                        Thread.onSpinWait();
                      }));
      assertEquals("chunk 10", thrown.getMessage());
      assertTrue(runs.get() < 1_000, "chunks run after the failure: " + runs.get());
    }
  }

  @Test
  void errorsAreThrownAsTheyAre() {
    StackOverflowError error = new StackOverflowError("made up");
    Error thrown =
        assertThrows(
            StackOverflowError.class,
            () ->
                Parallel.forRanges(
                    100,
                    1,
                    2,
                    (from, to, worker) -> {
                      throw error;
                    }));
    assertEquals(error, thrown);
  }

  @Test
  void nestedCallsDoNotDeadlock() {
    long sum =
        assertTimeoutPreemptively(
            Duration.ofSeconds(30),
            () -> {
              AtomicLong total = new AtomicLong();
              Parallel.forRanges(
                  16,
                  1,
                  8,
                  (a, b, w) ->
                      Parallel.forRanges(
                          16,
                          1,
                          8,
                          (c, d, x) ->
                              Parallel.forRanges(16, 1, 8, (e, f, y) -> total.incrementAndGet())));
              return total.get();
            });
    assertEquals(16 * 16 * 16, sum);
  }

  @Test
  void aBusyPoolDoesNotStallTheCaller() throws Exception {
    CountDownLatch release = new CountDownLatch(1);
    List<ForkJoinTask<?>> hogs =
        IntStream.range(0, ForkJoinPool.getCommonPoolParallelism() + 2)
            .<ForkJoinTask<?>>mapToObj(i ->
                ForkJoinPool.commonPool()
                    .submit(() -> {
                      release.await();
                      return null;
                    }))
            .toList();
    try {
      AtomicInteger runs = new AtomicInteger();
      assertTimeoutPreemptively(
          Duration.ofSeconds(30),
          () -> Parallel.forRanges(100, 1, 4, (from, to, worker) -> runs.incrementAndGet()));
      assertEquals(100, runs.get());
    } finally {
      release.countDown();
      for (ForkJoinTask<?> hog : hogs) {
        hog.join();
      }
    }
  }

  @Test
  void anInterruptIsKeptForTheCaller() {
    Thread.currentThread().interrupt();
    AtomicInteger runs = new AtomicInteger();
    Parallel.forRanges(100, 1, 2, (from, to, worker) -> runs.incrementAndGet());
    assertTrue(Thread.interrupted());
    assertEquals(100, runs.get());
  }

  @Test
  void floatSumsHaveTheSameBitsForAnyNumberOfThreads() {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    for (int n : new int[] {1, 2, 31, 32, 33, 1000, 4099}) {
      double[] values = random.doubles(n).map(x -> Math.exp(40 * (x - 0.5))).toArray();
      double expected = tree(values, 0, n, 32);
      for (int threads : new int[] {1, 2, 3, 7}) {
        double sum =
            Parallel.reduce(n, 32, threads, (from, to) -> sum(values, from, to), Double::sum);
        assertEquals(
            Double.doubleToLongBits(expected),
            Double.doubleToLongBits(sum),
            "seed " + seed + ", n " + n + ", threads " + threads);
      }
    }
  }

  /** The documented tree, written the other way round: from the root down. */
  private static double tree(double[] values, int from, int to, int grain) {
    int chunks = Math.ceilDiv(to - from, grain);
    if (chunks <= 1) {
      return sum(values, from, to);
    }
    int left = Integer.highestOneBit(chunks - 1) * grain;
    return tree(values, from, from + left, grain) + tree(values, from + left, to, grain);
  }

  private static double sum(double[] values, long from, long to) {
    double sum = 0;
    for (long i = from; i < to; i++) {
      sum += values[(int) i];
    }
    return sum;
  }

  @Test
  void combineKeepsTheOrderOfChunks() {
    String joined =
        Parallel.reduce(26, 1, 4, (from, to) -> "" + (char) ('a' + from), String::concat);
    assertEquals("abcdefghijklmnopqrstuvwxyz", joined);
  }

  @Test
  void anEmptyReductionMapsTheEmptyRange() {
    assertEquals("0..0", Parallel.reduce(0, 5, 2, (from, to) -> from + ".." + to, String::concat));
  }

  @Test
  void oneThreadAllocatesNothing() {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long[] total = new long[1];
    Parallel.RangeBody body = (from, to, worker) -> total[0] += to - from;
    long before = 0;
    for (int i = 0; i < 20_000; i++) {
      if (i == 10_000) {
        before = threads.getCurrentThreadAllocatedBytes();
      }
      Parallel.forRanges(1000, 10, 1, body);
    }
    long allocated = threads.getCurrentThreadAllocatedBytes() - before;
    assertTrue(allocated < 10_000, "bytes per call: " + allocated / 10_000.0);
    assertEquals(20_000_000, total[0]);
  }

  @Test
  void argumentsAreChecked() {
    assertThrows(
        IllegalArgumentException.class, () -> Parallel.forRanges(-1, 1, 1, (f, t, w) -> {}));
    assertThrows(
        IllegalArgumentException.class, () -> Parallel.forRanges(1, 0, 1, (f, t, w) -> {}));
    assertThrows(
        IllegalArgumentException.class, () -> Parallel.forRanges(1, 1, 0, (f, t, w) -> {}));
    assertThrows(
        IllegalArgumentException.class,
        () -> Parallel.reduce(1L << 40, 1, 1, (f, t) -> "", String::concat));
  }
}
