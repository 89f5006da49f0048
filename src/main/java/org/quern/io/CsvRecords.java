package org.quern.io;

import de.siegmar.fastcsv.reader.CsvParseException;
import de.siegmar.fastcsv.reader.CsvReader;
import de.siegmar.fastcsv.reader.CsvRecord;
import java.io.IOException;
import java.io.Reader;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;

/**
 * The records of a CSV file, by FastCSV. The only class that names that library, so that {@link
 * Csv} can be loaded and say what is missing where it is absent.
 */
final class CsvRecords {
  private CsvRecords() {}

  /** One record: the line on which it starts, from 1, and its fields. */
  record Row(long line, List<String> fields) {}

  /** Reads all records; empty lines are none, and records may differ in length. */
  static List<Row> read(String source, Reader text) throws IOException {
    List<Row> rows = new ArrayList<>();
    try (CsvReader<CsvRecord> reader =
        CsvReader.builder().allowMissingFields(true).allowExtraFields(true).ofCsvRecord(text)) {
      for (CsvRecord row : reader) {
        rows.add(new Row(row.getStartingLineNumber(), List.copyOf(row.getFields())));
      }
      return rows;
    } catch (CsvParseException e) {
      // The outer message says where, its cause what.
      String what = e.getCause() == null ? "" : ": " + e.getCause().getMessage();
      throw new FormatException(source, "malformed CSV: " + e.getMessage() + what);
    } catch (UncheckedIOException e) {
      throw new FormatException(
          source, "expected UTF-8 behind line " + (rows.isEmpty() ? 0 : rows.getLast().line()));
    }
  }
}
