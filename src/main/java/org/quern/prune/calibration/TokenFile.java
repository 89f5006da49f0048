package org.quern.prune.calibration;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.io.BufferedReader;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Arrays;
import java.util.List;
import java.util.StringTokenizer;
import org.jspecify.annotations.Nullable;
import org.quern.io.FormatException;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsType;

/**
 * Reads token ids from a file, by its name:
 *
 * <ul>
 *   <li>{@code .safetensors}: a tensor of integers, [tokens] for one stream or [rows, length]; the
 *       only one in the file, or that which is named behind a {@code #} as in {@code
 *       ids.safetensors#test_ids}
 *   <li>{@code .csv}: decimal ids between commas, each line a row of the same length
 *   <li>{@code .txt}: decimal ids between white space or commas, one stream
 *   <li>any other: raw unsigned integers, little endian, one stream
 * </ul>
 */
public final class TokenFile {
  /** Ids looked at to tell that a raw file holds four bytes for each, not two. */
  private static final int PROBE = 4096;

  private final String source;
  private final Path path;
  private final int vocabulary;
  private final Arena arena;

  private TokenFile(String source, Path path, int vocabulary, Arena arena) {
    this.source = source;
    this.path = path;
    this.vocabulary = vocabulary;
    this.arena = arena;
  }

  /**
   * Opens a file and checks all its ids. Ids of a binary file stay where they are, mapped into
   * memory; those of a text are held, four bytes each.
   *
   * @param path the file, with {@code #TENSOR} behind it where it is needed
   * @param type of a raw file; null for two bytes where the vocabulary fits, else four
   * @param vocabulary number of ids of the model
   * @param arena gives the memory
   * @throws FormatException where the file is not as described or an id is not below {@code
   *     vocabulary}; the message tells which
   */
  public static TokenizedText read(Path path, @Nullable TokenType type, int vocabulary, Arena arena)
      throws IOException {
    String name = path.toString();
    int mark = name.lastIndexOf('#');
    boolean named = mark > 0 && !Files.exists(path);
    Path file = named ? Path.of(name.substring(0, mark)) : path;
    if (!Files.isRegularFile(file)) {
      throw new FormatException(file.toString(), "expected a file with token ids, found none");
    }
    TokenFile reader = new TokenFile(name, file, vocabulary, arena);
    if (file.toString().endsWith(".safetensors")) {
      return reader.readTensor(named ? name.substring(mark + 1) : null);
    }
    if (file.toString().endsWith(".csv")) {
      return reader.readText(true);
    }
    return file.toString().endsWith(".txt") ? reader.readText(false) : reader.readRaw(type);
  }

  private TokenizedText readRaw(@Nullable TokenType given) throws IOException {
    TokenType type = given != null ? given : TokenType.of(vocabulary);
    try (FileChannel channel = FileChannel.open(path, StandardOpenOption.READ)) {
      MemorySegment bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, channel.size(), arena);
      if (bytes.byteSize() % type.bytes() != 0) {
        throw new FormatException(
            source,
            "expected token ids of "
                + type.bytes()
                + " bytes each, got "
                + bytes.byteSize()
                + " bytes; --token-type tells the type");
      }
      if (given == null && type == TokenType.U16 && isWide(bytes)) {
        throw new FormatException(
            source,
            "expected token ids of 2 bytes each, but every second one is 0, as in a file with 4 bytes"
                + " each; say which it is by --token-type u32 or u16");
      }
      return checked(
          bytes,
          type == TokenType.U16 ? SafetensorsType.U16 : SafetensorsType.U32,
          new long[] {bytes.byteSize() / type.bytes()});
    }
  }

  private static boolean isWide(MemorySegment bytes) {
    long pairs = Math.min(PROBE, bytes.byteSize() / Integer.BYTES);
    boolean wide = bytes.byteSize() % Integer.BYTES == 0 && pairs > 1;
    boolean anything = false;
    for (long i = 0; wide && i < pairs; i++) {
      anything |= bytes.get(JAVA_SHORT_UNALIGNED, i * Integer.BYTES) != 0;
      wide = bytes.get(JAVA_SHORT_UNALIGNED, i * Integer.BYTES + Short.BYTES) == 0;
    }
    return wide && anything;
  }

  private TokenizedText readTensor(@Nullable String name) throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      SafetensorsEntry entry = name == null ? onlyIntegers(file) : file.entry(name);
      if (!isInteger(entry.type()) || entry.shape().length < 1 || entry.shape().length > 2) {
        throw new FormatException(
            source, entry.name() + ": expected integers [tokens] or [rows, length], got " + entry);
      }
      return checked(file.map(entry.name(), arena), entry.type(), entry.shape());
    }
  }

  private static boolean isInteger(SafetensorsType type) {
    return switch (type) {
      case I8, U8, I16, U16, I32, U32, I64, U64 -> true;
      default -> false;
    };
  }

  private SafetensorsEntry onlyIntegers(SafetensorsFile file) throws FormatException {
    List<SafetensorsEntry> integers =
        file.entries().stream().filter(entry -> isInteger(entry.type())).toList();
    if (integers.size() != 1) {
      throw new FormatException(
          source,
          "expected one tensor of integers, got "
              + (integers.isEmpty()
                  ? "none"
                  : integers.size()
                      + ", among them "
                      + integers.stream().limit(3).map(SafetensorsEntry::name).toList()
                      + "; name one as "
                      + path.getFileName()
                      + "#"
                      + integers.getFirst().name()));
    }
    return integers.getFirst();
  }

  private TokenizedText checked(MemorySegment bytes, SafetensorsType type, long[] shape)
      throws FormatException {
    long width = type.bits() / Byte.SIZE;
    long count = bytes.byteSize() / width;
    if (count > Integer.MAX_VALUE) {
      throw new FormatException(source, "expected fewer than 2^31 token ids, got " + count);
    }
    for (long i = 0; i < count; i++) {
      check(load(bytes, type, i * width), "token " + i);
    }
    return new TokenizedText(source, shape, place -> (int) load(bytes, type, place * width));
  }

  private static long load(MemorySegment bytes, SafetensorsType type, long at) {
    return switch (type) {
      case I8 -> bytes.get(JAVA_BYTE, at);
      case U8 -> bytes.get(JAVA_BYTE, at) & 0xff;
      case I16 -> bytes.get(JAVA_SHORT_UNALIGNED, at);
      case U16 -> bytes.get(JAVA_SHORT_UNALIGNED, at) & 0xffff;
      case I32 -> bytes.get(JAVA_INT_UNALIGNED, at);
      case U32 -> bytes.get(JAVA_INT_UNALIGNED, at) & 0xffffffffL;
      default -> bytes.get(JAVA_LONG_UNALIGNED, at);
    };
  }

  private int check(long id, String place) throws FormatException {
    if (id < 0 || id >= vocabulary) {
      throw new FormatException(
          source,
          place
              + ": expected an id below the model's vocabulary of "
              + vocabulary
              + ", got "
              + id
              + "; was the text tokenized for this model?");
    }
    return (int) id;
  }

  private TokenizedText readText(boolean rows) throws IOException {
    int[] ids = new int[1 << 12];
    int count = 0;
    int length = 0;
    int lines = 0;
    int number = 0;
    try (BufferedReader reader = Files.newBufferedReader(path)) {
      for (String line = reader.readLine(); line != null; line = reader.readLine()) {
        number++;
        int before = count;
        StringTokenizer words = new StringTokenizer(line, " \t,");
        while (words.hasMoreTokens()) {
          if (count == ids.length) {
            ids = Arrays.copyOf(ids, Math.multiplyExact(2, ids.length));
          }
          String place = "line " + number + ", id " + (count - before + 1);
          ids[count++] = check(parse(words.nextToken(), place), place);
        }
        if (count == before) {
          continue;
        }
        if (rows && lines > 0 && count - before != length) {
          throw new FormatException(
              source,
              "line "
                  + number
                  + ": expected "
                  + length
                  + " ids as in the first row, got "
                  + (count - before)
                  + "; a stream of ids goes into a .txt file");
        }
        length = count - before;
        lines++;
      }
    } catch (CharacterCodingException e) {
      throw new FormatException(source, "expected text behind line " + number);
    }
    long[] shape = rows && lines > 0 ? new long[] {lines, length} : new long[] {count};
    int[] all = ids;
    return new TokenizedText(source, shape, place -> all[(int) place]);
  }

  private long parse(String word, String place) throws FormatException {
    try {
      return Long.parseLong(word);
    } catch (NumberFormatException e) {
      throw new FormatException(
          source, place + ": expected a decimal token id, got '" + word + "'");
    }
  }
}
