package org.quern.jmh;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.infra.ThreadParams;
import org.quern.tensor.Tensor;

/**
 * The ceilings of memory: read, copy and update in place, on sets that fit each level. Every thread
 * works on memory of its own.
 */
public class BandwidthBenchmark extends VectorBenchmark {
  /** Where the working set lives. */
  public enum Place {
    /** Half the first-level cache. */
    L1,
    /** Half the second-level cache. */
    L2,
    /** Half the last-level cache shared by all threads, at most 64 MiB. */
    L3,
    /** Buffers in turn that hold more than the last-level cache. */
    DRAM;

    /** Bytes that one call touches: those of both its buffers. */
    long workingSet(Caches caches, int threads) {
      long bytes =
          switch (this) {
            case L1 -> caches.l1() / 2;
            case L2 -> caches.l2() / 2;
            case L3 -> Math.min(caches.l3() / 2, 64L << 20) / threads;
            case DRAM -> 64L << 20;
          };
      return bytes / GRAIN * GRAIN;
    }

    /** Sets used in turn by one thread. */
    int sets(Caches caches, int threads) {
      long needed = caches.beyond() / threads;
      return this == DRAM
          ? Math.max(2, (int) Math.ceilDiv(needed, workingSet(caches, threads)))
          : 1;
    }
  }

  private static final long GRAIN = 8 << 10;

  /** The buffers of one thread. */
  @State(Scope.Thread)
  public static class Buffers {
    @Param Place place;

    private Arena arena;
    private MemorySegment[] whole;
    private int turn;

    /** Allocates and touches every set. */
    @Setup
    public void allocate(ThreadParams thread) {
      Caches caches = Caches.detect();
      arena = Arena.ofShared();
      whole = new MemorySegment[place.sets(caches, thread.getThreadCount())];
      for (int i = 0; i < whole.length; i++) {
        long bytes = place.workingSet(caches, thread.getThreadCount());
        whole[i] = arena.allocate(bytes, Tensor.ALIGNMENT).fill((byte) (i + 1));
      }
    }

    /** Frees all sets. */
    @TearDown(Level.Trial)
    public void free() {
      arena.close();
    }

    private MemorySegment next() {
      turn = turn + 1 < whole.length ? turn + 1 : 0;
      return whole[turn];
    }
  }

  /** Reads the set. */
  @Benchmark
  public int read(Buffers buffers) {
    return Streams.read(buffers.next());
  }

  /** Reads one half of the set, writes the other. */
  @Benchmark
  public void copy(Buffers buffers) {
    MemorySegment set = buffers.next();
    long half = set.byteSize() / 2;
    MemorySegment.copy(set, 0, set, half, half);
  }

  /** Reads both halves of the set, writes one. */
  @Benchmark
  public void update(Buffers buffers) {
    MemorySegment set = buffers.next();
    long half = set.byteSize() / 2;
    Streams.update(set.asSlice(half, half), set.asSlice(0, half));
  }

  /**
   * Bytes that one call of a method moves; the lines that a write first fetches are not counted.
   */
  static long traffic(String method, Place place, Caches caches, int threads) {
    long set = place.workingSet(caches, threads);
    return method.equals("update") ? set / 2 * 3 : set;
  }
}
