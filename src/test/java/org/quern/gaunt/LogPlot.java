package org.quern.gaunt;

import java.util.List;
import java.util.Locale;
import java.util.function.DoubleUnaryOperator;

/**
 * A plot with two logarithmic axes as an SVG file: a solid line with dots for what was measured, a
 * dashed one for what was counted. On a background of its own, so that it reads on light and dark
 * pages.
 */
final class LogPlot {
  private static final int WIDTH = 760;
  private static final int HEIGHT = 460;
  private static final int LEFT = 70;
  private static final int RIGHT = 170;
  private static final int TOP = 40;
  private static final int BOTTOM = 50;
  private static final String[] COLOURS = {"#0072b2", "#d55e00", "#009e73", "#aa3377", "#666666"};

  private LogPlot() {}

  /**
   * One series.
   *
   * @param name beside the end of the line
   * @param x positions
   * @param measured values of the solid line
   * @param counted values of the dashed line
   */
  record Line(String name, double[] x, double[] measured, double[] counted) {}

  /** The file. */
  static String draw(String title, String xLabel, String yLabel, List<Line> lines) {
    double right =
        lines.stream().flatMapToDouble(l -> java.util.Arrays.stream(l.x)).max().orElse(1);
    double top =
        lines.stream().flatMapToDouble(l -> java.util.Arrays.stream(l.measured)).max().orElse(1);
    double bottom =
        lines.stream().flatMapToDouble(l -> java.util.Arrays.stream(l.measured)).min().orElse(1);
    int from = (int) Math.floor(Math.log10(bottom));
    int to = (int) Math.ceil(Math.log10(top));
    DoubleUnaryOperator across = x -> LEFT + (WIDTH - LEFT - RIGHT) * Math.log(x) / Math.log(right);
    DoubleUnaryOperator down =
        y -> HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (Math.log10(y) - from) / (to - from);
    StringBuilder svg = new StringBuilder();
    add(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" font-family=\"sans-serif\""
            + " font-size=\"13\" fill=\"#222\">",
        WIDTH,
        HEIGHT);
    add(svg, "<rect width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#fdfdfb\"/>", WIDTH, HEIGHT);
    add(svg, "<text x=\"%d\" y=\"24\" font-size=\"15\">%s</text>", LEFT, title);
    for (int power = from; power <= to; power++) {
      double y = down.applyAsDouble(Math.pow(10, power));
      add(
          svg,
          "<path d=\"M%d %.1fH%d\" stroke=\"#ddd\"/><text x=\"%d\" y=\"%.1f\""
              + " text-anchor=\"end\">%s</text>",
          LEFT,
          y,
          WIDTH - RIGHT,
          LEFT - 8,
          y + 4,
          power < 0
              ? Double.toString(Math.pow(10, power))
              : Long.toString(Math.round(Math.pow(10, power))));
    }
    for (double x : new double[] {1, 2, 3, 4, 6, 8, 10, 12, 16}) {
      if (x <= right) {
        add(
            svg,
            "<path d=\"M%.1f %dV%d\" stroke=\"#eee\"/><text x=\"%.1f\" y=\"%d\""
                + " text-anchor=\"middle\">%.0f</text>",
            across.applyAsDouble(x),
            TOP,
            HEIGHT - BOTTOM,
            across.applyAsDouble(x),
            HEIGHT - BOTTOM + 18,
            x);
      }
    }
    add(
        svg,
        "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">%s</text>",
        (LEFT + WIDTH - RIGHT) / 2,
        HEIGHT - 12,
        xLabel);
    add(
        svg,
        "<text transform=\"translate(18 %d) rotate(-90)\" text-anchor=\"middle\">%s</text>",
        (TOP + HEIGHT - BOTTOM) / 2,
        yLabel);
    for (int i = 0; i < lines.size(); i++) {
      Line line = lines.get(i);
      String colour = COLOURS[i % COLOURS.length];
      add(
          svg,
          "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.2\""
              + " stroke-dasharray=\"5 4\"/>",
          path(line.x, line.counted, across, down),
          colour);
      add(
          svg,
          "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\"/>",
          path(line.x, line.measured, across, down),
          colour);
      for (int j = 0; j < line.x.length; j++) {
        add(
            svg,
            "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"/>",
            across.applyAsDouble(line.x[j]),
            down.applyAsDouble(line.measured[j]),
            colour);
      }
      int last = line.x.length - 1;
      add(
          svg,
          "<text x=\"%.1f\" y=\"%.1f\" fill=\"%s\">%s</text>",
          across.applyAsDouble(line.x[last]) + 8,
          down.applyAsDouble(line.measured[last]) + 4,
          colour,
          line.name);
    }
    return svg.append("</svg>\n").toString();
  }

  private static String path(
      double[] x, double[] y, DoubleUnaryOperator across, DoubleUnaryOperator down) {
    StringBuilder path = new StringBuilder();
    for (int i = 0; i < x.length; i++) {
      path.append(
          String.format(
              Locale.ROOT,
              "%s%.1f %.1f",
              i == 0 ? "M" : "L",
              across.applyAsDouble(x[i]),
              down.applyAsDouble(y[i])));
    }
    return path.toString();
  }

  private static void add(StringBuilder svg, String format, Object... values) {
    svg.append(String.format(Locale.ROOT, format, values)).append('\n');
  }
}
