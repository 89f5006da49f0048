package org.quern.jmh;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import org.jspecify.annotations.Nullable;

/** The bars of the Gaunt family: F32, the vector tier, one thread. */
final class GauntBars {
  /** Nanoseconds per product and channel in a cache, on an idle machine of the kind in the docs. */
  private static final Map<String, Double> PRODUCT =
      Map.of(
          "2-2-4",
          5.0,
          "3-3-6",
          15.0,
          "4-4-8",
          35.0,
          "6-6-12",
          120.0,
          "8-8-16",
          270.0,
          "10-10-20",
          800.0);

  private static final double TRAINING = 3.2;
  private static final double STREAM = 0.7;
  private static final double EDGE = 12;
  private static final double FLATNESS = 1.3;
  private static final double POLLUTED = 1.3;
  private static final double FOURIER = 100;
  private static final double DENSE = 15;

  private GauntBars() {}

  /** The bars of one measurement, as far as those that it is compared with are there. */
  static List<Bar> of(Key key, SortedMap<Key, Samples> measured) {
    List<Bar> bars = new ArrayList<>();
    Samples samples = measured.get(key);
    if (samples == null) {
      return bars;
    }
    String degrees = key.params().get("degrees");
    switch (key.benchmark()) {
      case "GauntBenchmark.multiply" -> {
        Double limit = degrees == null ? null : PRODUCT.get(degrees);
        if (key.has("algorithm", "AUTO") && limit != null) {
          if (key.has("rows", "2")) {
            bars.add(time("product " + degrees + ", ns", key, samples, limit));
          }
          addPeer(bars, "Fourier route", key, measured, FOURIER);
          addPeer(bars, "dense matrix", key, measured, DENSE);
        }
      }
      case "GauntBenchmark.gradients" -> {
        Samples product = measured.get(key.of("GauntBenchmark.multiply"));
        if (product != null && key.has("algorithm", "AUTO")) {
          bars.add(
              new Bar(
                  "product and gradients " + degrees + " / product",
                  1 + samples.median() / product.median(),
                  1 + samples.min() / product.min(),
                  TRAINING,
                  Bar.Sense.AT_MOST));
        }
      }
      case "GauntPollutedBenchmark.multiply" -> {
        Samples clean = measured.get(key.of("GauntBenchmark.multiply"));
        if (clean != null) {
          bars.add(
              Bar.ratio("product " + degrees + ", polluted / clean", samples, clean, POLLUTED));
        }
      }
      case "GauntStreamBenchmark.multiply" -> {
        Samples copy = measured.get(key.of("GauntStreamBenchmark.copy"));
        if (copy != null) {
          bars.add(
              new Bar(
                  "stream " + degrees + ", share of copy",
                  copy.median() / samples.median(),
                  copy.min() / samples.min(),
                  STREAM,
                  Bar.Sense.AT_LEAST));
        }
      }
      case "GauntConvolutionBenchmark.forward" -> {
        String edges = key.params().get("edges");
        bars.add(time("convolution, " + edges + " edges, ns", key, samples, EDGE));
        Samples few = measured.get(key.with("edges", "1000"));
        if (few != null && edges != null && !edges.equals("1000")) {
          double ratio = 1000 / Double.parseDouble(edges);
          bars.add(
              new Bar(
                  "convolution, " + edges + " / 1000 edges, each",
                  ratio * samples.median() / few.median(),
                  ratio * samples.min() / few.min(),
                  FLATNESS,
                  Bar.Sense.AT_MOST));
        }
      }
      case "GauntConvolutionBenchmark.polluted" -> {
        Samples clean = measured.get(key.of("GauntConvolutionBenchmark.forward"));
        if (clean != null) {
          bars.add(Bar.ratio("convolution, polluted / clean", samples, clean, POLLUTED));
        }
      }
      default -> {}
    }
    return bars;
  }

  /** Products, or edges, times channels of one call; 0 of another benchmark. */
  static long units(Key key) {
    return switch (key.benchmark().substring(0, key.benchmark().indexOf('.'))) {
      case "GauntBenchmark", "GauntPollutedBenchmark", "TorchGauntBenchmark" ->
          Long.parseLong(key.params().get("rows")) * GauntState.CHANNELS;
      case "GauntStreamBenchmark" ->
          (long) GauntStreamBenchmark.rows(key.params().get("degrees")) * GauntState.CHANNELS;
      case "GauntConvolutionBenchmark" ->
          Long.parseLong(key.params().get("edges")) * GauntConvolutionBenchmark.CHANNELS;
      default -> 0;
    };
  }

  private static Bar time(String name, Key key, Samples samples, double limit) {
    double scale = 1e3 / units(key);
    return new Bar(name, scale * samples.median(), scale * samples.min(), limit, Bar.Sense.AT_MOST);
  }

  private static void addPeer(
      List<Bar> bars, String name, Key key, SortedMap<Key, Samples> measured, double limit) {
    String method = name.startsWith("Fourier") ? "fourier" : "dense";
    @Nullable Samples peer =
        measured.get(key.peer("TorchGauntBenchmark." + method, "degrees", "rows"));
    if (peer != null) {
      Samples samples = measured.get(key);
      bars.add(
          new Bar(
              "PyTorch, " + name + " / product " + key.params().get("degrees"),
              peer.median() / samples.median(),
              peer.min() / samples.min(),
              limit,
              Bar.Sense.AT_LEAST));
    }
  }
}
