package org.quern.linalg;

import java.util.function.IntConsumer;
import java.util.stream.IntStream;

/** Runs independent parts of one call on the common pool. */
final class Parallel {
  private Parallel() {}

  /** Runs parts 0 to parts - 1, each once, and returns when all are done. */
  static void run(int parts, IntConsumer part) {
    IntStream.range(0, parts).parallel().forEach(part);
  }
}
