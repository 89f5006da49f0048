package org.quern.jmh;

import java.util.Locale;
import java.util.SortedMap;
import java.util.TreeMap;

/** What a time means: work per second, and its relation to the ceiling measured in the same run. */
final class Rate {
  /** Where the arithmetic ceiling of one thread is. */
  static final Key PEAK = new Key("FmaPeakBenchmark.fma", new TreeMap<>(), 1);

  private Rate() {}

  /** Work per second by the median, empty where the benchmark has no unit of work. */
  static String perSecond(Key key, Samples samples, Caches caches) {
    double seconds = samples.median() * 1e-6 / key.threads();
    String method = key.benchmark().substring(key.benchmark().indexOf('.') + 1);
    return switch (key.benchmark().substring(0, key.benchmark().indexOf('.'))) {
      case "BandwidthBenchmark" -> {
        var place = BandwidthBenchmark.Place.valueOf(key.params().get("place"));
        long bytes = BandwidthBenchmark.traffic(method, place, caches, key.threads());
        yield format(bytes / seconds / 1e9, "GB/s");
      }
      case "FmaPeakBenchmark" -> format(FmaPeakBenchmark.FLOPS / seconds / 1e9, "GFLOP/s");
      case "GemmBenchmark", "GemmPollutedBenchmark" -> {
        int size = Integer.parseInt(key.params().get("size"));
        yield format(GemmBenchmark.flops(size) / seconds / 1e9, "GFLOP/s");
      }
      case "KroneckerPreconditionBenchmark" ->
          method.equals("precondition")
              ? format(preconditionFlops(key) / seconds / 1e9, "GFLOP/s")
              : "";
      case "ConversionBenchmark" ->
          format(ConversionBenchmark.ELEMENTS / seconds / 1e9, "G elements/s");
      default -> {
        long units = GauntBars.units(key);
        yield units == 0 ? "" : format(samples.median() * 1e3 / units, "ns");
      }
    };
  }

  /** The relation to the ceiling by medians, empty where none was measured. */
  static String toCeiling(Key key, SortedMap<Key, Samples> measured) {
    Samples samples = measured.get(key);
    Samples floor = measured.get(key.of("PruneBenchmark.floor"));
    // The layer of PruneAllocationBenchmark is another one.
    if (key.benchmark().matches("Prune(Polluted)?Benchmark.prune") && floor != null) {
      return format(samples.median() / floor.median(), "x floor");
    }
    Samples refresh = measured.get(key.of("KroneckerRefreshBenchmark.floor"));
    if (key.benchmark().equals("KroneckerRefreshBenchmark.update") && refresh != null) {
      return format(samples.median() / refresh.median(), "x floor");
    }
    Samples peak = measured.get(PEAK);
    if (key.benchmark().startsWith("Gemm") && peak != null && key.has("threads", "1")) {
      long flops = GemmBenchmark.flops(Integer.parseInt(key.params().get("size")));
      double share = flops / samples.median() / (FmaPeakBenchmark.FLOPS / peak.median());
      return format(100 * share, "% of FMA peak");
    }
    Samples copy = measured.get(key.of("GauntStreamBenchmark.copy"));
    if (key.benchmark().equals("GauntStreamBenchmark.multiply") && copy != null) {
      return format(100 * copy.median() / samples.median(), "% of copy");
    }
    if (key.benchmark().equals("GauntConvolutionBenchmark.forward") && peak != null) {
      double flops = 2.0 * GauntConvolutionBenchmark.MULTIPLY_ADDS * GauntBars.units(key);
      double share = flops / samples.median() / (FmaPeakBenchmark.FLOPS / peak.median());
      return format(100 * share, "% of FMA peak");
    }
    boolean precondition = key.benchmark().equals("KroneckerPreconditionBenchmark.precondition");
    if (precondition && peak != null && key.has("threads", "1")) {
      double share =
          preconditionFlops(key) / samples.median() / (FmaPeakBenchmark.FLOPS / peak.median());
      return format(100 * share, "% of FMA peak");
    }
    return "";
  }

  private static long preconditionFlops(Key key) {
    var factors = KroneckerPreconditionBenchmark.Factors.valueOf(key.params().get("factors"));
    return KroneckerPreconditionBenchmark.flops(Integer.parseInt(key.params().get("d")), factors);
  }

  private static String format(double value, String unit) {
    return String.format(Locale.ROOT, "%.2f %s", value, unit);
  }
}
