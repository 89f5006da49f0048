package org.quern.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.SplittableRandom;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** JSON is read strictly, with exact numbers, and errors name file, line and column. */
class JsonTest {
  @TempDir Path directory;

  @Test
  void aDocumentComesBackAsATree() throws IOException {
    JsonObject object =
        Json.readObject(file("{\"a\": [1, 2.5, null, true, \"x\\u00e9\"],\n \"b\": {}}"));
    assertEquals("[1,2.5,null,true,\"x\u00e9\"]", object.get("a").toString());
    assertTrue(object.getAsJsonObject("b").isEmpty());
  }

  @Test
  void aStringIsReadAsAFileIs() throws IOException {
    assertEquals("[1,2.5]", Json.read("case", "[1, 2.5]").toString());
    FormatException e = assertThrows(FormatException.class, () -> Json.read("case", "[1,"));
    assertTrue(String.valueOf(e.getMessage()).startsWith("case: line 1"), e.getMessage());
  }

  @Test
  void numbersAreExact() throws IOException {
    assertEquals(Long.MIN_VALUE, read("-9223372036854775808").getAsLong());
    assertEquals("9223372036854775808", read("9223372036854775808").getAsBigInteger().toString());
    assertEquals(
        Double.doubleToRawLongBits(-0.0), Double.doubleToRawLongBits(read("-0").getAsDouble()));
    assertEquals(Double.MIN_VALUE, read("4.9e-324").getAsDouble());
    // Halfway between two doubles, and a last digit that decides.
    assertEquals(
        1.0, read("1.00000000000000011102230246251565404236316680908203125").getAsDouble());
    assertEquals(
        Math.nextUp(1.0),
        read("1.00000000000000011102230246251565404236316680908203126").getAsDouble());
    SplittableRandom random = new SplittableRandom(11);
    for (int i = 0; i < 10_000; i++) {
      double value = Double.longBitsToDouble(random.nextLong());
      if (Double.isFinite(value)) {
        assertEquals(value, read(Double.toString(value)).getAsDouble());
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"a\":1,\"a\":2}|line 1 column 11: duplicate name \"a\"",
        "[1,]|line 1 column 5: malformed JSON",
        "[NaN]|line 1 column 2: malformed JSON",
        "[1e999]|line 1 column 7: expected a number within the range of a double, got 1e999",
        "[1] 2|line 1 column 6: malformed JSON",
        "[1|line 1 column 3: the document ends too early",
        "// no|line 1 column 2: malformed JSON",
        "3|expected a JSON object"
      })
  void malformedDocumentsAreRejected(String document, String message) throws IOException {
    Path file = file(document);
    FormatException error = assertThrows(FormatException.class, () -> Json.readObject(file));
    assertEquals(file + ": " + message, error.getMessage());
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1, 255, 256, 100_000})
  void depthIsLimited(int depth) throws IOException {
    Path file = file("[".repeat(depth) + "1" + "]".repeat(depth));
    if (depth <= 255) {
      Json.read(file);
    } else {
      String message = assertThrows(FormatException.class, () -> Json.read(file)).getMessage();
      assertEquals(
          file + ": line 1 column 257: malformed JSON: Nesting limit 255 reached", message);
    }
  }

  @Test
  void anEmptyFileAndBadUtf8AreRejected() throws IOException {
    Path empty = file("");
    assertEquals(
        empty + ": line 1 column 1: the document ends too early",
        assertThrows(FormatException.class, () -> Json.read(empty)).getMessage());
    Path latin =
        Files.write(
            directory.resolve("latin.json"), "[\"\u00e9\"]".getBytes(StandardCharsets.ISO_8859_1));
    String message = assertThrows(FormatException.class, () -> Json.read(latin)).getMessage();
    assertTrue(message.endsWith("expected UTF-8"), message);
  }

  @Test
  void whatIsWrittenIsReadBack() throws IOException {
    JsonObject object =
        Json.readObject(
            file(
                "{\"<a>\": [1, -0.0, 1e-300, 12345678901234567890, null], \"b\": {\"c\": \"\\n\"}}"));
    Path copy = directory.resolve("copy.json");
    Json.write(copy, object);
    assertEquals(object, Json.read(copy));
    assertTrue(Files.readString(copy).startsWith("{\n  \"<a>\": [\n"));
    object.add("bad", new JsonPrimitive(Double.NaN));
    assertThrows(IllegalArgumentException.class, () -> Json.write(copy, object));
    object.remove("bad");
    assertEquals(object, Json.read(copy));
  }

  private JsonElement read(String document) throws IOException {
    return Json.read(file("[" + document + "]")).getAsJsonArray().get(0);
  }

  private Path file(String document) throws IOException {
    return Files.writeString(directory.resolve("document.json"), document);
  }
}
