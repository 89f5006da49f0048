package org.quern.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Any bytes are either a file whose header keeps its promises, or rejected by a {@link
 * FormatException} of one line. A plain test run checks the seeds; {@code mvn test -Pfuzz} mutates
 * them, guided by coverage, for the time of {@code -Dquern.fuzz.duration=1m}.
 */
class SafetensorsFuzzTest {
  /** Files on both sides of every check, for the mutations to start from. */
  static Stream<byte[]> seeds() {
    Stream<byte[]> rejected =
        SafetensorsHeaderTest.rejected()
            .map(arguments ->
                SafetensorsBytes.file((String) arguments.get()[0], (int) arguments.get()[1]))
            .filter(file -> file.length < 1000);
    Stream<byte[]> accepted =
        Stream.of(
            SafetensorsBytes.file("{}", 0),
            SafetensorsBytes.file("{\"__metadata__\":{\"format\":\"pt\"}}   ", 0),
            SafetensorsBytes.file(
                "{\"a\":{\"dtype\":\"F32\",\"shape\":[2,3],\"data_offsets\":[0,24]}}", 24),
            SafetensorsBytes.file(
                "{\"a\":{\"dtype\":\"F4\",\"shape\":[2],\"data_offsets\":[8,9]},"
                    + "\"b\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]},"
                    + "\"c\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[0,8]},"
                    + "\"d\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[9,9]}}",
                9));
    return Stream.concat(accepted, rejected);
  }

  @ParameterizedTest
  @MethodSource("seeds")
  void seedsAreAHeaderOrAFormatException(byte[] file) throws IOException {
    check(file);
  }

  @MethodSource("seeds")
  @FuzzTest(maxDuration = "1m")
  void anyBytesAreAHeaderOrAFormatException(byte[] file) throws IOException {
    check(file);
    // Most mutations change the length of the JSON; without this they would all fail at the length.
    check(withTrueLength(file));
  }

  /** The file with the length of a JSON that ends at the last brace. */
  private static byte[] withTrueLength(byte[] file) {
    int end = file.length;
    while (end > Long.BYTES && file[end - 1] != '}') {
      end--;
    }
    byte[] copy = Arrays.copyOf(file, Math.max(Long.BYTES, file.length));
    System.arraycopy(
        SafetensorsBytes.length(Math.max(0, end - Long.BYTES)), 0, copy, 0, Long.BYTES);
    return copy;
  }

  private static void check(byte[] file) throws IOException {
    SafetensorsHeader header;
    try {
      header =
          SafetensorsHeader.read(
              "fuzz", Channels.newChannel(new ByteArrayInputStream(file)), file.length);
    } catch (FormatException e) {
      String message = e.getMessage();
      assertTrue(message.startsWith("fuzz: ") && message.length() < 1100, message);
      assertTrue(message.chars().noneMatch(Character::isISOControl), message);
      return;
    }
    assertEquals(file.length, header.fileSize());
    assertArrayEquals(Arrays.copyOf(file, (int) header.dataBegin()), header.bytes());
    checkEntries(header);
    checkSecondWriting(header);
  }

  /** Entries cover the data from its begin to its end, each as large as its shape demands. */
  private static void checkEntries(SafetensorsHeader header) {
    List<SafetensorsEntry> entries = header.entries();
    boolean[] covered = new boolean[(int) (header.fileSize() - header.dataBegin())];
    for (SafetensorsEntry entry : entries) {
      long elements = Arrays.stream(entry.shape()).reduce(1, Math::multiplyExact);
      assertEquals(elements * entry.type().bits(), 8 * entry.bytes());
      int begin = (int) (entry.begin() - header.dataBegin());
      int end = (int) (entry.end() - header.dataBegin());
      for (int i = begin; i < end; i++) {
        boolean shared =
            entries.stream().anyMatch(other -> other != entry && other.sharesBytesWith(entry));
        assertTrue(!covered[i] || shared, () -> "overlap at " + entry);
      }
      Arrays.fill(covered, begin, end, true);
      assertEquals(entry, header.find(entry.name()));
    }
    for (int i = 0; i < covered.length; i++) {
      assertTrue(covered[i], "hole at " + i);
    }
  }

  /** What the reader accepts, the builder can write, and the reader finds the same again. */
  private static void checkSecondWriting(SafetensorsHeader header) {
    SafetensorsHeader.Builder builder = SafetensorsHeader.builder().metadata(header.metadata());
    header.entries().forEach(entry -> builder.add(entry.name(), entry.type(), entry.shape()));
    SafetensorsHeader again = builder.build();
    assertEquals(header.metadata(), again.metadata());
    for (SafetensorsEntry entry : header.entries()) {
      SafetensorsEntry other = again.find(entry.name());
      assertEquals(entry.type(), other.type());
      assertArrayEquals(entry.shape(), other.shape());
    }
  }
}
