package org.quern.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;

/** Rows of text under headings, printed in aligned columns; figures are set flush right. */
final class Table {
  private final List<String> headings;
  private final List<List<String>> rows = new ArrayList<>();

  Table(String... headings) {
    this.headings = List.of(headings);
  }

  void add(String... cells) {
    if (cells.length != headings.size()) {
      throw new IllegalArgumentException("cells: expected " + headings.size() + ", got " + cells.length);
    }
    rows.add(List.of(cells));
  }

  List<String> headings() {
    return headings;
  }

  List<List<String>> rows() {
    return rows;
  }

  /** True when the cell starts like a number, so that it belongs to the right edge of its column. */
  static boolean isFigure(String cell) {
    return cell.matches("[-+]?\\d.*|-|NaN");
  }

  void print(PrintWriter out) {
    int[] widths = new int[headings.size()];
    for (List<String> row : lines()) {
      for (int i = 0; i < widths.length; i++) {
        widths[i] = Math.max(widths[i], row.get(i).length());
      }
    }
    for (List<String> row : lines()) {
      StringBuilder line = new StringBuilder();
      for (int i = 0; i < widths.length; i++) {
        String padding = " ".repeat(widths[i] - row.get(i).length());
        line.append(isFigure(row.get(i)) ? padding + row.get(i) : row.get(i) + padding).append("  ");
      }
      out.println(line.toString().stripTrailing());
    }
  }

  private List<List<String>> lines() {
    List<List<String>> lines = new ArrayList<>(rows);
    lines.addFirst(headings);
    return lines;
  }
}
