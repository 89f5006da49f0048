package org.quern.cli;

import java.io.PrintWriter;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;

/**
 * Rows of text under headings, printed in aligned columns; columns of figures are set flush right.
 */
final class Table {
  /** A number with an exponent and a short unit at most, or a dash for a missing one. */
  private static final Pattern FIGURE =
      Pattern.compile("[-+]?\\d[\\d.]*(e[-+]?\\d+)?( ?[\\p{Alpha}%]{1,2})?|-|NaN|-?Infinity");

  private final List<String> headings;
  private final List<List<String>> rows = new ArrayList<>();

  Table(String... headings) {
    this.headings = List.of(headings);
  }

  void add(String... cells) {
    if (cells.length != headings.size()) {
      throw new IllegalArgumentException(
          "cells: expected " + headings.size() + ", got " + cells.length);
    }
    rows.add(List.of(cells));
  }

  List<String> headings() {
    return headings;
  }

  List<List<String>> rows() {
    return rows;
  }

  /** True when the column holds figures only. */
  boolean hasFigures(int column) {
    return !rows.isEmpty()
        && rows.stream().allMatch(row -> FIGURE.matcher(row.get(column)).matches());
  }

  void print(PrintWriter out) {
    List<List<String>> lines = new ArrayList<>(rows);
    lines.addFirst(headings);
    int columns = headings.size();
    int[] widths = new int[columns];
    boolean[] right = new boolean[columns];
    for (int i = 0; i < columns; i++) {
      int column = i;
      widths[i] = lines.stream().mapToInt(line -> line.get(column).length()).max().orElse(0);
      right[i] = hasFigures(i);
    }
    for (List<String> cells : lines) {
      StringBuilder line = new StringBuilder();
      for (int i = 0; i < columns; i++) {
        String padding = " ".repeat(widths[i] - cells.get(i).length());
        line.append(right[i] ? padding + cells.get(i) : cells.get(i) + padding).append("  ");
      }
      out.println(line.toString().stripTrailing());
    }
  }
}
