package org.quern.prune;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.quern.io.Csv;

/**
 * Ratios by layer, from a CSV table with the columns {@code pattern} and {@code ratio} or by block:
 * the first row whose expression is found in a tensor's name decides.
 */
final class LayerRatios {
  private static final String PATTERN = "pattern";
  private static final String RATIO = "ratio";

  /** No ratios: every layer takes the pattern of the whole run. */
  static final LayerRatios NONE = new LayerRatios(List.of());

  private record Row(java.util.regex.Pattern expression, double ratio, String place) {}

  private final List<Row> rows;

  private LayerRatios(List<Row> rows) {
    this.rows = rows;
  }

  /** Reads and checks the table. */
  static LayerRatios read(Path file) throws IOException {
    Csv table = Csv.read(file, List.of(PATTERN, RATIO));
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < table.size(); i++) {
      double ratio = table.number(i, RATIO);
      if (!(ratio >= 0 && ratio < 1)) {
        throw table.error(i, RATIO, "expected a share in [0, 1), got " + ratio);
      }
      try {
        rows.add(
            new Row(
                LayerSelection.compile(PATTERN, table.text(i, PATTERN)),
                ratio,
                file + ": row " + (i + 1)));
      } catch (IllegalArgumentException e) {
        throw table.error(i, PATTERN, String.valueOf(e.getMessage()));
      }
    }
    return new LayerRatios(rows);
  }

  /** The ratios of blocks, whose names begin as given. */
  static LayerRatios ofBlocks(List<String> beginnings, double[] ratios) {
    List<Row> rows = new ArrayList<>();
    for (int i = 0; i < ratios.length; i++) {
      String beginning = beginnings.get(i);
      String expression = "^" + java.util.regex.Pattern.quote(beginning);
      rows.add(
          new Row(
              java.util.regex.Pattern.compile(expression),
              ratios[i],
              "the ratio of block " + beginning));
    }
    return new LayerRatios(rows);
  }

  /** Checks that every row is found in some name. */
  void requireMatches(Set<String> names) {
    for (Row row : rows) {
      if (names.stream().noneMatch(name -> row.expression.matcher(name).find())) {
        throw new IllegalArgumentException(
            row.place
                + ": expected an expression that some tensor to prune matches, got '"
                + row.expression
                + "'");
      }
    }
  }

  /** The pattern of a layer: {@code common} with the layer's own ratio where it has one. */
  Pattern of(String name, Pattern common) {
    for (Row row : rows) {
      if (row.expression.matcher(name).find()) {
        return switch (common) {
          case Pattern.Unstructured u -> new Pattern.Unstructured(row.ratio, u.group());
          case Pattern.Cumulative c -> new Pattern.Cumulative(row.ratio);
          case Pattern.NM nm ->
              throw new IllegalArgumentException(
                  row.place
                      + ": expected a pattern by ratio, for which a layer may have its own, got "
                      + nm);
        };
      }
    }
    return common;
  }
}
