package org.quern.io;

import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.JsonWriter;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStreamWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.channels.ReadableByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.tensor.DType;

/**
 * The header of a safetensors file: eight bytes of little-endian length, then that many bytes of
 * JSON, {@code {name: {"dtype", "shape", "data_offsets": [begin, end]}, ...}} with an optional
 * {@code "__metadata__"} of strings. Offsets count from the end of the header.
 *
 * <p>A header that exists is valid: every tensor has a known type and as many bytes as its shape
 * demands, and the tensors cover the data of the file without a hole. Two tensors may lie in
 * exactly the same bytes (tied weights); any other overlap is refused. The bytes are kept, so that
 * a copy of the file can have the very same header.
 *
 * @see <a href="https://huggingface.co/docs/safetensors">The safetensors format</a>
 */
public final class SafetensorsHeader {
  /** Longest JSON part that the format allows, in bytes. */
  public static final int MAX_LENGTH = 100_000_000;

  /** Most dimensions of a tensor; the format sets none, array libraries stop here. */
  public static final int MAX_RANK = 64;

  private static final String METADATA = "__metadata__";

  private final byte[] bytes;
  private final long fileSize;
  private final Map<String, SafetensorsEntry> byName;
  private final List<SafetensorsEntry> entries;
  private final Map<String, String> metadata;

  private SafetensorsHeader(
      byte[] bytes, long fileSize, List<SafetensorsEntry> entries, Map<String, String> metadata) {
    this.bytes = bytes;
    this.fileSize = fileSize;
    this.entries = Collections.unmodifiableList(entries);
    this.metadata = Collections.unmodifiableMap(metadata);
    this.byName = LinkedHashMap.newLinkedHashMap(entries.size());
    for (SafetensorsEntry entry : entries) {
      byName.put(entry.name(), entry);
    }
  }

  /** The tensors in the order of their bytes in the file. */
  public List<SafetensorsEntry> entries() {
    return entries;
  }

  /** The tensor of this name, or null. */
  public @Nullable SafetensorsEntry find(String name) {
    return byName.get(name);
  }

  /**
   * The strings under {@code __metadata__} in the order of the file; empty where there are none.
   */
  public Map<String, String> metadata() {
    return metadata;
  }

  /** A copy of the header as it stands in the file: length, JSON, and padding. */
  public byte[] bytes() {
    return bytes.clone();
  }

  /** Where the header ends and the data begins, in bytes from the start of the file. */
  public long dataBegin() {
    return bytes.length;
  }

  /** Size in bytes of the whole file. */
  public long fileSize() {
    return fileSize;
  }

  /** Starts a header for new tensors. */
  public static Builder builder() {
    return new Builder();
  }

  /**
   * Reads and validates a header.
   *
   * @param source the file's name for error messages
   * @param channel at the start of the file
   * @param fileSize size in bytes of the whole file
   * @throws FormatException where any field, offset or size is not what the format demands
   */
  static SafetensorsHeader read(String source, ReadableByteChannel channel, long fileSize)
      throws IOException {
    if (fileSize < Long.BYTES) {
      throw new FormatException(
          source, "expected a safetensors file of at least 8 bytes, got " + fileSize);
    }
    byte[] prefix = new byte[Long.BYTES];
    readFully(source, channel, ByteBuffer.wrap(prefix));
    long length = ByteBuffer.wrap(prefix).order(ByteOrder.LITTLE_ENDIAN).getLong();
    if (length < 2 || length > MAX_LENGTH) {
      throw new FormatException(
          source,
          "header length: expected 2 to " + MAX_LENGTH + ", got " + Long.toUnsignedString(length));
    }
    if (length > fileSize - Long.BYTES) {
      throw new FormatException(
          source,
          "header length: expected at most the "
              + (fileSize - Long.BYTES)
              + " bytes that follow it, got "
              + length);
    }
    byte[] bytes = Arrays.copyOf(prefix, Long.BYTES + (int) length);
    readFully(source, channel, ByteBuffer.wrap(bytes, Long.BYTES, (int) length));
    if (bytes[Long.BYTES] != '{') {
      throw new FormatException(
          source,
          "header: expected '{' at byte 8, got 0x" + Integer.toHexString(bytes[Long.BYTES] & 0xff));
    }
    InputStream json = new ByteArrayInputStream(bytes, Long.BYTES, (int) length);
    return Json.parse(
        source + ": header", json, reader -> new Parser(source, reader, bytes, fileSize).header());
  }

  private static void readFully(String source, ReadableByteChannel channel, ByteBuffer buffer)
      throws IOException {
    while (buffer.hasRemaining()) {
      if (channel.read(buffer) < 0) {
        throw new FormatException(source, "the file ends within its header");
      }
    }
  }

  /** One pass over the JSON; the fields of a tensor may come in any order. */
  private static final class Parser {
    private final String source;
    private final JsonReader reader;
    private final byte[] bytes;
    private final long dataSize;
    private final Map<String, SafetensorsEntry> tensors = new LinkedHashMap<>();
    private @Nullable Map<String, String> metadata;

    Parser(String source, JsonReader reader, byte[] bytes, long fileSize) {
      this.source = source;
      this.reader = reader;
      this.bytes = bytes;
      this.dataSize = fileSize - bytes.length;
    }

    SafetensorsHeader header() throws IOException {
      reader.beginObject();
      while (reader.hasNext()) {
        String name = reader.nextName();
        if (name.equals(METADATA)) {
          metadata();
        } else if (tensors.containsKey(name)) {
          throw tensorError(name, "expected each name once, got it twice");
        } else {
          tensors.put(name, tensor(name));
        }
      }
      reader.endObject();
      List<SafetensorsEntry> entries = new ArrayList<>(tensors.values());
      entries.sort(
          Comparator.comparingLong(SafetensorsEntry::begin)
              .thenComparingLong(SafetensorsEntry::end));
      checkCoverage(entries);
      return new SafetensorsHeader(
          bytes, bytes.length + dataSize, entries, metadata == null ? Map.of() : metadata);
    }

    private void metadata() throws IOException {
      if (metadata != null) {
        throw new FormatException(source, METADATA + ": expected once, got it twice");
      }
      expect(METADATA, JsonToken.BEGIN_OBJECT, "an object of strings");
      Map<String, String> strings = new LinkedHashMap<>();
      reader.beginObject();
      while (reader.hasNext()) {
        String key = reader.nextName();
        String place = METADATA + " " + FormatException.quote(key);
        expect(place, JsonToken.STRING, "a string");
        if (strings.put(key, reader.nextString()) != null) {
          throw new FormatException(source, place + ": expected each key once, got it twice");
        }
      }
      reader.endObject();
      metadata = strings;
    }

    private SafetensorsEntry tensor(String name) throws IOException {
      String place = "tensor " + FormatException.quote(name);
      expect(place, JsonToken.BEGIN_OBJECT, "an object of dtype, shape and data_offsets");
      @Nullable SafetensorsType type = null;
      long @Nullable [] shape = null;
      long @Nullable [] offsets = null;
      reader.beginObject();
      while (reader.hasNext()) {
        String field = reader.nextName();
        boolean again =
            switch (field) {
              case "dtype" -> type != null;
              case "shape" -> shape != null;
              case "data_offsets" -> offsets != null;
              default ->
                  throw tensorError(
                      name,
                      "expected the fields dtype, shape and data_offsets, got "
                          + FormatException.quote(field));
            };
        if (again) {
          throw tensorError(name, "expected " + field + " once, got it twice");
        }
        switch (field) {
          case "dtype" -> type = type(name);
          case "shape" -> shape = integers(name, field, MAX_RANK);
          default -> offsets = integers(name, field, 2);
        }
      }
      reader.endObject();
      if (type == null || shape == null || offsets == null) {
        String missing = type == null ? "dtype" : shape == null ? "shape" : "data_offsets";
        throw tensorError(
            name, "expected the fields dtype, shape and data_offsets, " + missing + " is missing");
      }
      return entry(name, type, shape, offsets);
    }

    private SafetensorsType type(String name) throws IOException {
      expect("tensor " + FormatException.quote(name) + ": dtype", JsonToken.STRING, "a string");
      String dtype = reader.nextString();
      SafetensorsType type = SafetensorsType.named(dtype);
      if (type == null) {
        throw tensorError(
            name,
            "dtype: expected one of "
                + Arrays.toString(SafetensorsType.values())
                + ", got "
                + FormatException.quote(dtype));
      }
      return type;
    }

    private long[] integers(String name, String field, int limit) throws IOException {
      String place = "tensor " + FormatException.quote(name) + ": " + field;
      expect(place, JsonToken.BEGIN_ARRAY, "an array of integers");
      long[] values = new long[8];
      int count = 0;
      reader.beginArray();
      while (reader.hasNext()) {
        if (count == limit) {
          throw new FormatException(
              source, place + ": expected at most " + limit + " integers, got more");
        }
        expect(place, JsonToken.NUMBER, "an integer");
        String text = reader.nextString();
        if (count == values.length) {
          values = Arrays.copyOf(values, MAX_RANK);
        }
        long value = natural(text);
        if (value < 0) {
          throw new FormatException(
              source,
              place
                  + ": expected an integer from 0 to 2^63 - 1, got "
                  + FormatException.quote(text));
        }
        values[count++] = value;
      }
      reader.endArray();
      return Arrays.copyOf(values, count);
    }

    /** The value of plain digits, or -1: no sign, fraction or exponent, nothing beyond a long. */
    private static long natural(String text) {
      if (!text.chars().allMatch(c -> c >= '0' && c <= '9')) {
        return -1;
      }
      try {
        return Long.parseLong(text);
      } catch (NumberFormatException tooLarge) {
        return -1;
      }
    }

    private SafetensorsEntry entry(String name, SafetensorsType type, long[] shape, long[] offsets)
        throws FormatException {
      if (offsets.length != 2 || offsets[0] > offsets[1]) {
        throw tensorError(
            name,
            "data_offsets: expected [begin, end] with begin <= end, got "
                + Arrays.toString(offsets));
      }
      if (offsets[1] > dataSize) {
        throw tensorError(
            name,
            "data_offsets: expected an end within the "
                + dataSize
                + " bytes of data in the file, got "
                + Arrays.toString(offsets));
      }
      long size;
      try {
        size = byteSize(type, shape);
      } catch (ArithmeticException e) {
        throw tensorError(
            name,
            "shape: expected fewer than 2^63 bits in whole bytes of "
                + type
                + ", got "
                + Arrays.toString(shape));
      }
      if (size != offsets[1] - offsets[0]) {
        throw tensorError(
            name,
            "data_offsets: expected "
                + size
                + " bytes for "
                + type
                + Arrays.toString(shape)
                + ", got "
                + (offsets[1] - offsets[0]));
      }
      return new SafetensorsEntry(
          name, type, shape, bytes.length + offsets[0], bytes.length + offsets[1]);
    }

    private void checkCoverage(List<SafetensorsEntry> entries) throws FormatException {
      long end = bytes.length;
      @Nullable SafetensorsEntry last = null;
      for (SafetensorsEntry entry : entries) {
        boolean tied = last != null && entry.sharesBytesWith(last);
        if (!tied && entry.begin() < end) {
          throw tensorError(
              entry.name(),
              "data_offsets: expected to begin at or behind "
                  + (end - bytes.length)
                  + " where tensor "
                  + FormatException.quote(last == null ? "" : last.name())
                  + " ends, got "
                  + (entry.begin() - bytes.length));
        }
        if (!tied && entry.begin() > end) {
          throw tensorError(
              entry.name(),
              "data_offsets: expected to begin at "
                  + (end - bytes.length)
                  + " without a hole, got "
                  + (entry.begin() - bytes.length));
        }
        end = entry.end();
        last = entry;
      }
      if (end != bytes.length + dataSize) {
        throw new FormatException(
            source,
            "expected "
                + (end - bytes.length)
                + " bytes of data, as the tensors cover, got "
                + dataSize);
      }
    }

    private void expect(String place, JsonToken token, String what) throws IOException {
      JsonToken got = reader.peek();
      if (got != token) {
        throw new FormatException(source, place + ": expected " + what + ", got " + got);
      }
    }

    private FormatException tensorError(String name, String problem) {
      return new FormatException(source, "tensor " + FormatException.quote(name) + ": " + problem);
    }
  }

  /** Bytes of a tensor; an ArithmeticException where they overflow or the last byte is not full. */
  private static long byteSize(SafetensorsType type, long[] shape) {
    long bits = type.bits();
    for (long extent : shape) {
      bits = Math.multiplyExact(bits, extent);
    }
    if (bits % Byte.SIZE != 0) {
      throw new ArithmeticException();
    }
    return bits / Byte.SIZE;
  }

  /** Lays tensors out one behind the other, in the order in which they are added. */
  public static final class Builder {
    private final Map<String, SafetensorsEntry> tensors = new LinkedHashMap<>();
    private final Map<String, String> metadata = new LinkedHashMap<>();
    private long dataSize;

    private Builder() {}

    /** Adds a string to the metadata, or replaces it. */
    public Builder metadata(String key, String value) {
      metadata.put(key, value);
      return this;
    }

    /** Adds strings to the metadata in the order of the map. */
    public Builder metadata(Map<String, String> strings) {
      metadata.putAll(strings);
      return this;
    }

    /** Adds a tensor. */
    public Builder add(String name, DType type, long... shape) {
      return add(name, SafetensorsType.of(type), shape);
    }

    /**
     * Adds a tensor.
     *
     * @throws IllegalArgumentException where the name is taken or reserved, an extent is negative,
     *     or the elements do not fill whole bytes
     */
    public Builder add(String name, SafetensorsType type, long... shape) {
      if (name.equals(METADATA) || tensors.containsKey(name)) {
        throw new IllegalArgumentException(
            "name: expected a new one, got " + FormatException.quote(name));
      }
      if (shape.length > MAX_RANK || Arrays.stream(shape).anyMatch(extent -> extent < 0)) {
        throw new IllegalArgumentException(
            "shape: expected at most " + MAX_RANK + " extents >= 0, got " + Arrays.toString(shape));
      }
      try {
        long end = Math.addExact(dataSize, byteSize(type, shape));
        tensors.put(name, new SafetensorsEntry(name, type, shape.clone(), dataSize, end));
        dataSize = end;
      } catch (ArithmeticException e) {
        throw new IllegalArgumentException(
            "shape: expected fewer than 2^63 bits in whole bytes of "
                + type
                + ", got "
                + Arrays.toString(shape));
      }
      return this;
    }

    /**
     * The header. It is padded with spaces so that the data begins at a multiple of 64 bytes: the
     * first tensor of a mapped file is aligned to a cache line.
     *
     * @throws IllegalArgumentException where the names and metadata exceed {@link #MAX_LENGTH} or
     *     are not Unicode
     */
    public SafetensorsHeader build() {
      try {
        ByteArrayOutputStream json = new ByteArrayOutputStream();
        json.writeBytes(new byte[Long.BYTES]);
        // An encoder of its own refuses an unpaired surrogate, where a charset would write '?'.
        try (JsonWriter writer =
            new JsonWriter(new OutputStreamWriter(json, StandardCharsets.UTF_8.newEncoder()))) {
          write(writer);
        }
        while (json.size() % 64 != 0) {
          json.write(' ');
        }
        byte[] bytes = json.toByteArray();
        ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putLong(bytes.length - Long.BYTES);
        return read(
            "header",
            Channels.newChannel(new ByteArrayInputStream(bytes)),
            Math.addExact(bytes.length, dataSize));
      } catch (IOException | ArithmeticException e) {
        throw new IllegalArgumentException("header: " + e.getMessage(), e);
      }
    }

    private void write(JsonWriter writer) throws IOException {
      writer.beginObject();
      if (!metadata.isEmpty()) {
        writer.name(METADATA).beginObject();
        for (Map.Entry<String, String> string : metadata.entrySet()) {
          writer.name(string.getKey()).value(string.getValue());
        }
        writer.endObject();
      }
      for (SafetensorsEntry tensor : tensors.values()) {
        writer.name(tensor.name()).beginObject();
        writer.name("dtype").value(tensor.type().name());
        writer.name("shape").beginArray();
        for (long extent : tensor.shape()) {
          writer.value(extent);
        }
        writer.endArray();
        writer
            .name("data_offsets")
            .beginArray()
            .value(tensor.begin())
            .value(tensor.end())
            .endArray();
        writer.endObject();
      }
      writer.endObject();
    }
  }
}
