package org.quern.cli;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.quern.family.CaseResult;
import org.quern.family.Family;
import org.quern.family.Replay;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** Replays the golden cases of a family on every tier that the machine has. */
@Command(
    name = "verify",
    header = "Replays recorded golden cases of a family and compares the results.",
    description = {
      "Replays the cases in a directory on every tier that the family implements and this machine can run, and"
          + " compares each result with the recorded one.",
      "The cases are recognised by their format; files that are not recognised are listed.",
      "Fails (exit 1) when a case deviates by more than its tolerance or when nothing was replayed."
    })
final class VerifyCommand implements Callable<Integer> {
  private final List<Family> families;

  @Spec private CommandSpec spec;

  @Parameters(
      index = "0",
      paramLabel = "FAMILY",
      description = "Name of the family, as quern doctor lists it.")
  private String name;

  @Parameters(index = "1", paramLabel = "DIR", description = "Directory that holds the cases.")
  private Path directory;

  @Option(
      names = "--tier",
      paramLabel = "TIER",
      description = "Replay on this tier only: scalar, vector, native or cuda.")
  private @Nullable Tier tier;

  @Option(names = "--json", description = "Print one JSON object instead of a table.")
  private boolean json;

  VerifyCommand(List<Family> families) {
    this.families = families;
  }

  @Override
  public Integer call() throws IOException {
    Family family = family();
    if (!Files.isDirectory(directory)) {
      throw new ParameterException(
          spec.commandLine(),
          "DIR: expected a directory that holds golden cases, got '" + directory + "'");
    }
    List<CaseResult> results = new ArrayList<>();
    Map<String, String> skipped = new LinkedHashMap<>();
    List<String> unrecognised = List.of();
    try (ConsoleProgress progress = ConsoleProgress.onErrorStream()) {
      for (Tier each : tiers(family)) {
        Replay replay =
            new Replay(
                directory,
                each,
                result -> {
                  results.add(result);
                  progress.report("cases on tier " + each.label(), results.size(), 0);
                });
        family.replay(replay);
        skipped.putAll(replay.skipped());
        unrecognised = replay.unclaimed();
      }
    }
    long failed = results.stream().filter(result -> !result.passed()).count();
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      out.println(Output.toJson(describe(results, skipped, unrecognised)));
    } else {
      print(results, skipped, unrecognised, out);
      out.printf(
          "%d cases, %d passed, %d failed%n", results.size(), results.size() - failed, failed);
    }
    return results.isEmpty() || failed > 0 ? Main.CHECK_FAILED : 0;
  }

  private Family family() {
    for (Family family : families) {
      if (family.name().equals(name)) {
        return family;
      }
    }
    String known = families.stream().map(Family::name).collect(Collectors.joining(", "));
    throw new ParameterException(
        spec.commandLine(), "FAMILY: expected one of [" + known + "], got '" + name + "'");
  }

  private Set<Tier> tiers(Family family) {
    Capabilities capabilities = Capabilities.get();
    Tier demanded = tier != null ? tier : capabilities.forced();
    if (demanded != null) {
      return EnumSet.of(Tiers.choose(spec, family.tiers(), demanded));
    }
    Set<Tier> runnable = EnumSet.copyOf(family.tiers());
    runnable.retainAll(capabilities.available());
    return runnable;
  }

  private static void print(
      List<CaseResult> results,
      Map<String, String> skipped,
      List<String> unrecognised,
      PrintWriter out) {
    Table table = new Table("RESULT", "TIER", "WORST", "TOLERANCE", "UNIT", "FILE", "CASE");
    for (CaseResult result : results) {
      table.add(
          result.passed() ? "PASS" : "FAIL",
          result.tier().label(),
          Output.figure(result.worst()),
          Output.figure(result.tolerance()),
          result.unit(),
          result.file(),
          result.name());
    }
    table.print(out);
    out.println();
    skipped.forEach((what, why) -> out.println("skipped: " + what + ": " + why));
    unrecognised.forEach(file -> out.println("not recognised: " + file));
  }

  private JsonObject describe(
      List<CaseResult> results, Map<String, String> skipped, List<String> unrecognised) {
    JsonArray cases = new JsonArray();
    for (CaseResult result : results) {
      JsonObject entry = new JsonObject();
      entry.addProperty("file", result.file());
      entry.addProperty("case", result.name());
      entry.addProperty("tier", result.tier().label());
      entry.add("worst", Output.number(result.worst()));
      entry.add("tolerance", Output.number(result.tolerance()));
      entry.addProperty("unit", result.unit());
      entry.addProperty("passed", result.passed());
      cases.add(entry);
    }
    JsonObject left = new JsonObject();
    skipped.forEach(left::addProperty);
    JsonArray files = new JsonArray();
    unrecognised.forEach(files::add);
    JsonObject report = new JsonObject();
    report.addProperty("family", name);
    report.addProperty(
        "passed", !results.isEmpty() && results.stream().allMatch(CaseResult::passed));
    report.add("cases", cases);
    report.add("skipped", left);
    report.add("notRecognised", files);
    return report;
  }
}
