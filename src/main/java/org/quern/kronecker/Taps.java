package org.quern.kronecker;

import java.util.Arrays;

/**
 * Which elements of one dimension each position of a {@link Window} meets over all outputs: runs of
 * elements one stride apart. Positions whose elements agree modulo the stride share a phase, and
 * all of a phase share a core of elements, so that each needs only its few others besides.
 */
final class Taps {
  private final Window window;

  /** By position: the remainder of its elements modulo the stride. */
  final int[] phase;

  /** By position: whether it meets the core of its phase. */
  final boolean[] core;

  /** By position: the run of elements before the core. */
  final int[] lowFirst;

  final int[] lowCount;

  /** By position: the run of elements behind the core. */
  final int[] highFirst;

  final int[] highCount;

  /** By phase: the core, empty where no position has the phase or those that have share nothing. */
  final int[] coreFirst;

  final int[] coreCount;
  private int extent = -1;

  Taps(Window window) {
    this.window = window;
    int kernel = window.kernel();
    int stride = window.stride();
    this.phase = new int[kernel];
    this.core = new boolean[kernel];
    this.lowFirst = new int[kernel];
    this.lowCount = new int[kernel];
    this.highFirst = new int[kernel];
    this.highCount = new int[kernel];
    this.coreFirst = new int[stride];
    this.coreCount = new int[stride];
  }

  int kernel() {
    return phase.length;
  }

  int stride() {
    return coreFirst.length;
  }

  /** Prepares for an input of {@code size} elements that has an output. */
  void prepare(int size) {
    if (size == extent) {
      return;
    }
    extent = size;
    int step = stride();
    long outputs = window.outputs(size);
    int[] coreEnd = coreCount;
    Arrays.fill(coreFirst, -1);
    for (int t = 0; t < kernel(); t++) {
      long start = (long) t * window.dilation() - window.padding();
      long from = Math.max(0, Math.ceilDiv(-start, (long) step));
      long to = Math.min(outputs, Math.floorDiv(size - 1 - start, (long) step) + 1);
      int q = (int) Math.floorMod(start, (long) step);
      phase[t] = q;
      // The whole run, until the cores are known.
      lowCount[t] = (int) Math.max(0, to - from);
      lowFirst[t] = lowCount[t] == 0 ? 0 : (int) (start + from * step);
      if (lowCount[t] > 0) {
        int end = lowFirst[t] + lowCount[t] * step;
        coreEnd[q] = coreFirst[q] < 0 ? end : Math.min(coreEnd[q], end);
        coreFirst[q] = Math.max(coreFirst[q], lowFirst[t]);
      }
    }
    for (int q = 0; q < step; q++) {
      coreCount[q] = coreFirst[q] < 0 ? 0 : Math.max(0, (coreEnd[q] - coreFirst[q]) / step);
    }
    for (int t = 0; t < kernel(); t++) {
      split(t, step);
    }
  }

  private void split(int t, int step) {
    int q = phase[t];
    int all = lowCount[t];
    core[t] = all > 0 && coreCount[q] > 0;
    highFirst[t] = 0;
    highCount[t] = 0;
    if (core[t]) {
      lowCount[t] = (coreFirst[q] - lowFirst[t]) / step;
      highFirst[t] = coreFirst[q] + coreCount[q] * step;
      highCount[t] = all - lowCount[t] - coreCount[q];
    }
  }
}
