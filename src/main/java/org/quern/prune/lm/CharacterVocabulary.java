package org.quern.prune.lm;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.quern.io.FormatException;
import org.quern.io.Json;

/** A vocabulary whose tokens are single characters, which needs no tokenizer. */
public final class CharacterVocabulary {
  private final List<String> characters;
  private final Map<String, Integer> ids = new HashMap<>();

  private CharacterVocabulary(List<String> characters) {
    this.characters = characters;
    for (int id = 0; id < characters.size(); id++) {
      ids.put(characters.get(id), id);
    }
  }

  /**
   * Reads a vocabulary out of a JSON document: a string with the characters in the order of their
   * ids, an array of strings of one character each, or an object that has either under {@code
   * vocab}, or that gives each character its id, without a gap from 0 on.
   *
   * @throws FormatException where the document is none of these, a token is not one character, or
   *     one occurs twice
   */
  public static CharacterVocabulary read(Path file) throws IOException {
    JsonElement document = Json.read(file);
    JsonElement vocabulary =
        document instanceof JsonObject object && object.has("vocab")
            ? object.get("vocab")
            : document;
    String source = file.toString();
    List<String> characters =
        switch (vocabulary) {
          case JsonPrimitive text when text.isString() ->
              text.getAsString().codePoints().mapToObj(Character::toString).toList();
          case JsonArray array -> ofArray(source, array);
          case JsonObject object -> ofObject(source, object);
          default ->
              throw new FormatException(
                  source, "expected a string, an array or an object of characters");
        };
    CharacterVocabulary read = new CharacterVocabulary(characters);
    if (read.ids.size() < characters.size()) {
      throw new FormatException(source, "expected every character once, got one twice");
    }
    return read;
  }

  private static List<String> ofArray(String source, JsonArray array) throws IOException {
    List<String> characters = new ArrayList<>();
    for (JsonElement element : array) {
      String token =
          element instanceof JsonPrimitive text && text.isString() ? text.getAsString() : "";
      characters.add(checked(source, token));
    }
    return characters;
  }

  private static List<String> ofObject(String source, JsonObject object) throws IOException {
    String[] characters = new String[object.size()];
    for (Map.Entry<String, JsonElement> token : object.entrySet()) {
      double id =
          token.getValue() instanceof JsonPrimitive number && number.isNumber()
              ? number.getAsDouble()
              : -1;
      if (id != (int) id || id < 0 || id >= characters.length || characters[(int) id] != null) {
        throw new FormatException(
            source,
            "token '"
                + token.getKey()
                + "': expected an id of its own below "
                + characters.length
                + ", got "
                + token.getValue());
      }
      characters[(int) id] = checked(source, token.getKey());
    }
    return List.of(characters);
  }

  private static String checked(String source, String token) throws FormatException {
    if (token.codePointCount(0, token.length()) != 1) {
      throw new FormatException(
          source,
          "expected tokens of one character, got '"
              + token
              + "'; where there is a tokenizer, use it and give ids");
    }
    return token;
  }

  /** Number of characters. */
  public int size() {
    return characters.size();
  }

  /**
   * The ids of a text.
   *
   * @throws IllegalArgumentException where a character is not in the vocabulary
   */
  public int[] encode(String text) {
    int[] characters = text.codePoints().toArray();
    int[] encoded = new int[characters.length];
    for (int i = 0; i < encoded.length; i++) {
      Integer id = ids.get(Character.toString(characters[i]));
      if (id == null) {
        throw new IllegalArgumentException(
            "text: expected characters of the vocabulary, got "
                + String.format("U+%04X", characters[i])
                + " at position "
                + i);
      }
      encoded[i] = id;
    }
    return encoded;
  }

  /** The text of ids; an id that has no character becomes U+FFFD. */
  public String decode(int[] tokens) {
    StringBuilder text = new StringBuilder();
    for (int token : tokens) {
      text.append(token >= 0 && token < size() ? characters.get(token) : "\uFFFD");
    }
    return text.toString();
  }
}
