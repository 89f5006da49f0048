package org.quern.jmh;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import org.openjdk.jmh.infra.BenchmarkParams;
import org.openjdk.jmh.profile.GCProfiler;
import org.openjdk.jmh.results.Result;
import org.openjdk.jmh.results.RunResult;
import org.openjdk.jmh.results.format.ResultFormatFactory;
import org.openjdk.jmh.results.format.ResultFormatType;
import org.openjdk.jmh.runner.Runner;
import org.openjdk.jmh.runner.RunnerException;
import org.openjdk.jmh.runner.options.ChainedOptionsBuilder;
import org.openjdk.jmh.runner.options.OptionsBuilder;
import org.openjdk.jmh.runner.options.TimeValue;
import org.openjdk.jmh.runner.options.VerboseMode;
import org.openjdk.jmh.util.Statistics;
import org.quern.runtime.Capabilities;

/**
 * Runs a selection of the benchmarks and prints what it means: times, relations to the ceilings
 * measured in the same run, and which of the project's bars hold. A bar that does not hold fails
 * nothing.
 */
public final class Summary {
  private static final String USAGE =
      """
      usage: jmh/run [SELECTION] [DIRECTORY]
        --smoke    every benchmark for a moment, to see that it runs
        --quick    pruning and its ceilings, about a minute (default)
        --full     everything, three rounds
        --gaunt    the Gaunt family, some four minutes
        --peers    the Kronecker and the Gaunt family beside PyTorch, on Linux with an x86-64
                   processor; the first run fetches 100 MB from Maven Central and unpacks 400 MB
        --peers-gaunt  the Gaunt family beside PyTorch
        --peers-smoke  every benchmark of PyTorch for a moment
        DIRECTORY  where results.json (JMH's format) and summary.txt go; jmh/target/results by default\
      """;

  private Summary() {}

  /** Runs the selection that the arguments name; exit code 2 for bad usage. */
  public static void main(String[] args) throws RunnerException, IOException {
    Selection selection = Selection.QUICK;
    Path directory = Path.of("jmh", "target", "results");
    for (String arg : args) {
      switch (arg) {
        case "--smoke" -> selection = Selection.SMOKE;
        case "--quick" -> selection = Selection.QUICK;
        case "--full" -> selection = Selection.FULL;
        case "--peers" -> selection = Selection.PEERS;
        case "--gaunt" -> selection = Selection.GAUNT;
        case "--peers-gaunt" -> selection = Selection.GAUNT_PEERS;
        case "--peers-smoke" -> selection = Selection.PEERS_SMOKE;
        case "--help", "-h" -> {
          System.out.println(USAGE);
          return;
        }
        default -> {
          if (arg.startsWith("-")) {
            System.err.println("unknown option '" + arg + "'\n" + USAGE);
            System.exit(2);
          }
          directory = Path.of(arg);
        }
      }
    }
    List<RunResult> results = run(selection);
    if (selection.smoke) {
      System.out.println(results.size() + " benchmarks ran");
      return;
    }
    Files.createDirectories(directory);
    Path json = directory.resolve("results.json");
    try (PrintStream out = new PrintStream(json.toFile(), StandardCharsets.UTF_8)) {
      ResultFormatFactory.getInstance(ResultFormatType.JSON, out).writeOut(results);
    }
    String text = environment() + "\n" + text(measured(results), Caches.detect());
    Files.writeString(directory.resolve("summary.txt"), text);
    System.out.print(text);
  }

  private static List<RunResult> run(Selection selection) throws RunnerException {
    List<Selection.Step> steps = selection.steps(Runtime.getRuntime().availableProcessors());
    List<RunResult> results = new ArrayList<>();
    for (int round = 1; round <= selection.rounds; round++) {
      for (int i = 0; i < steps.size(); i++) {
        Selection.Step step = steps.get(i);
        System.err.printf(
            "round %d of %d, step %d of %d: %s %s%n",
            round, selection.rounds, i + 1, steps.size(), step.benchmarks(), step.params());
        ChainedOptionsBuilder options =
            new OptionsBuilder()
                .include(step.include())
                .threads(step.threads())
                .verbosity(VerboseMode.SILENT)
                .shouldFailOnError(true);
        for (Map.Entry<String, List<String>> param : step.params().entrySet()) {
          options.param(param.getKey(), param.getValue().toArray(String[]::new));
        }
        if (step.benchmarks().equals("PruneAllocation")) {
          options.addProfiler(GCProfiler.class);
        }
        if (selection.smoke) {
          TimeValue moment = TimeValue.milliseconds(10);
          options.warmupIterations(0).measurementIterations(1).measurementTime(moment);
        }
        results.addAll(new Runner(options.build()).run());
      }
    }
    return results;
  }

  private static SortedMap<Key, Samples> measured(List<RunResult> results) {
    SortedMap<Key, Samples> measured = new TreeMap<>();
    for (RunResult result : results) {
      BenchmarkParams benchmark = result.getParams();
      SortedMap<String, String> params = new TreeMap<>();
      for (String name : benchmark.getParamsKeys()) {
        params.put(name, benchmark.getParam(name));
      }
      String name = benchmark.getBenchmark().replace("org.quern.jmh.", "");
      Key key = new Key(name, params, benchmark.getThreads());
      Samples samples = measured.computeIfAbsent(key, unused -> new Samples());
      Statistics statistics = result.getPrimaryResult().getStatistics();
      statistics
          .getRawData()
          .forEachRemaining(entry -> samples.addMicros(entry.getKey(), entry.getValue()));
      Result<?> bytes = result.getSecondaryResults().get("gc.alloc.rate.norm");
      if (bytes != null) {
        samples.addBytes(bytes.getScore());
      }
    }
    return measured;
  }

  private static String environment() throws IOException {
    Capabilities machine = Capabilities.get();
    Caches caches = Caches.detect();
    Path load = Path.of("/proc/loadavg");
    return String.format(
        Locale.ROOT,
        """
        CPU      %s, %d processors, vectors of %d bits
        caches   L1 %d KiB, L2 %d KiB, L3 %d KiB
        JVM      %s
        load     %s
        """,
        machine.cpu(),
        machine.processors(),
        machine.vectorBits(),
        caches.l1() >> 10,
        caches.l2() >> 10,
        caches.l3() >> 10,
        machine.java(),
        Files.exists(load) ? Files.readString(load).strip() : "unknown");
  }

  /** The table and the bars. */
  static String text(SortedMap<Key, Samples> measured, Caches caches) {
    StringBuilder text = new StringBuilder();
    String row = "%-34s %-36s %12s %12s %18s %20s %10s%n";
    text.append(
        String.format(
            row, "benchmark", "parameters", "median us", "min us", "rate", "to ceiling", "B/call"));
    measured.forEach((key, samples) ->
        text.append(
            String.format(
                Locale.ROOT,
                row,
                key.benchmark(),
                parameters(key),
                number(samples.median()),
                number(samples.min()),
                Rate.perSecond(key, samples, caches),
                Rate.toCeiling(key, measured),
                Double.isNaN(samples.bytes()) ? "" : number(samples.bytes()))));
    String line = "%-50s %12s %12s %10s  %s%n";
    text.append(System.lineSeparator());
    text.append(String.format(line, "bar", "by median", "by minimum", "demanded", ""));
    for (Bar bar : Bar.of(measured)) {
      text.append(
          String.format(
              Locale.ROOT,
              line,
              bar.name(),
              number(bar.median()),
              number(bar.min()),
              bar.sense().sign + " " + bar.limit(),
              bar.holds() ? "holds" : "MISSED"));
    }
    return text.toString();
  }

  private static String parameters(Key key) {
    String params = String.join(" ", key.params().values());
    return key.threads() == 1 ? params : params + " x " + key.threads() + " threads";
  }

  private static String number(double value) {
    return String.format(Locale.ROOT, value < 1000 ? "%.3f" : "%.0f", value);
  }
}
