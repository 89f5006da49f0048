package org.quern.jmh;

import java.util.Collections;
import java.util.Comparator;
import java.util.Set;
import java.util.SortedMap;
import java.util.TreeMap;

/**
 * Names one measurement.
 *
 * @param benchmark class and method, as in {@code PruneBenchmark.floor}
 * @param params parameters by name
 * @param threads threads that called the benchmark
 */
record Key(String benchmark, SortedMap<String, String> params, int threads)
    implements Comparable<Key> {
  private static final Comparator<Key> ORDER =
      Comparator.comparing(Key::benchmark)
          .thenComparing(key -> key.params().toString())
          .thenComparing(Key::threads);

  /** Keeps a copy of the parameters. */
  Key {
    params = Collections.unmodifiableSortedMap(new TreeMap<>(params));
  }

  /** The measurement of another benchmark with the same parameters. */
  Key of(String other) {
    return new Key(other, params, threads);
  }

  /** The measurement of another benchmark with the same values of the parameters named alone. */
  Key peer(String other, String... names) {
    SortedMap<String, String> common = new TreeMap<>(params);
    common.keySet().retainAll(Set.of(names));
    return new Key(other, common, threads);
  }

  /** The measurement with another value of one parameter. */
  Key with(String param, String value) {
    SortedMap<String, String> changed = new TreeMap<>(params);
    changed.put(param, value);
    return new Key(benchmark, changed, threads);
  }

  /** True where the parameter has the value. */
  boolean has(String param, String value) {
    return value.equals(params.get(param));
  }

  @Override
  public int compareTo(Key other) {
    return ORDER.compare(this, other);
  }
}
