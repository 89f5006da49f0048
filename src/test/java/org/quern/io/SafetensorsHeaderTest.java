package org.quern.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every demand of the format is checked, and the message says file, tensor and what was expected.
 */
class SafetensorsHeaderTest {
  @TempDir Path directory;

  /** Header JSON, bytes of data behind it, and the message behind the file's name. */
  static Stream<Arguments> rejected() {
    String deep = "[".repeat(100_000);
    return Stream.of(
        // The tensor object.
        Arguments.of(
            "{\"a\":1}",
            0,
            "tensor \"a\": expected an object of dtype, shape and data_offsets, got NUMBER"),
        Arguments.of(
            "{\"a\":{}}",
            0,
            "tensor \"a\": expected the fields dtype, shape and data_offsets, dtype is missing"),
        Arguments.of(
            "{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}",
            1,
            "tensor \"a\": expected the fields dtype, shape and data_offsets, shape is missing"),
        Arguments.of(
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}",
            1,
            "tensor \"a\": expected the fields dtype, shape and data_offsets, data_offsets is missing"),
        Arguments.of(
            "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":0}}",
            1,
            "tensor \"a\": expected the fields dtype, shape and data_offsets, got \"x\""),
        Arguments.of(
            "{\"a\":{\"dtype\":\"U8\",\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            1,
            "tensor \"a\": expected dtype once, got it twice"),
        Arguments.of(
            "{\"a\":{\"shape\":[1],\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
            1,
            "tensor \"a\": expected shape once, got it twice"),
        Arguments.of(
            "{\"a\":{\"data_offsets\":[0,1],\"data_offsets\":[0,1]}}",
            1,
            "tensor \"a\": expected data_offsets once, got it twice"),
        Arguments.of(
            "{" + tensor("a", "[1]", "0,1") + "," + tensor("a", "[1]", "0,1") + "}",
            1,
            "tensor \"a\": expected each name once, got it twice"),
        // The element type.
        Arguments.of(
            "{\"a\":{\"dtype\":8}}", 0, "tensor \"a\": dtype: expected a string, got NUMBER"),
        Arguments.of(
            "{\"a\":{\"dtype\":\"u8\"}}",
            0,
            "tensor \"a\": dtype: expected one of [BOOL, F4, F6_E2M3, F6_E3M2, U8,"
                + " I8, F8_E5M2, F8_E4M3, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ, I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64,"
                + " U64], got \"u8\""),
        // Shapes.
        Arguments.of(
            "{\"a\":{\"shape\":1}}",
            0,
            "tensor \"a\": shape: expected an array of integers, got NUMBER"),
        Arguments.of(
            "{\"a\":{\"shape\":[\"1\"]}}",
            0,
            "tensor \"a\": shape: expected an integer, got STRING"),
        Arguments.of(
            "{\"a\":{\"shape\":[[]]}}",
            0,
            "tensor \"a\": shape: expected an integer, got BEGIN_ARRAY"),
        Arguments.of(badInteger("-1"), 0, noInteger("-1")),
        Arguments.of(badInteger("-0"), 0, noInteger("-0")),
        Arguments.of(badInteger("1.0"), 0, noInteger("1.0")),
        Arguments.of(badInteger("1e1"), 0, noInteger("1e1")),
        Arguments.of(badInteger("9223372036854775808"), 0, noInteger("9223372036854775808")),
        Arguments.of(badInteger("18446744073709551617"), 0, noInteger("18446744073709551617")),
        Arguments.of(
            "{\"a\":{\"shape\":[" + "1,".repeat(64) + "1]}}",
            0,
            "tensor \"a\": shape: expected at most 64 integers, got more"),
        Arguments.of(
            "{" + tensor("a", "[4294967296,4294967296]", "0,1") + "}",
            1,
            "tensor \"a\": shape: expected fewer than 2^63 bits in whole bytes of U8, got [4294967296, 4294967296]"),
        Arguments.of(
            "{" + tensor("a", "[9223372036854775807]", "0,1") + "}",
            1,
            "tensor \"a\": shape: expected fewer than 2^63 bits in whole bytes of U8, got [9223372036854775807]"),
        Arguments.of(
            "{\"a\":{\"dtype\":\"F4\",\"shape\":[3],\"data_offsets\":[0,2]}}",
            2,
            "tensor \"a\": shape: expected fewer than 2^63 bits in whole bytes of F4, got [3]"),
        // Offsets.
        Arguments.of(
            "{\"a\":{\"data_offsets\":[0,1,2]}}",
            0,
            "tensor \"a\": data_offsets: expected at most 2 integers, got more"),
        Arguments.of(
            "{" + tensor("a", "[1]", "0") + "}",
            1,
            "tensor \"a\": data_offsets: expected [begin, end] with begin <= end, got [0]"),
        Arguments.of(
            "{" + tensor("a", "[1]", "1,0") + "}",
            1,
            "tensor \"a\": data_offsets: expected [begin, end] with begin <= end, got [1, 0]"),
        Arguments.of(
            "{" + tensor("a", "[2]", "0,1") + "}",
            1,
            "tensor \"a\": data_offsets: expected 2 bytes for U8[2], got 1"),
        Arguments.of(
            "{" + tensor("a", "[]", "0,0") + "}",
            0,
            "tensor \"a\": data_offsets: expected 1 bytes for U8[], got 0"),
        Arguments.of(
            "{" + tensor("a", "[9]", "0,9") + "}",
            8,
            "tensor \"a\": data_offsets: expected an end within the 8 bytes of data in the file, got [0, 9]"),
        Arguments.of(
            "{" + tensor("a", "[1]", "9223372036854775806,9223372036854775807") + "}",
            8,
            "tensor \"a\": data_offsets: expected an end within the 8 bytes of data in the file, got"
                + " [9223372036854775806, 9223372036854775807]"),
        Arguments.of(
            "{" + tensor("a", "[4]", "0,4") + "," + tensor("b", "[4]", "3,7") + "}",
            7,
            "tensor \"b\": data_offsets: expected to begin at or behind 4 where tensor \"a\" ends, got 3"),
        Arguments.of(
            "{" + tensor("a", "[4]", "0,4") + "," + tensor("b", "[3]", "0,3") + "}",
            4,
            "tensor \"a\": data_offsets: expected to begin at or behind 3 where tensor \"b\" ends, got 0"),
        Arguments.of(
            "{" + tensor("a", "[4]", "0,4") + "," + tensor("b", "[0]", "2,2") + "}",
            4,
            "tensor \"b\": data_offsets: expected to begin at or behind 4 where tensor \"a\" ends, got 2"),
        Arguments.of(
            "{" + tensor("a", "[4]", "0,4") + "," + tensor("b", "[3]", "5,8") + "}",
            8,
            "tensor \"b\": data_offsets: expected to begin at 4 without a hole, got 5"),
        Arguments.of(
            "{" + tensor("a", "[4]", "1,5") + "}",
            5,
            "tensor \"a\": data_offsets: expected to begin at 0 without a hole, got 1"),
        Arguments.of(
            "{" + tensor("a", "[4]", "0,4") + "}",
            6,
            "expected 4 bytes of data, as the tensors cover, got 6"),
        Arguments.of("{}", 6, "expected 0 bytes of data, as the tensors cover, got 6"),
        // Metadata.
        Arguments.of(
            "{\"__metadata__\":[]}",
            0,
            "__metadata__: expected an object of strings, got BEGIN_ARRAY"),
        Arguments.of(
            "{\"__metadata__\":{\"k\":1}}", 0, "__metadata__ \"k\": expected a string, got NUMBER"),
        Arguments.of(
            "{\"__metadata__\":{\"k\":\"1\",\"k\":\"1\"}}",
            0,
            "__metadata__ \"k\": expected each key once, got it twice"),
        Arguments.of(
            "{\"__metadata__\":{},\"__metadata__\":{}}",
            0,
            "__metadata__: expected once, got it twice"),
        // JSON.
        Arguments.of("[]", 0, "header: expected '{' at byte 8, got 0x5b"),
        Arguments.of(" {}", 0, "header: expected '{' at byte 8, got 0x20"),
        Arguments.of("{}x", 0, "header: line 1 column 4: malformed JSON"),
        Arguments.of("{} {}", 0, "header: line 1 column 5: malformed JSON"),
        Arguments.of("{}\0", 0, "header: line 1 column 4: malformed JSON"),
        Arguments.of("{\"a\"", 0, "header: line 1 column 5: the document ends too early"),
        Arguments.of("{\"a", 0, "header: line 1 column 4: malformed JSON: Unterminated string"),
        Arguments.of("{'a':1}", 0, "header: line 1 column 3: malformed JSON"),
        Arguments.of(
            "{\"a\":{\"dtype\":\"U8\",}}",
            0,
            "header: line 1 column 21: malformed JSON: Expected name"),
        Arguments.of("{/**/}", 0, "header: line 1 column 3: malformed JSON"),
        Arguments.of(badInteger("NaN"), 0, "header: line 1 column 16: malformed JSON"),
        Arguments.of(badInteger("01"), 0, "header: line 1 column 16: malformed JSON"),
        Arguments.of(badInteger("9".repeat(5000)), 0, "header: line 1 column 16: malformed JSON"),
        Arguments.of(
            "{\"\\ud800\":1}",
            0,
            "header: line 1 column 10: malformed JSON:"
                + " Unpaired surrogate characters are not allowed in strict mode"),
        Arguments.of(
            "{\"a\":" + deep,
            0,
            "tensor \"a\": expected an object of dtype, shape and data_offsets, got BEGIN_ARRAY"),
        Arguments.of(
            "{\"a\":{\"shape\":" + deep,
            0,
            "tensor \"a\": shape: expected an integer, got BEGIN_ARRAY"),
        // Messages stay on one short line.
        Arguments.of(
            "{\"a\\n\\u001bb\":1}",
            0,
            "tensor \"a\\u000a\\u001bb\": expected an object of dtype, shape and data_offsets, got NUMBER"),
        Arguments.of(
            "{\"" + "n".repeat(1_000_000) + "\":1}",
            0,
            "tensor \""
                + "n".repeat(100)
                + "...\": expected an object of dtype, shape and data_offsets, got NUMBER"));
  }

  @ParameterizedTest
  @MethodSource("rejected")
  void aBadHeaderIsRejectedInOneLine(String json, int dataSize, String message) throws IOException {
    Path file =
        Files.write(directory.resolve("bad.safetensors"), SafetensorsBytes.file(json, dataSize));
    FormatException error = assertThrows(FormatException.class, () -> SafetensorsFile.open(file));
    assertEquals(file + ": " + message, error.getMessage());
  }

  @Test
  void aBadLengthIsRejected() throws IOException {
    assertRejected(new byte[0], "expected a safetensors file of at least 8 bytes, got 0");
    assertRejected(new byte[7], "expected a safetensors file of at least 8 bytes, got 7");
    assertRejected(new byte[8], "header length: expected 2 to 100000000, got 0");
    assertRejected(SafetensorsBytes.length(1), "header length: expected 2 to 100000000, got 1");
    assertRejected(
        SafetensorsBytes.length(100_000_001),
        "header length: expected 2 to 100000000, got 100000001");
    assertRejected(
        SafetensorsBytes.length(-1),
        "header length: expected 2 to 100000000, got 18446744073709551615");
    assertRejected(
        SafetensorsBytes.length(100_000_000),
        "header length: expected at most the 0 bytes that follow it, got 100000000");
    byte[] whole = SafetensorsBytes.file("{" + tensor("a", "[4]", "0,4") + "}", 4);
    for (int size = 8; size < whole.length - 4; size++) {
      assertRejected(
          Arrays.copyOf(whole, size),
          "header length: expected at most the "
              + (size - 8)
              + " bytes that follow it, got "
              + (whole.length - 12));
    }
    assertRejected(
        Arrays.copyOf(whole, whole.length - 1),
        "tensor \"a\": data_offsets: expected an end within the 3 bytes of data in the file, got [0, 4]");
  }

  @Test
  void malformedUtf8IsRejected() throws IOException {
    byte[] bytes = SafetensorsBytes.file("{\"a?\":1}", 0);
    bytes[11] = (byte) 0xff;
    assertRejected(bytes, "header: line 1 column 1: expected UTF-8");
  }

  @Test
  void aMissingFileAndAMissingTensorAreNamed() throws IOException {
    Path none = directory.resolve("none.safetensors");
    assertEquals(
        none + ": expected a safetensors file, found none",
        assertThrows(FormatException.class, () -> SafetensorsFile.open(none)).getMessage());
    Path file = Files.write(directory.resolve("x"), SafetensorsBytes.file("{}", 0));
    try (SafetensorsFile empty = SafetensorsFile.open(file)) {
      assertEquals(0, empty.entries().size());
      assertEquals(
          file + ": expected a tensor \"a\", found none",
          assertThrows(FormatException.class, () -> empty.entry("a")).getMessage());
    }
  }

  /** Each type's bits, as the format states them, decide the size. */
  @ParameterizedTest
  @EnumSource
  void everyTypeHasItsSize(SafetensorsType type) throws IOException {
    int bits =
        switch (type) {
          case F4 -> 4;
          case F6_E2M3, F6_E3M2 -> 6;
          case BOOL, U8, I8, F8_E5M2, F8_E4M3, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ -> 8;
          case I16, U16, F16, BF16 -> 16;
          case I32, U32, F32 -> 32;
          case C64, F64, I64, U64 -> 64;
        };
    String json =
        "{\"a\":{\"dtype\":\""
            + type
            + "\",\"shape\":[3,4],\"data_offsets\":[0,"
            + 12 * bits / 8
            + "]}}";
    SafetensorsHeader header = parse(SafetensorsBytes.file(json, 12 * bits / 8));
    assertEquals(type, header.entries().getFirst().type());
    if (type.type() != null) {
      assertEquals(bits, 8 * type.type().bytes());
      assertEquals(type.name(), type.type().name());
    }
  }

  @Test
  void whatTheFormatAllowsIsAccepted() throws IOException {
    assertTrue(parse(SafetensorsBytes.file("{}", 0)).entries().isEmpty());
    assertTrue(parse(SafetensorsBytes.file("{}        ", 0)).metadata().isEmpty());
    SafetensorsHeader header =
        parse(
            SafetensorsBytes.file(
                "{"
                    + tensor("z", "[0]", "4,4")
                    + ","
                    + tensor("b", "[2,2]", "4,8")
                    + ","
                    + tensor("", "[4]", "0,4")
                    + ","
                    + tensor("tied", "[4]", "4,8")
                    + ","
                    + tensor("end", "[5,0]", "8,8")
                    + "}",
                8));
    assertEquals("", header.entries().getFirst().name());
    assertTrue(header.find("b").sharesBytesWith(header.find("tied")));
    assertFalse(header.find("z").sharesBytesWith(header.find("z")));
    assertArrayEquals(new long[] {5, 0}, header.find("end").shape());
  }

  private static SafetensorsHeader parse(byte[] file) throws IOException {
    return SafetensorsHeader.read(
        "test", Channels.newChannel(new ByteArrayInputStream(file)), file.length);
  }

  private void assertRejected(byte[] bytes, String message) {
    FormatException error = assertThrows(FormatException.class, () -> parse(bytes));
    assertEquals("test: " + message, error.getMessage());
  }

  private static String tensor(String name, String shape, String offsets) {
    return "\""
        + name
        + "\":{\"dtype\":\"U8\",\"shape\":"
        + shape
        + ",\"data_offsets\":["
        + offsets
        + "]}";
  }

  private static String badInteger(String integer) {
    return "{\"a\":{\"shape\":[" + integer + "]}}";
  }

  private static String noInteger(String integer) {
    return "tensor \"a\": shape: expected an integer from 0 to 2^63 - 1, got \"" + integer + "\"";
  }
}
