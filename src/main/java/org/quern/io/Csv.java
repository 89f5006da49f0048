package org.quern.io;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import org.quern.io.CsvRecords.Row;

/**
 * A table read from a CSV file (RFC 4180, UTF-8) with a header: named columns, every row as long as
 * the header. The file is held in memory.
 */
public final class Csv {
  private static final Pattern NUMBER =
      Pattern.compile("[+-]?(\\d++(\\.\\d*+)?|\\.\\d++)([eE][+-]?\\d++)?");

  private final String source;
  private final List<String> header;
  private final List<Row> rows;

  private Csv(String source, List<String> header, List<Row> rows) {
    this.source = source;
    this.header = header;
    this.rows = rows;
  }

  /**
   * Reads a table.
   *
   * @throws FormatException where the file is not CSV in UTF-8, has no header, the header has a
   *     name twice, or a row is shorter or longer than the header
   * @throws IllegalStateException where the library FastCSV, an optional dependency, is absent
   */
  public static Csv read(Path file) throws IOException {
    try {
      return parse(file.toString(), Files.readAllBytes(file));
    } catch (NoClassDefFoundError e) {
      throw new IllegalStateException(
          file
              + ": reading CSV needs the library de.siegmar:fastcsv (4.1.0) on the class or module path",
          e);
    }
  }

  /**
   * Reads a table that must have these columns in this order.
   *
   * @throws FormatException where the header is another, and as {@link #read(Path)} does
   */
  public static Csv read(Path file, List<String> header) throws IOException {
    Csv table = read(file);
    if (!table.header.equals(header)) {
      throw new FormatException(
          file.toString(),
          "line 1: expected the header "
              + String.join(",", header)
              + ", got "
              + String.join(",", table.header));
    }
    return table;
  }

  /** Column names in the order of the file. */
  public List<String> header() {
    return header;
  }

  /** Number of rows behind the header. */
  public int size() {
    return rows.size();
  }

  /** The fields of a row, from 0, in the order of the header. */
  public List<String> row(int row) {
    return rows.get(row).fields();
  }

  /**
   * One field.
   *
   * @param row from 0, behind the header
   * @throws IllegalArgumentException where the table has no such column
   */
  public String text(int row, String column) {
    return row(row).get(index(column));
  }

  /**
   * One field as a number: decimal, with an optional exponent.
   *
   * @throws FormatException where the field is no finite number
   * @throws IllegalArgumentException where the table has no such column
   */
  public double number(int row, String column) throws FormatException {
    String text = text(row, column);
    double value = NUMBER.matcher(text).matches() ? Double.parseDouble(text) : Double.NaN;
    if (!Double.isFinite(value)) {
      throw error(row, column, "expected a finite number, got " + FormatException.quote(text));
    }
    return value;
  }

  /** An error about one field, for a caller that expected something else there. */
  public FormatException error(int row, String column, String problem) {
    return new FormatException(
        source,
        "line "
            + rows.get(row).line()
            + ", column "
            + (index(column) + 1)
            + " ("
            + column
            + "): "
            + problem);
  }

  private int index(String column) {
    int index = header.indexOf(column);
    if (index < 0) {
      throw new IllegalArgumentException("column: expected one of " + header + ", got " + column);
    }
    return index;
  }

  private static Csv parse(String source, byte[] content) throws IOException {
    List<Row> rows = CsvRecords.read(source, text(content));
    if (rows.isEmpty()) {
      throw new FormatException(source, "expected a header, got no line");
    }
    // The parser takes the end of the file for a missing quote.
    if (quotes(content) % 2 != 0) {
      throw lineError(
          source, rows.getLast().line(), "expected a closing quote before the end of the file");
    }
    Row header = rows.removeFirst();
    Set<String> names = new HashSet<>();
    for (String name : header.fields()) {
      if (!names.add(name)) {
        throw lineError(
            source,
            header.line(),
            "expected each column once, got " + FormatException.quote(name) + " twice");
      }
    }
    for (Row row : rows) {
      if (row.fields().size() != names.size()) {
        throw lineError(
            source, row.line(), "expected " + names.size() + " fields, got " + row.fields().size());
      }
    }
    return new Csv(source, header.fields(), rows);
  }

  private static FormatException lineError(String source, long line, String problem) {
    return new FormatException(source, "line " + line + ": " + problem);
  }

  /**
   * The characters behind a byte order mark, if any; a decoder of its own reports malformed UTF-8.
   */
  private static Reader text(byte[] content) {
    boolean marked =
        content.length >= 3
            && content[0] == (byte) 0xef
            && content[1] == (byte) 0xbb
            && content[2] == (byte) 0xbf;
    int start = marked ? 3 : 0;
    return new InputStreamReader(
        new ByteArrayInputStream(content, start, content.length - start),
        StandardCharsets.UTF_8.newDecoder());
  }

  private static int quotes(byte[] content) {
    int quotes = 0;
    for (byte b : content) {
      quotes += b == '"' ? 1 : 0;
    }
    return quotes;
  }
}
