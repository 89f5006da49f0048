package org.quern.prune.lm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.io.FormatException;

class CharacterVocabularyTest {
  @TempDir Path directory;

  private CharacterVocabulary read(String json) throws IOException {
    return CharacterVocabulary.read(Files.writeString(directory.resolve("vocab.json"), json));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "\"ab\\ud83d\\ude00\"",
        "[\"a\", \"b\", \"\\ud83d\\ude00\"]",
        "{\"b\": 1, \"\\ud83d\\ude00\": 2, \"a\": 0}",
        "{\"vocab\": \"ab\\ud83d\\ude00\", \"other\": 1}"
      })
  void readsCharactersInAllForms(String json) throws IOException {
    CharacterVocabulary vocabulary = read(json);
    assertEquals(3, vocabulary.size());
    assertArrayEquals(new int[] {2, 0, 1, 0}, vocabulary.encode("\ud83d\ude00aba"));
    assertEquals("b\ud83d\ude00\ufffd", vocabulary.decode(new int[] {1, 2, 7}));
    IllegalArgumentException error =
        assertThrows(IllegalArgumentException.class, () -> vocabulary.encode("ab?"));
    assertEquals(
        "text: expected characters of the vocabulary, got U+003F at position 2",
        error.getMessage());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "[\"a\", \"bc\"]",
        "\"aba\"",
        "{\"a\": 0, \"b\": 2}",
        "{\"a\": 0, \"b\": 0}",
        "7",
        "[\"a\", 1]",
        "{\"vocab\": true}"
      })
  void rejectsOtherVocabularies(String json) {
    assertThrows(FormatException.class, () -> read(json));
  }

  @Test
  void tellsThatATokenizerIsNeeded() {
    FormatException error =
        assertThrows(FormatException.class, () -> read("{\"the\": 0, \"a\": 1}"));
    assertTrue(
        String.valueOf(error.getMessage()).contains("tokens of one character, got 'the'"),
        error.getMessage());
  }
}
