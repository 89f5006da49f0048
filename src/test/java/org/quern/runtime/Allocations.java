package org.quern.runtime;

import com.sun.management.ThreadMXBean;
import java.lang.management.ManagementFactory;
import java.util.function.IntConsumer;

/** Bytes that warm calls allocate on the heap; for programs that {@link ChildJvm} runs. */
public final class Allocations {
  private Allocations() {}

  /**
   * The least bytes per call of many rounds: code of the Vector API that C2 has not compiled yet
   * allocates. Ends with the first round that allocates less than a byte per call.
   *
   * @param seconds how long to wait for such a round
   * @param calls calls in a round
   * @param body receives the number of the call in its round
   */
  public static long perCall(int seconds, int calls, IntConsumer body) {
    ThreadMXBean threads = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long least = Long.MAX_VALUE;
    for (long end = System.nanoTime() + seconds * 1_000_000_000L;
        least >= calls && System.nanoTime() < end; ) {
      long before = threads.getCurrentThreadAllocatedBytes();
      for (int call = 0; call < calls; call++) {
        body.accept(call);
      }
      least = Math.min(least, threads.getCurrentThreadAllocatedBytes() - before);
    }
    return least / calls;
  }
}
