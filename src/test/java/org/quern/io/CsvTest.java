package org.quern.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.lang.reflect.InvocationTargetException;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Tables are read whole, and errors name file, line and column. */
class CsvTest {
  @TempDir Path directory;

  @Test
  void fieldsAreReachedByRowAndColumn() throws IOException {
    Csv table =
        Csv.read(
            file("\ufeffpattern,ratio\r\n\"a,\"\"b\"\"\nc\",0.5\r\n\r\nx,-.25e1\n"),
            List.of("pattern", "ratio"));
    assertEquals(List.of("pattern", "ratio"), table.header());
    assertEquals(2, table.size());
    assertEquals("a,\"b\"\nc", table.text(0, "pattern"));
    assertEquals(0.5, table.number(0, "ratio"));
    assertEquals(List.of("x", "-.25e1"), table.row(1));
    assertEquals(-2.5, table.number(1, "ratio"));
    assertEquals(
        directory.resolve("table.csv") + ": line 5, column 2 (ratio): expected less",
        table.error(1, "ratio", "expected less").getMessage());
    assertEquals(
        "column: expected one of [pattern, ratio], got x",
        assertThrows(IllegalArgumentException.class, () -> table.text(0, "x")).getMessage());
  }

  @Test
  void aTableMayHaveNoRows() throws IOException {
    assertEquals(0, Csv.read(file("a,b")).size());
  }

  @ParameterizedTest
  @ValueSource(strings = {"", " 1", "1d", "0x1p3", "NaN", "Infinity", "1e999", "1,5", "--1", "."})
  void whatIsNoNumberIsNamed(String text) throws IOException {
    Path file = file("name,value\nx,\"" + text + "\"\n");
    FormatException error =
        assertThrows(FormatException.class, () -> Csv.read(file).number(0, "value"));
    assertEquals(
        file + ": line 2, column 2 (value): expected a finite number, got \"" + text + "\"",
        error.getMessage());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "``|expected a header, got no line",
        "a,b;1|line 2: expected 2 fields, got 1",
        "a,b;1,2;3,4,5|line 3: expected 2 fields, got 3",
        "a,b,a|line 1: expected each column once, got \"a\" twice",
        "pattern;x|line 1: expected the header a,b, got pattern",
        "a,b;1,\"2|line 2: expected a closing quote before the end of the file",
        "a,b;\"1\"x,2|malformed CSV: Exception when reading record that started in line 2: Unexpected character after closing"
            + " quote: 'x' (0x78)"
      })
  void malformedTablesAreRejected(String text, String message) throws IOException {
    Path file = file(text.replace(';', '\n'));
    FormatException error =
        assertThrows(FormatException.class, () -> Csv.read(file, List.of("a", "b")));
    assertEquals(file + ": " + message, error.getMessage());
  }

  @Test
  void malformedUtf8IsRejected() throws IOException {
    Path file =
        Files.write(
            directory.resolve("latin.csv"), "a\n\u00e9\n".getBytes(StandardCharsets.ISO_8859_1));
    FormatException error = assertThrows(FormatException.class, () -> Csv.read(file));
    assertEquals(file + ": expected UTF-8 behind line 0", error.getMessage());
  }

  /**
   * The classes of this library alone, without its optional dependency, as a user may have them.
   */
  @Test
  void anAbsentLibraryIsNamed() throws Exception {
    URL classes = Csv.class.getProtectionDomain().getCodeSource().getLocation();
    // The platform loader would find the library in the application's modules; the boot loader does
    // not.
    try (URLClassLoader alone = new URLClassLoader(new URL[] {classes}, null)) {
      Path file = file("a\n");
      var read = alone.loadClass(Csv.class.getName()).getMethod("read", Path.class);
      Throwable error =
          assertThrows(InvocationTargetException.class, () -> read.invoke(null, file)).getCause();
      assertInstanceOf(IllegalStateException.class, error);
      assertEquals(
          file
              + ": reading CSV needs the library de.siegmar:fastcsv (4.1.0) on the class or module path",
          error.getMessage());
    }
  }

  private Path file(String text) throws IOException {
    return Files.writeString(directory.resolve("table.csv"), text);
  }
}
