package org.quern.family;

import java.util.List;

/**
 * A plot as data; the door that shows it chooses the drawing.
 *
 * @param title headline
 * @param kind bars over named categories, lines over numbers, or a plane of coloured cells
 * @param xLabel what the horizontal axis shows, with unit
 * @param yLabel what the vertical axis shows, with unit
 * @param logY true for a logarithmic vertical axis
 * @param categories names along the horizontal axis of bars; else empty
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
    LINES,
    /**
     * One row of cells per series, the first on top, coloured by value on a scale that is even
     * about zero: a field over the plane.
     */
    FIELD,
    /** As a field, on a scale from the smallest value, pale, to the largest, dark. */
    HEAT
  }

  /**
   * One named run of points.
   *
   * @param name shown in the legend; not shown of a field
   * @param x positions; empty for bars, where the categories give them, and for fields, whose cells
   *     are equally wide
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
