package org.quern.family;

import java.util.List;

/**
 * What a family showed on the tour.
 *
 * @param rows one row per job
 * @param charts plots for the HTML report
 */
public record TourReport(List<TourRow> rows, List<Chart> charts) {
  /** Copies the lists. */
  public TourReport {
    rows = List.copyOf(rows);
    charts = List.copyOf(charts);
  }
}
