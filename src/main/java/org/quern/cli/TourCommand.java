package org.quern.cli;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import org.quern.family.Chart;
import org.quern.family.Family;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.family.TourRow;
import org.quern.family.TourTable;
import org.quern.runtime.Capabilities;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.Spec;

/** Runs a small real job of every family, checks each result, and reports what was measured. */
@Command(
    name = "tour",
    header = "Runs a small real job of every family, checks it and times it.",
    description = {
      "Runs each job, checks its result against the oracle, and shows the time beside that of the straightforward way."
          + " Also writes the table, with plots, as one self-contained HTML page.",
      "Fails (exit 1) when a check fails."
    })
final class TourCommand implements Callable<Integer> {
  private final List<Family> families;

  @Spec private CommandSpec spec;

  @Option(
      names = "--threads",
      paramLabel = "N",
      description = "Worker threads to use at most (default: one per processor).")
  private int threads = Runtime.getRuntime().availableProcessors();

  @Option(
      names = "--report",
      paramLabel = "FILE.html",
      defaultValue = "quern-tour.html",
      description = "Where to write the HTML page (default: ${DEFAULT-VALUE}).")
  private Path file;

  @Option(names = "--json", description = "Print one JSON object instead of a table.")
  private boolean json;

  TourCommand(List<Family> families) {
    this.families = families;
  }

  @Override
  public Integer call() throws IOException {
    if (threads < 1) {
      throw new ParameterException(
          spec.commandLine(), "--threads: expected at least 1, got " + threads);
    }
    HtmlReport.checkTarget(file);
    List<TourRow> rows = new ArrayList<>();
    List<TourTable> tables = new ArrayList<>();
    List<Chart> charts = new ArrayList<>();
    try (ConsoleProgress progress = ConsoleProgress.onErrorStream()) {
      for (Family family : families) {
        TourContext context =
            new TourContext(Tiers.choose(spec, family.tiers(), null), threads, progress);
        TourReport report = family.tour(context);
        rows.addAll(report.rows());
        tables.addAll(report.tables());
        charts.addAll(report.charts());
      }
    }
    Table table = tabulate(rows);
    writePage(table, tables, charts);
    PrintWriter out = spec.commandLine().getOut();
    if (json) {
      out.println(Output.toJson(describe(rows)));
    } else {
      table.print(out);
      out.printf("%nreport: %s%n", file);
    }
    return rows.stream().allMatch(TourRow::passed) ? 0 : Main.CHECK_FAILED;
  }

  private static Table tabulate(List<TourRow> rows) {
    Table table =
        new Table("FAMILY", "JOB", "TIER", "TIME", "SPEED-UP", "AGAINST", "CHECK", "RESULT");
    for (TourRow row : rows) {
      table.add(
          row.family(),
          row.job(),
          row.tier().label(),
          Output.seconds(row.seconds()),
          Double.isNaN(row.speedup()) ? "-" : Output.figure(row.speedup()) + "x",
          row.baseline(),
          row.check(),
          row.passed() ? "PASS" : "FAIL");
    }
    return table;
  }

  private void writePage(Table table, List<TourTable> tables, List<Chart> charts)
      throws IOException {
    HtmlReport page = new HtmlReport("Quern tour");
    page.facts("Machine", Machine.facts(Capabilities.get()));
    page.table("Jobs", table);
    tables.forEach(page::table);
    page.charts("Plots", charts);
    page.write(file);
  }

  private JsonObject describe(List<TourRow> rows) {
    JsonArray jobs = new JsonArray();
    for (TourRow row : rows) {
      JsonObject job = new JsonObject();
      job.addProperty("family", row.family());
      job.addProperty("job", row.job());
      job.addProperty("tier", row.tier().label());
      job.add("seconds", Output.number(row.seconds()));
      job.add("speedup", Output.number(row.speedup()));
      job.addProperty("baseline", row.baseline());
      job.addProperty("check", row.check());
      job.addProperty("passed", row.passed());
      jobs.add(job);
    }
    JsonObject report = new JsonObject();
    report.addProperty("passed", rows.stream().allMatch(TourRow::passed));
    report.addProperty("report", file.toString());
    report.add("jobs", jobs);
    return report;
  }
}
