package org.quern.io;

import com.google.gson.GsonBuilder;
import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonNull;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import com.google.gson.Strictness;
import com.google.gson.stream.JsonReader;
import com.google.gson.stream.JsonToken;
import com.google.gson.stream.MalformedJsonException;
import java.io.ByteArrayInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.math.BigInteger;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * JSON documents, read strictly by RFC 8259: UTF-8, no comments, no duplicate names, nothing after
 * the document, at most 255 levels deep. Every error is a {@link FormatException} with the file,
 * line and column.
 */
public final class Json {
  private Json() {}

  /** Reads what a document holds from its start; the caller checks the end. */
  interface Body<T> {
    /** Reads one value. */
    T read(JsonReader reader) throws IOException;
  }

  /**
   * Reads a document as a tree. An integer becomes a {@link Long} or where it does not fit a {@link
   * BigInteger}, any other number the nearest {@link Double}, so that {@code getAsDouble} is
   * correctly rounded.
   *
   * @throws FormatException where the file is not strict JSON or a number exceeds the range of a
   *     double
   */
  public static JsonElement read(Path file) throws IOException {
    String source = file.toString();
    try (InputStream in = Files.newInputStream(file)) {
      return parse(source, in, reader -> tree(source, reader));
    }
  }

  /**
   * Reads a document from a string, as {@link #read(Path)} does from a file.
   *
   * @param source what messages name as the place of the text
   * @throws FormatException where the text is not strict JSON or a number exceeds the range of a
   *     double
   */
  public static JsonElement read(String source, String text) throws IOException {
    InputStream in = new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8));
    return parse(source, in, reader -> tree(source, reader));
  }

  /** Reads a document that must be an object. */
  public static JsonObject readObject(Path file) throws IOException {
    if (read(file) instanceof JsonObject object) {
      return object;
    }
    throw new FormatException(file.toString(), "expected a JSON object");
  }

  /**
   * Writes {@code document} indented, by temporary file and rename. Numbers that JSON cannot hold
   * are refused.
   */
  public static void write(Path file, JsonElement document) throws IOException {
    String text =
        new GsonBuilder()
            .setPrettyPrinting()
            .disableHtmlEscaping()
            .serializeNulls()
            .setStrictness(Strictness.STRICT)
            .create()
            .toJson(document);
    AtomicFile.write(file, (text + '\n').getBytes(StandardCharsets.UTF_8));
  }

  /**
   * Runs {@code body} over a strict reader, checks that the document ends behind it, and turns
   * errors into one line.
   */
  static <T> T parse(String source, InputStream in, Body<T> body) throws IOException {
    // A decoder of its own reports malformed UTF-8, where a charset would replace it.
    JsonReader reader =
        new JsonReader(new InputStreamReader(in, StandardCharsets.UTF_8.newDecoder()));
    reader.setStrictness(Strictness.STRICT);
    try {
      T value = body.read(reader);
      if (reader.peek() != JsonToken.END_DOCUMENT) {
        throw error(source, reader, "expected the end of the document");
      }
      return value;
    } catch (CharacterCodingException e) {
      throw error(source, reader, "expected UTF-8");
    } catch (EOFException e) {
      throw error(source, reader, "the document ends too early");
    } catch (MalformedJsonException e) {
      String reason = String.valueOf(e.getMessage());
      int end = reason.indexOf(" at line ");
      // The library's general reason is advice to its caller on settings, not to the user.
      boolean useful = end > 0 && !reason.startsWith("Use JsonReader");
      throw error(
          source, reader, "malformed JSON" + (useful ? ": " + reason.substring(0, end) : ""));
    }
  }

  /** An error at the reader's place. */
  static FormatException error(String source, JsonReader reader, String problem) {
    String place = reader.toString(); // "JsonReader at line 1 column 7 path $.a"
    return new FormatException(
        source, place.substring(place.indexOf("line "), place.indexOf(" path ")) + ": " + problem);
  }

  private static JsonElement tree(String source, JsonReader reader) throws IOException {
    return switch (reader.peek()) {
      case BEGIN_OBJECT -> {
        JsonObject object = new JsonObject();
        reader.beginObject();
        while (reader.hasNext()) {
          String name = reader.nextName();
          if (object.has(name)) {
            throw error(source, reader, "duplicate name " + FormatException.quote(name));
          }
          object.add(name, tree(source, reader));
        }
        reader.endObject();
        yield object;
      }
      case BEGIN_ARRAY -> {
        JsonArray array = new JsonArray();
        reader.beginArray();
        while (reader.hasNext()) {
          array.add(tree(source, reader));
        }
        reader.endArray();
        yield array;
      }
      case STRING -> new JsonPrimitive(reader.nextString());
      case BOOLEAN -> new JsonPrimitive(reader.nextBoolean());
      case NUMBER -> new JsonPrimitive(number(source, reader));
      case NULL -> {
        reader.nextNull();
        yield JsonNull.INSTANCE;
      }
      default -> throw error(source, reader, "expected a value");
    };
  }

  private static Number number(String source, JsonReader reader) throws IOException {
    String text = reader.nextString();
    boolean integer = text.chars().allMatch(c -> c >= '0' && c <= '9' || c == '-');
    if (integer && !text.equals("-0")) {
      BigInteger value = new BigInteger(text);
      return value.bitLength() < Long.SIZE ? (Number) value.longValue() : value;
    }
    double value = Double.parseDouble(text);
    if (Double.isInfinite(value)) {
      throw error(source, reader, "expected a number within the range of a double, got " + text);
    }
    return value;
  }
}
