package org.quern.family;

import java.util.List;

/**
 * A plot as data; the door that shows it chooses the drawing.
 *
 * @param title headline
 * @param kind bars over named categories, or lines over numbers
 * @param xLabel what the horizontal axis shows, with unit
 * @param yLabel what the vertical axis shows, with unit
 * @param logY true for a logarithmic vertical axis
 * @param categories names along the horizontal axis of bars; empty for lines
 * @param series the data
 */
public record Chart(
    String title,
    Kind kind,
    String xLabel,
    String yLabel,
    boolean logY,
    List<String> categories,
    List<Series> series) {
  /** Kinds of plot. */
  public enum Kind {
    /** One bar per category and series. */
    BARS,
    /** One polyline per series. */
    LINES
  }

  /**
   * One named run of points.
   *
   * @param name shown in the legend
   * @param x positions; empty for bars, where the categories give them
   * @param y values
   */
  public record Series(String name, List<Double> x, List<Double> y) {
    /** Copies the lists. */
    public Series {
      x = List.copyOf(x);
      y = List.copyOf(y);
    }
  }

  /** Copies the lists. */
  public Chart {
    categories = List.copyOf(categories);
    series = List.copyOf(series);
  }
}
