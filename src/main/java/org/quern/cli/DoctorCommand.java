package org.quern.cli;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.PrintWriter;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.quern.family.Family;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.runtime.TierStatus;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** Shows what was found on this machine, what was not and why, and what each family would use. */
@Command(
    name = "doctor",
    header = "Shows what this machine can run, and why the rest cannot.",
    description = {
      "Lists every tier with the reason why it is there or not, the JVM, the CPU, the libraries, and the tier that"
          + " each family would use."
    })
final class DoctorCommand implements Runnable {
  private static final List<Library> LIBRARIES =
      List.of(
          new Library("gson", "reads JSON headers", "com/google/gson/Gson.class"),
          new Library(
              "fastcsv",
              "reads and writes CSV tables",
              "de/siegmar/fastcsv/reader/CsvReader.class"),
          new Library(
              "progressbar",
              "draws progress on a terminal",
              "me/tongfei/progressbar/ProgressBar.class"),
          new Library("chart.js", "draws the plots of HTML reports", HtmlReport.CHART_LIBRARY));

  private final List<Family> families;

  @Spec private CommandSpec spec;

  @Option(names = "--json", description = "Print one JSON object instead of tables.")
  private boolean json;

  DoctorCommand(List<Family> families) {
    this.families = families;
  }

  @Override
  public void run() {
    Capabilities capabilities = Capabilities.get();
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      out.println(Output.toJson(describe(capabilities)));
    } else {
      print(capabilities, out);
    }
  }

  private void print(Capabilities capabilities, PrintWriter out) {
    Machine.facts(capabilities).forEach((name, value) -> out.printf("%-16s %s%n", name, value));
    if (capabilities.forced() != null) {
      out.printf(
          "%-16s %s (by -D%s)%n",
          "Forced tier", capabilities.forced().label(), Capabilities.TIER_PROPERTY);
    }
    out.println();

    Table tiers = new Table("TIER", "FOUND", "WHY");
    for (TierStatus status : capabilities.tiers()) {
      tiers.add(status.tier().label(), status.available() ? "yes" : "no", status.reason());
    }
    tiers.print(out);
    out.println();

    Table libraries = new Table("LIBRARY", "VERSION", "PURPOSE");
    for (Library library : LIBRARIES) {
      String version = library.version();
      libraries.add(library.name(), version == null ? "absent" : version, library.purpose());
    }
    libraries.print(out);
    out.println();

    Table table = new Table("FAMILY", "TIERS", "USES", "WHAT IT COMPUTES");
    for (Family family : families) {
      table.add(family.name(), labels(family.tiers()), used(capabilities, family), family.title());
    }
    table.print(out);
  }

  private JsonObject describe(Capabilities capabilities) {
    JsonObject machine = new JsonObject();
    for (Map.Entry<String, String> fact : Machine.facts(capabilities).entrySet()) {
      machine.addProperty(fact.getKey(), fact.getValue());
    }
    JsonArray tiers = new JsonArray();
    for (TierStatus status : capabilities.tiers()) {
      JsonObject tier = new JsonObject();
      tier.addProperty("tier", status.tier().label());
      tier.addProperty("available", status.available());
      tier.addProperty("reason", status.reason());
      tiers.add(tier);
    }
    JsonArray libraries = new JsonArray();
    for (Library library : LIBRARIES) {
      JsonObject entry = new JsonObject();
      entry.addProperty("name", library.name());
      entry.addProperty("version", library.version());
      entry.addProperty("purpose", library.purpose());
      libraries.add(entry);
    }
    JsonArray known = new JsonArray();
    for (Family family : families) {
      JsonObject entry = new JsonObject();
      entry.addProperty("name", family.name());
      entry.addProperty("title", family.title());
      JsonArray labels = new JsonArray();
      family.tiers().forEach(tier -> labels.add(tier.label()));
      entry.add("tiers", labels);
      entry.addProperty("uses", used(capabilities, family));
      known.add(entry);
    }
    JsonObject report = new JsonObject();
    report.add("machine", machine);
    report.addProperty("vectorBits", capabilities.vectorBits());
    report.addProperty("processors", capabilities.processors());
    report.addProperty(
        "forced", capabilities.forced() == null ? null : capabilities.forced().label());
    report.add("tiers", tiers);
    report.add("libraries", libraries);
    report.add("families", known);
    return report;
  }

  private static String labels(Set<Tier> tiers) {
    return tiers.stream().map(Tier::label).collect(Collectors.joining(" "));
  }

  private static String used(Capabilities capabilities, Family family) {
    try {
      return capabilities.choose(family.tiers(), null).label();
    } catch (IllegalStateException unavailable) {
      return "none: " + unavailable.getMessage();
    }
  }
}
