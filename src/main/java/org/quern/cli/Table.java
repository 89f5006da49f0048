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

  /** Longest line of a cell with several words. */
  private static final int WRAP = 36;

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
    List<List<List<String>>> lines = new ArrayList<>();
    lines.add(headings.stream().map(List::of).toList());
    int columns = headings.size();
    for (List<String> row : rows) {
      // What stands last has room.
      List<List<String>> cells = new ArrayList<>();
      row.subList(0, columns - 1).forEach(cell -> cells.add(wrap(cell)));
      cells.add(List.of(row.getLast()));
      lines.add(cells);
    }
    int[] widths = new int[columns];
    boolean[] right = new boolean[columns];
    for (int i = 0; i < columns; i++) {
      int column = i;
      widths[i] =
          lines.stream()
              .flatMap(cells -> cells.get(column).stream())
              .mapToInt(String::length)
              .max()
              .orElse(0);
      right[i] = hasFigures(i);
    }
    for (List<List<String>> cells : lines) {
      int height = cells.stream().mapToInt(List::size).max().orElse(0);
      for (int part = 0; part < height; part++) {
        StringBuilder line = new StringBuilder();
        for (int i = 0; i < columns; i++) {
          String text = part < cells.get(i).size() ? cells.get(i).get(part) : "";
          String padding = " ".repeat(widths[i] - text.length());
          line.append(right[i] ? padding + text : text + padding).append("  ");
        }
        out.println(line.toString().stripTrailing());
      }
    }
  }

  /** The lines of a cell, broken between words; a long word is left whole. */
  private static List<String> wrap(String cell) {
    List<String> lines = new ArrayList<>();
    StringBuilder line = new StringBuilder();
    for (String word : cell.split(" ", -1)) {
      if (!line.isEmpty() && line.length() + 1 + word.length() > WRAP) {
        lines.add(line.toString());
        line.setLength(0);
      }
      line.append(line.isEmpty() ? "" : " ").append(word);
    }
    lines.add(line.toString());
    return lines;
  }
}
