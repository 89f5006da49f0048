package org.quern.family;

import java.util.List;

/**
 * A table of text as data; the door that shows it chooses the drawing.
 *
 * @param title headline
 * @param headings one per column
 * @param rows the cells, as many in each row as there are headings
 */
public record TourTable(String title, List<String> headings, List<List<String>> rows) {
  /** Copies the lists and checks their lengths. */
  public TourTable {
    headings = List.copyOf(headings);
    rows = rows.stream().map(List::copyOf).toList();
    for (List<String> row : rows) {
      if (row.size() != headings.size()) {
        throw new IllegalArgumentException(
            "rows: expected " + headings.size() + " cells, got " + row);
      }
    }
  }
}
