package org.quern.jmh;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;

class SummaryTest {
  private final SortedMap<Key, Samples> measured = new TreeMap<>();

  @Test
  void medianAndMinimumCountEveryCall() {
    Samples samples = new Samples();
    samples.addMicros(5, 3);
    samples.addMicros(1, 1);
    samples.addMicros(9, 1);
    assertEquals(5, samples.median());
    assertEquals(1, samples.min());
    samples.addMicros(9, 3);
    assertEquals(7, samples.median());
    assertTrue(Double.isNaN(samples.bytes()));
  }

  @Test
  void comparesWithTheFloorOfTheSameParameters() {
    add("PruneBenchmark.floor", prune("2:4", "GAUSSIAN"), 8000, 10000);
    add("PruneBenchmark.floor", prune("0.5", "GAUSSIAN"), 1, 1);
    add("PruneBenchmark.prune", prune("2:4", "GAUSSIAN"), 9000, 13000);
    Bar bar = only(Bar.of(measured));
    assertEquals(11000.0 / 9000, bar.median(), 1e-12);
    assertEquals(9000.0 / 8000, bar.min(), 1e-12);
    assertEquals(1.3, bar.limit());
    assertTrue(bar.holds());
    assertTrue(Summary.text(measured, new Caches(1, 1, 1)).contains("1.22 x floor"));
  }

  @Test
  void everyPatternHasItsLimit() {
    for (String pattern : List.of("0.5", "2:4", "4:8")) {
      add("PruneBenchmark.floor", prune(pattern, "GAUSSIAN"), 100);
      add("PruneBenchmark.prune", prune(pattern, "GAUSSIAN"), 145);
    }
    assertEquals(List.of(1.4, 1.3, 1.5), Bar.of(measured).stream().map(Bar::limit).toList());
    assertEquals(List.of(false, false, true), Bar.of(measured).stream().map(Bar::holds).toList());
  }

  @Test
  void hardRowsAreComparedWithOrdinaryOnes() {
    add("PruneBenchmark.prune", prune("4:8", "GAUSSIAN"), 100);
    add("PruneBenchmark.prune", prune("4:8", "TIES"), 301);
    Bar bar = only(Bar.of(measured));
    assertEquals(3.01, bar.median(), 1e-12);
    assertFalse(bar.holds());
  }

  @Test
  void pollutedIsComparedWithClean() {
    add("PruneBenchmark.prune", prune("0.5", "GAUSSIAN"), 100);
    add("PrunePollutedBenchmark.prune", prune("0.5", "GAUSSIAN"), 129);
    add("GemmPollutedBenchmark.multiply", Map.of("size", "64"), 1);
    Bar bar = only(Bar.of(measured));
    assertEquals(1.29, bar.median(), 1e-12);
    assertTrue(bar.holds());
  }

  @Test
  void gauntProductsHaveBarsPerProductAndChannel() {
    Map<String, String> few = gaunt("4-4-8", "2");
    Map<String, String> many = gaunt("4-4-8", "32");
    // 2 rows of 128 channels, 40 ns each; the gradients twice that.
    add("GauntBenchmark.multiply", few, 10.24);
    add("GauntBenchmark.gradients", few, 20.48);
    add("GauntPollutedBenchmark.multiply", few, 11.264);
    add("GauntBenchmark.multiply", many, 100);
    add("TorchGauntBenchmark.fourier", Map.of("degrees", "4-4-8", "rows", "32"), 12000);
    add("TorchGauntBenchmark.dense", Map.of("degrees", "4-4-8", "rows", "32"), 1400);
    add("GauntStreamBenchmark.multiply", few, 30);
    add("GauntStreamBenchmark.copy", few, 21);
    List<Bar> bars = Bar.of(measured);
    assertEquals(
        List.of(
            "product and gradients 4-4-8 / product",
            "product 4-4-8, ns",
            "PyTorch, Fourier route / product 4-4-8",
            "PyTorch, dense matrix / product 4-4-8",
            "product 4-4-8, polluted / clean",
            "stream 4-4-8, share of copy"),
        bars.stream().map(Bar::name).toList());
    double[] figures = {3, 40, 120, 14, 1.1, 0.7};
    for (int i = 0; i < figures.length; i++) {
      assertEquals(figures[i], bars.get(i).median(), 1e-9, bars.get(i).name());
    }
    assertEquals(
        List.of(true, false, true, false, true, true), bars.stream().map(Bar::holds).toList());
    assertTrue(Summary.text(measured, new Caches(1, 1, 1)).contains("40.00 ns"));
  }

  @Test
  void convolutionsCostTheSamePerEdge() {
    add("GauntConvolutionBenchmark.forward", Map.of("edges", "1000"), 704);
    add("GauntConvolutionBenchmark.forward", Map.of("edges", "10000"), 10240);
    List<Bar> bars = Bar.of(measured);
    assertEquals(16, bars.get(0).median(), 1e-9);
    assertEquals(16.0 / 11, bars.get(1).median(), 1e-9);
    assertEquals(11, bars.get(2).median(), 1e-9);
    assertEquals(List.of(false, false, true), bars.stream().map(Bar::holds).toList());
  }

  private static Map<String, String> gaunt(String degrees, String rows) {
    return Map.of("degrees", degrees, "rows", rows, "algorithm", "AUTO");
  }

  @Test
  void allocationMustStayBelowOneByte() {
    Key key = new Key("PruneAllocationBenchmark.prune", new TreeMap<>(prune("0.5", "GAUSSIAN")), 1);
    Samples samples = new Samples();
    measured.put(key, samples);
    assertTrue(Bar.of(measured).isEmpty());
    samples.addBytes(1);
    assertFalse(only(Bar.of(measured)).holds());
  }

  @Test
  void productIsComparedWithThePeak() {
    // At the peak's rate, and at half of it.
    double ideal = (double) GemmBenchmark.flops(1024) / FmaPeakBenchmark.FLOPS * 40;
    add("FmaPeakBenchmark.fma", Map.of(), 40);
    add("GemmBenchmark.multiply", Map.of("size", "1024", "threads", "1"), ideal, 3 * ideal);
    Bar bar = only(Bar.of(measured));
    assertEquals(0.5, bar.median(), 1e-12);
    assertEquals(1, bar.min(), 1e-12);
    assertFalse(bar.holds());
  }

  @Test
  void theOptimizersShareIsWhatItAddsToThePasses() {
    add("KroneckerStepBenchmark.pass", Map.of("d", "768", "threads", "1"), 100);
    add("KroneckerStepBenchmark.pass", Map.of("d", "768", "threads", "2"), 1);
    add("KroneckerStepBenchmark.train", step("NONE"), 110);
    add("KroneckerStepBenchmark.train", step("LOW_RANK"), 139);
    Bar bar = only(Bar.of(measured));
    assertEquals(0.39, bar.median(), 1e-12);
    assertTrue(bar.holds());
  }

  @Test
  void theFamilyIsComparedWithPyTorchOfTheSameDimension() {
    Map<String, String> layer = Map.of("d", "1024", "factors", "LOW_RANK", "threads", "1");
    add("KroneckerPreconditionBenchmark.precondition", layer, 100);
    add("KroneckerPreconditionBenchmark.floor", layer, 80);
    add("TorchPreconditionBenchmark.precondition", Map.of("d", "1024"), 1400, 1600);
    add("TorchPreconditionBenchmark.precondition", Map.of("d", "4096"), 1);
    List<Bar> bars = Bar.of(measured);
    assertEquals(List.of(1.25, 15.0), bars.stream().map(Bar::median).toList());
    assertEquals(List.of(1.25, 14.0), bars.stream().map(Bar::min).toList());
    assertEquals(List.of(true, true), bars.stream().map(Bar::holds).toList());
  }

  @Test
  void aRefreshHasItsTimeItsFloorAndItsPeer() {
    Map<String, String> factor = Map.of("d", "768", "kept", "SYM_TILED", "tier", "VECTOR");
    add("KroneckerRefreshBenchmark.update", factor, 25);
    add("KroneckerRefreshBenchmark.floor", factor, 20);
    add("TorchRefreshBenchmark.update", Map.of("d", "768"), 1000);
    add("KroneckerLowRankBenchmark.update", Map.of("d", "4096", "columns", "STEADY"), 9);
    add("KroneckerLowRankBenchmark.update", Map.of("d", "4096", "columns", "RECOMPRESSED"), 99);
    List<Bar> bars = Bar.of(measured);
    assertEquals(List.of(9.0, 25.0, 1.25, 40.0), bars.stream().map(Bar::median).toList());
    assertEquals(List.of(true, false, true, false), bars.stream().map(Bar::holds).toList());
  }

  private static Map<String, String> step(String factors) {
    return Map.of("d", "768", "threads", "1", "factors", factors, "every", "10");
  }

  @Test
  void ratesOfBandwidthCountAllThreads() {
    Caches caches = new Caches(32 << 10, 1 << 20, 32 << 20);
    Key key = new Key("BandwidthBenchmark.update", new TreeMap<>(Map.of("place", "DRAM")), 2);
    Samples samples = new Samples();
    samples.addMicros(1e6, 1);
    // 96 MiB per thread and second.
    assertEquals("0.20 GB/s", Rate.perSecond(key, samples, caches));
  }

  private void add(String benchmark, Map<String, String> params, double... micros) {
    Samples samples = new Samples();
    for (double value : micros) {
      samples.addMicros(value, 1);
    }
    measured.put(new Key(benchmark, new TreeMap<>(params), 1), samples);
  }

  private static Map<String, String> prune(String pattern, String rows) {
    return Map.of(
        "method", "GBLM",
        "pattern", pattern,
        "rows", rows,
        "storage", "F32",
        "threads", "1",
        "tier", "VECTOR");
  }

  private static Bar only(List<Bar> bars) {
    assertEquals(1, bars.size(), bars::toString);
    return bars.getFirst();
  }
}
