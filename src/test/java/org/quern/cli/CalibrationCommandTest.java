package org.quern.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.quern.prune.calibration.SampleCheckpoint;
import org.quern.tensor.DType;

/** {@code prune --calibrate} and {@code perplexity}. */
class CalibrationCommandTest {
  @TempDir Path directory;

  private Path model;
  private Path tokens;
  private Path output;

  @BeforeEach
  void write() throws IOException {
    model =
        SampleCheckpoint.write(directory.resolve("model"), SampleCheckpoint.SHAPE, DType.BF16, 21);
    tokens = SampleCheckpoint.writeTokens(directory.resolve("tokens.bin"), 300, 40, 22);
    output = directory.resolve("out");
  }

  /** Options of this test stand where the words name no others. */
  private Shell prune(String... options) {
    List<String> words = new ArrayList<>(List.of("prune", model.toString()));
    words.addAll(List.of(options));
    addUnlessGiven(words, "-o", output.toString());
    addUnlessGiven(words, "--threads", "2");
    return Shell.run(List.of(), words.toArray(String[]::new));
  }

  private Shell calibrate(String... options) {
    List<String> words = new ArrayList<>(List.of(options));
    addUnlessGiven(words, "--calibrate", tokens.toString());
    addUnlessGiven(words, "--sequences", "4");
    addUnlessGiven(words, "--length", "12");
    return prune(words.toArray(String[]::new));
  }

  private static void addUnlessGiven(List<String> words, String option, String value) {
    if (!words.contains(option)) {
      words.add(option);
      words.add(value);
    }
  }

  @Test
  void oneCommandPrunesAndShowsThePerplexityBeforeAndAfter() throws IOException {
    Path page = directory.resolve("page.html");
    Shell shell =
        calibrate(
            "--sparsity", "2:4", "--evaluate", tokens.toString(), "--report", page.toString());
    assertEquals(0, shell.code(), shell.err());
    String out = shell.out();
    assertTrue(out.contains("gblm + refit  2:4"), out);
    assertTrue(out.contains("Calibrated   4 sequences of 12 tokens; kept weights refitted"), out);
    assertTrue(
        out.matches("(?s).*Perplexity   [\\d.]+ before, [\\d.]+ after, on 25 windows.*"), out);
    assertTrue(out.contains("Phases       evaluation before "), out);
    assertTrue(Files.readString(page).contains("Perplexity"));
    Shell evaluated =
        Shell.run(
            List.of(),
            "perplexity",
            output.toString(),
            tokens.toString(),
            "--length",
            "12",
            "--threads",
            "1",
            "--json");
    assertEquals(0, evaluated.code(), evaluated.err());
    JsonObject report = JsonParser.parseString(evaluated.out()).getAsJsonObject();
    String after = String.format("%.4f after", report.get("perplexity").getAsDouble());
    assertTrue(out.contains(after), out + after);
    assertEquals(25, report.get("windows").getAsInt());
  }

  @Test
  void jsonHoldsTheCalibration() {
    Shell shell = calibrate("--method", "sparsegpt", "--json");
    assertEquals(0, shell.code(), shell.err());
    JsonObject report = JsonParser.parseString(shell.out()).getAsJsonObject();
    JsonObject calibration = report.getAsJsonObject("calibration");
    assertEquals("sparsegpt", calibration.get("reconstruction").getAsString());
    assertTrue(calibration.get("before").isJsonNull());
    assertEquals(
        "sparsegpt",
        report.getAsJsonArray("layers").get(0).getAsJsonObject().get("method").getAsString());
  }

  @Test
  void perplexityPrintsWindowsAndRate() {
    Shell shell =
        Shell.run(List.of(), "perplexity", model.toString(), tokens.toString(), "--length", "100");
    assertEquals(0, shell.code(), shell.err());
    assertTrue(shell.out().startsWith("Perplexity   "), shell.out());
    assertTrue(shell.out().contains("Windows      3 of 100 tokens"), shell.out());
    assertTrue(shell.out().contains("tokens/s"), shell.out());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--activations a.safetensors | --calibrate: expected no --activations",
        "--layout in-out | --calibrate: expected no --layout in-out",
        "--owl M=5 | --calibrate: expected no --owl",
        "--method sparsegpt --no-refit | --no-refit: expected another method than sparsegpt",
        "--sequences 0 | sequences: expected at least 1, got 0",
        "--length 1 | length: expected at least 2, got 1",
        "--length 301 | expected at least 301 token ids, got 300; ask for shorter",
        "--token-type u8 | Invalid value for option '--token-type'",
        "--token-type u32 | token 0: expected an id below the model's vocabulary of 40, got",
        "--evaluate none.bin | none.bin: expected a file with token ids, found none",
        "--threads 0 | threads: expected at least 1, got 0",
        "--state STATE | state: expected an empty directory or one with a file state.json"
      })
  void badUsageIsOneLineAndTouchesNothing(String options, String message) throws IOException {
    Shell shell = calibrate(options.replace("STATE", model.toString()).split(" "));
    assertEquals(2, shell.code(), shell.err());
    assertTrue(shell.err().contains(message), shell.err());
    assertEquals(1, shell.err().lines().count(), shell.err());
    assertEquals("", shell.out());
    assertFalse(Files.exists(output));
    assertFalse(Files.exists(directory.resolve("out.calibration")));
  }

  @Test
  void optionsOfCalibrationNeedIt() {
    Shell shell = prune("--method", "magnitude", "--no-refit");
    assertEquals(2, shell.code());
    assertTrue(shell.err().contains("expected --calibrate TOKENS with"), shell.err());
    Shell sparseGpt = prune("--method", "sparsegpt");
    assertTrue(sparseGpt.err().contains("expected --calibrate TOKENS with it"), sparseGpt.err());
  }

  @Test
  void aModelWithoutDimensionsIsTold() throws IOException {
    Files.delete(model.resolve("config.json"));
    for (Shell shell :
        List.of(
            calibrate(), Shell.run(List.of(), "perplexity", model.toString(), tokens.toString()))) {
      assertEquals(2, shell.code());
      assertTrue(shell.err().contains("config.json"), shell.err());
    }
  }
}
