package org.quern.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.prune.lm.DecoderShape;
import org.quern.prune.lm.ReferenceDecoder;
import org.quern.prune.lm.ReferenceFiles;

class GenerateCommandTest {
  private static final DecoderShape SHAPE = new DecoderShape(4, 8, 12, 2, 1, 4, 2, 10_000, 1e-5);

  @TempDir Path directory;

  private Path model;

  @BeforeEach
  void writeModel() throws IOException {
    model = directory.resolve("model.safetensors");
    ReferenceDecoder reference = ReferenceDecoder.random(SHAPE, false, new Random(3));
    ReferenceFiles.write(model, reference, ReferenceFiles.metadata(SHAPE));
  }

  private Shell generate(String... options) {
    return Shell.run(
        List.of(),
        Stream.concat(Stream.of("generate", model.toString()), Stream.of(options))
            .toArray(String[]::new));
  }

  @Test
  void continuesIdsAndTexts() throws IOException {
    Shell ids = generate("--prompt-ids", "2,0,1", "--tokens", "5", "--threads", "1");
    assertEquals(0, ids.code(), ids.err());
    String[] tokens = ids.out().lines().findFirst().orElseThrow().split(",");
    assertEquals(5, tokens.length);
    assertTrue(ids.out().contains("Generated    5 tokens"), ids.out());
    assertTrue(ids.out().contains("0 of 14 layers without their zeros"), ids.out());

    Path vocabulary = Files.writeString(directory.resolve("letters.json"), "\"wxyz\"");
    String[] text = {"--prompt", "ywx", "--tokens", "5", "--vocab", vocabulary.toString()};
    Shell letters = generate(text);
    assertEquals(0, letters.code(), letters.err());
    StringBuilder wanted = new StringBuilder();
    for (String token : tokens) {
      wanted.append("wxyz".charAt(Integer.parseInt(token)));
    }
    assertEquals(wanted.toString(), letters.out().lines().findFirst().orElseThrow());
    // A vocabulary beside the model is found.
    Files.move(vocabulary, directory.resolve("vocab.json"));
    Shell found = generate("--prompt", "ywx", "--tokens", "5", "--sparse", "--json");
    JsonObject document = JsonParser.parseString(found.out()).getAsJsonObject();
    assertEquals(wanted.toString(), document.get("text").getAsString());
    assertEquals(3, document.get("promptTokens").getAsInt());
    assertEquals(14, document.get("layers").getAsInt());
  }

  @Test
  void saysWhatIsWrongInOneLine() {
    assertFails("--vocab", "--prompt", "text");
    assertFails("--tokens: expected at least 1, got 0", "--prompt-ids", "1", "--tokens", "0");
    assertFails("tokens: expected ids below 4, got 9", "--prompt-ids", "1,9");
    assertFails("--prompt", "--tokens", "3");
  }

  private void assertFails(String part, String... options) {
    Shell shell = generate(options);
    assertEquals(2, shell.code(), shell.err());
    assertEquals(1, shell.err().lines().count(), shell.err());
    assertTrue(shell.err().contains(part), shell.err());
  }
}
