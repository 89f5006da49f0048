package org.quern.cli;

import com.google.gson.Gson;
import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.DoubleSummaryStatistics;
import java.util.List;
import java.util.Map;
import org.quern.family.Chart;
import org.quern.family.TourTable;
import org.quern.io.AtomicFile;

/**
 * A web page of facts, tables and plots in one file that needs no network. Sections appear in the
 * order of the calls.
 */
final class HtmlReport {
  /** Where the jar of the plotting library keeps its browser build. */
  static final String CHART_LIBRARY = "META-INF/resources/webjars/chart.js/4.4.9/dist/chart.umd.js";

  /** Escapes what could end a script element, so that its documents may stand inside one. */
  private static final Gson GSON = new Gson();

  private final String title;
  private final StringBuilder body = new StringBuilder();
  private final JsonArray plots = new JsonArray();

  HtmlReport(String title) {
    this.title = title;
  }

  /** Adds named facts. */
  void facts(String heading, Map<String, String> facts) {
    heading(heading);
    body.append("<dl>\n");
    facts.forEach((name, value) ->
        body.append("<div><dt>")
            .append(escape(name))
            .append("</dt><dd>")
            .append(escape(value))
            .append("</dd></div>\n"));
    body.append("</dl>\n");
  }

  /** Adds a table. */
  void table(String heading, Table table) {
    heading(heading);
    body.append("<div class=\"wide\"><table>\n<thead>");
    row("th", table, table.headings());
    body.append("</thead>\n<tbody>\n");
    for (List<String> cells : table.rows()) {
      row("td", table, cells);
    }
    body.append("</tbody></table></div>\n");
  }

  /** Adds a table that is told as data. */
  void table(TourTable data) {
    Table table = new Table(data.headings().toArray(String[]::new));
    data.rows().forEach(row -> table.add(row.toArray(String[]::new)));
    table(data.title(), table);
  }

  /** Adds a paragraph. */
  void text(String text) {
    body.append("<p>").append(escape(text)).append("</p>\n");
  }

  /** Adds plots; none at all adds nothing. */
  void charts(String heading, List<Chart> charts) {
    if (charts.isEmpty()) {
      return;
    }
    heading(heading);
    body.append("<div class=\"plots\">\n");
    for (Chart chart : charts) {
      String name = escape(chart.title());
      body.append("<figure><figcaption>")
          .append(name)
          .append("</figcaption><div><canvas role=\"img\" aria-label=\"");
      body.append(name).append("\"></canvas></div>");
      if (chart.kind() == Chart.Kind.FIELD || chart.kind() == Chart.Kind.HEAT) {
        body.append("<p>").append(escape(legend(chart))).append("</p>");
      }
      body.append("</figure>\n");
      plots.add(describe(chart));
    }
    body.append("</div>\n");
  }

  /**
   * Writes the page to a temporary file beside {@code file} and renames it, so that a failure
   * leaves an old page whole.
   *
   * @throws IOException where the directory cannot be written
   */
  void write(Path file) throws IOException {
    AtomicFile.write(file, html().getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Checks that a page can be written to {@code file}, so that long work need not fail at its end.
   *
   * @throws IllegalArgumentException where it is a directory, or its directory is missing or
   *     read-only
   */
  static void checkTarget(Path file) {
    Path target = file.toAbsolutePath();
    Path directory = target.getParent();
    if (directory == null || !Files.isWritable(directory) || Files.isDirectory(target)) {
      throw new IllegalArgumentException(
          "report: expected a file in a writable directory, got '" + file + "'");
    }
  }

  /** The whole page. */
  String html() throws IOException {
    String script = plots.isEmpty() ? "" : script();
    return PAGE.replace("@TITLE@", escape(title))
        .replace("@BODY@", body)
        .replace("@SCRIPT@", script);
  }

  private String script() throws IOException {
    return "<script>"
        + chartLibrary()
        + "</script>\n<script>const plots = "
        + GSON.toJson(plots)
        + ";\n"
        + DRAW
        + "</script>\n";
  }

  private static String chartLibrary() throws IOException {
    try (InputStream stream =
        HtmlReport.class.getClassLoader().getResourceAsStream(CHART_LIBRARY)) {
      if (stream == null) {
        throw new IOException(
            "the library chart.js is not on the class path; the report needs it for its plots");
      }
      return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
    }
  }

  private void heading(String text) {
    body.append("<h2>").append(escape(text)).append("</h2>\n");
  }

  private void row(String element, Table table, List<String> cells) {
    body.append("<tr>");
    for (int i = 0; i < cells.size(); i++) {
      String cell = cells.get(i);
      String style =
          switch (cell) {
            case "PASS" -> " class=\"pass\"";
            case "FAIL" -> " class=\"fail\"";
            default -> table.hasFigures(i) ? " class=\"figure\"" : "";
          };
      body.append('<').append(element).append(style).append('>').append(escape(cell));
      body.append("</").append(element).append('>');
    }
    body.append("</tr>\n");
  }

  /** What the axes and colours of a field mean. */
  private static String legend(Chart chart) {
    DoubleSummaryStatistics values =
        chart.series().stream()
            .flatMap(series -> series.y().stream())
            .mapToDouble(Double::doubleValue)
            .summaryStatistics();
    double largest = Math.max(Math.abs(values.getMin()), Math.abs(values.getMax()));
    String colours =
        chart.kind() == Chart.Kind.HEAT
            ? "pale " + Output.figure(values.getMin()) + ", dark " + Output.figure(values.getMax())
            : "blue " + Output.figure(-largest) + ", red " + Output.figure(largest);
    return "across: " + chart.xLabel() + "; down: " + chart.yLabel() + "; " + colours;
  }

  private static JsonObject describe(Chart chart) {
    JsonArray categories = new JsonArray();
    chart.categories().forEach(categories::add);
    JsonArray series = new JsonArray();
    for (Chart.Series each : chart.series()) {
      JsonObject entry = new JsonObject();
      entry.addProperty("name", each.name());
      entry.add("x", numbers(each.x()));
      entry.add("y", numbers(each.y()));
      series.add(entry);
    }
    JsonObject plot = new JsonObject();
    plot.addProperty("bars", chart.kind() == Chart.Kind.BARS);
    plot.addProperty("field", chart.kind() == Chart.Kind.FIELD);
    plot.addProperty("heat", chart.kind() == Chart.Kind.HEAT);
    plot.addProperty("xLabel", chart.xLabel());
    plot.addProperty("yLabel", chart.yLabel());
    plot.addProperty("logY", chart.logY());
    plot.add("categories", categories);
    plot.add("series", series);
    return plot;
  }

  private static JsonArray numbers(List<Double> values) {
    JsonArray numbers = new JsonArray();
    values.forEach(value -> numbers.add(Output.number(value)));
    return numbers;
  }

  /** The text with the characters replaced that mean something in HTML. */
  static String escape(String text) {
    return text.replace("&", "&amp;")
        .replace("<", "&lt;")
        .replace(">", "&gt;")
        .replace("\"", "&quot;");
  }

  private static final String PAGE =
      """
      <!DOCTYPE html>
      <html lang="en">
      <head>
      <meta charset="utf-8">
      <meta name="viewport" content="width=device-width, initial-scale=1">
      <title>@TITLE@</title>
      <style>
      :root {
        color-scheme: light dark;
        --ink: #1d2733; --soft: #5b6875; --line: #d9dfe5; --page: #ffffff; --panel: #f5f7f9; --pass: #1a7f37; --fail: #c62828;
      }
      @media (prefers-color-scheme: dark) {
        :root {
          --ink: #e4e9ee; --soft: #9aa7b4; --line: #35404b; --page: #14191f; --panel: #1c232b; --pass: #57c878; --fail: #ff7b72;
        }
      }
      body { margin: 0 auto; max-width: 76rem; padding: 2rem 1.5rem 4rem; background: var(--page); color: var(--ink);
        font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
      h1 { margin: 0; font-size: 1.8rem; }
      h2 { margin: 2.2rem 0 .7rem; font-size: 1.15rem; }
      dl { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .8rem 1.5rem; margin: 0;
        padding: 1rem 1.2rem; border-radius: .5rem; background: var(--panel); }
      dt { color: var(--soft); font-size: .8rem; }
      dd { margin: 0; overflow-wrap: anywhere; }
      .wide { overflow-x: auto; }
      table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
      th, td { padding: .45rem 1.4rem .45rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
      th { color: var(--soft); font-size: .75rem; letter-spacing: .04em; white-space: nowrap; }
      td.figure, th.figure { text-align: right; white-space: nowrap; }
      .pass { color: var(--pass); font-weight: 600; }
      .fail { color: var(--fail); font-weight: 600; }
      .plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); gap: 1.2rem; }
      figure { margin: 0; padding: 1rem 1.2rem; border-radius: .5rem; background: var(--panel); min-width: 0; }
      figcaption { margin-bottom: .6rem; font-weight: 600; }
      figure div { position: relative; height: 20rem; }
      figure p { margin: .6rem 0 0; color: var(--soft); font-size: .8rem; }
      canvas.field { width: 100%; height: 100%; }
      canvas.heat { image-rendering: pixelated; }
      </style>
      </head>
      <body>
      <h1>@TITLE@</h1>
      @BODY@
      @SCRIPT@
      </body>
      </html>
      """;

  /**
   * Draws every plot on the canvas that stands at its place in the page. The colours can be told
   * apart by everybody.
   */
  private static final String DRAW =
      """
      const palette = ["#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377", "#999999"];
      const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
      const axis = (label, options) => ({
        title: {display: label !== "", text: label}, grid: {color: colour("--line")}, ...options
      });
      const points = (plot, series) =>
        plot.bars ? series.y : series.y.map((y, i) => ({x: series.x[i], y}));
      Chart.defaults.color = colour("--soft");
      Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
      // Every cell a pixel, which the browser enlarges.
      const paint = (canvas, plot) => {
        const cells = plot.series.flatMap(series => series.y);
        const least = cells.reduce((a, b) => Math.min(a, b), Infinity);
        const most = cells.reduce((a, b) => Math.max(a, b), -Infinity);
        const largest = Math.max(Math.abs(least), Math.abs(most)) || 1;
        canvas.className = plot.heat ? "field heat" : "field";
        canvas.width = plot.series[0].y.length;
        canvas.height = plot.series.length;
        const context = canvas.getContext("2d");
        const image = context.createImageData(canvas.width, canvas.height);
        cells.forEach((value, cell) => {
          const part = plot.heat ? (value - least) / (most - least || 1) : value / largest;
          const end = plot.heat ? [8, 48, 107] : part < 0 ? [33, 102, 172] : [178, 24, 43];
          end.forEach((shade, i) => {
            image.data[4 * cell + i] = 247 + Math.abs(part) * (shade - 247);
          });
          image.data[4 * cell + 3] = 255;
        });
        context.putImageData(image, 0, 0);
      };
      document.querySelectorAll("canvas").forEach((canvas, index) => {
        const plot = plots[index];
        if (plot.field || plot.heat) {
          paint(canvas, plot);
          return;
        }
        new Chart(canvas, {
          type: plot.bars ? "bar" : "scatter",
          data: {
            labels: plot.categories,
            datasets: plot.series.map((series, i) => ({
              label: series.name, data: points(plot, series), showLine: !plot.bars, borderWidth: plot.bars ? 0 : 2,
              borderColor: palette[i % palette.length], backgroundColor: palette[i % palette.length]
            }))
          },
          options: {
            animation: false, responsive: true, maintainAspectRatio: false,
            plugins: {legend: {display: plot.series.length > 1}},
            scales: {
              x: axis(plot.xLabel, plot.bars ? {grid: {display: false}} : {}),
              y: axis(plot.yLabel, {type: plot.logY ? "logarithmic" : "linear", beginAtZero: plot.bars && !plot.logY})
            }
          }
        });
      });
      """;
}
