package org.quern.family;

import java.util.List;

/**
 * What a family showed on the tour.
 *
 * @param rows one row per job
 * @param tables results for the HTML report
 * @param charts plots for the HTML report
 */
public record TourReport(List<TourRow> rows, List<TourTable> tables, List<Chart> charts) {
  /** Copies the lists. */
  public TourReport {
    rows = List.copyOf(rows);
    tables = List.copyOf(tables);
    charts = List.copyOf(charts);
  }

  /** A report without tables. */
  public TourReport(List<TourRow> rows, List<Chart> charts) {
    this(rows, List.of(), charts);
  }
}
