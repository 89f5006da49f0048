package org.quern.jmh;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * What was measured of one benchmark in all rounds: microseconds per call, and bytes allocated per
 * call.
 */
final class Samples {
  private final List<Double> micros = new ArrayList<>();
  private final List<Double> bytes = new ArrayList<>();

  /** Adds {@code count} calls or iterations of one duration. */
  void addMicros(double value, long count) {
    micros.addAll(Collections.nCopies(Math.toIntExact(count), value));
  }

  /** Adds the bytes per call of one fork. */
  void addBytes(double value) {
    bytes.add(value);
  }

  /** Shortest time. */
  double min() {
    return Collections.min(micros);
  }

  /** Median time; the mean of the middle two where their number is even. */
  double median() {
    return median(micros);
  }

  /** Median of the bytes per call, NaN where they were not measured. */
  double bytes() {
    return bytes.isEmpty() ? Double.NaN : median(bytes);
  }

  private static double median(List<Double> values) {
    List<Double> sorted = values.stream().sorted().toList();
    int half = sorted.size() / 2;
    return sorted.size() % 2 == 1
        ? sorted.get(half)
        : (sorted.get(half - 1) + sorted.get(half)) / 2;
  }
}
