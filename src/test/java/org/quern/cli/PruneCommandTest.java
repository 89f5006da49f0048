package org.quern.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.prune.CheckpointPruner;
import org.quern.prune.Method;
import org.quern.prune.Perplexities;
import org.quern.prune.PruneReport;
import org.quern.prune.SampleModel;

class PruneCommandTest {
  private static final String LAYER = "model.layers.0.fc.weight";

  @TempDir Path directory;

  private SampleModel sample;
  private Path model;
  private Path output;

  @BeforeEach
  void writeModel() throws IOException {
    sample =
        new SampleModel(1)
            .add("model.embed.weight", "F16", 3, 8)
            .add(LAYER, "F16", 6, 8)
            .add("model.norm.weight", "F16", 8);
    model = sample.write(directory.resolve("model.safetensors"));
    output = directory.resolve("out.safetensors");
  }

  private Shell prune(String... options) {
    return Shell.run(
        List.of(),
        Stream.concat(
                Stream.of("prune", model.toString(), "-o", output.toString()), Stream.of(options))
            .toArray(String[]::new));
  }

  @Test
  void printsALineForEveryLayerAndTheTotals() throws IOException {
    Shell shell = prune("--method", "magnitude", "--sparsity", "2:4", "--threads", "1");
    assertEquals(0, shell.code(), shell.err());
    List<String> lines = shell.out().lines().toList();
    assertEquals(
        "LAYER                     SHAPE  TYPE  METHOD     PATTERN  BEFORE  AFTER  SPARSITY",
        cut(lines.get(0), "  TIME"));
    assertTrue(lines.get(1).startsWith(LAYER + "  6x8    F16   magnitude  2:4"), lines.get(1));
    assertTrue(lines.get(1).contains("0     24   50.00 %"), lines.get(1));
    assertTrue(shell.out().contains("Pruned       1 tensors of 48 weights"), shell.out());
    assertTrue(
        shell
            .out()
            .contains("Left alone   2 tensors: 1 not a linear layer by its name; 1 not a matrix"),
        shell.out());
    assertTrue(shell.out().contains("1 thread"), shell.out());
    assertEquals(Files.size(model), Files.size(output));
  }

  private static String cut(String line, String mark) {
    return line.substring(0, line.indexOf(mark)).stripTrailing();
  }

  @Test
  void magnitudeSelectsFromTheMatrixUnlessRowsAreAskedFor() {
    assertEquals("0.5 per matrix", pattern("--method", "magnitude"));
    assertEquals("0.25", pattern("--method", "magnitude", "--sparsity", "0.25", "--group", "row"));
    assertEquals(
        "cumulative 0.5", pattern("--method", "magnitude", "--sparsity", "cumulative:0.5"));
  }

  private String pattern(String... options) {
    String[] all =
        Stream.concat(Stream.of(options), Stream.of("--json", "--dry-run")).toArray(String[]::new);
    JsonObject report = JsonParser.parseString(prune(all).out()).getAsJsonObject();
    return report.getAsJsonArray("layers").get(0).getAsJsonObject().get("pattern").getAsString();
  }

  @Test
  void jsonIsPureAndTheDryRunWritesNothing() {
    Shell shell =
        Shell.run(
            List.of(),
            "prune",
            model.toString(),
            "--method",
            "magnitude",
            "--sparsity",
            "4:8",
            "--dry-run",
            "--json");
    assertEquals(0, shell.code(), shell.err());
    JsonObject report = JsonParser.parseString(shell.out()).getAsJsonObject();
    assertTrue(report.get("output").isJsonNull());
    assertEquals(0.5, report.get("sparsity").getAsDouble());
    prune("--method", "magnitude", "--dry-run");
    assertFalse(Files.exists(output));
  }

  @Test
  void thePageHoldsTablesAndPictures() throws IOException {
    Path page = directory.resolve("page.html");
    assertEquals(
        0, prune("--method", "magnitude", "--sparsity", "2:4", "--report", page.toString()).code());
    String html = Files.readString(page);
    assertTrue(html.contains("<td>" + LAYER + "</td>"), html.substring(0, 2000));
    // Share of zeros, then the picture, whose 6 x 8 tiles are single weights, and its profiles.
    assertTrue(html.contains("\"y\":[50.0]"));
    assertTrue(html.contains("across: inputs 0 to 7; down: outputs 0 to 5; pale 0, dark 100"));
    assertTrue(html.contains("\"y\":[50.0,50.0,50.0,50.0,50.0,50.0]"));
    assertEquals(4, html.split("<canvas", -1).length);
    assertEquals(
        0, prune("--method", "magnitude", "--dry-run", "--report", page.toString()).code());
    assertEquals(2, Files.readString(page).split("<canvas", -1).length);
  }

  @Test
  void aTableOfMeasuredPerplexitiesMayStandOnThePage() throws IOException {
    Path page = directory.resolve("page.html");
    Perplexities measured = new Perplexities(5.5);
    measured.add("wanda", "50 %", 7.26);
    measured.add("wanda", "2:4", 11.53);
    measured.add("gblm l1", "50 %", 7.15);
    PruneReport report = CheckpointPruner.builder().method(Method.MAGNITUDE).build().dryRun(model);
    new PruneReportPage(report, Map.of(), new Table("LAYER")).perplexities(measured).write(page);
    String html = Files.readString(page);
    assertTrue(html.contains("Perplexity after pruning (dense: 5.500)"));
    assertTrue(html.contains("<th>METHOD</th><th class=\"figure\">50 %</th>"), html);
    assertTrue(html.contains("<td>wanda</td><td class=\"figure\">7.260</td>"));
    assertTrue(
        html.contains(
            "<td>gblm l1</td><td class=\"figure\">7.150</td><td class=\"figure\">-</td>"));
  }

  @Test
  void owlGivesEveryBlockItsOwnRatio() throws IOException {
    SampleModel blocks = new SampleModel(3);
    SampleModel norms = new SampleModel(4);
    float[] flat = new float[64];
    Arrays.fill(flat, 1);
    float[] spiked = flat.clone();
    spiked[7] = 40;
    for (int block = 0; block < 2; block++) {
      blocks.add("model.layers." + block + ".fc.weight", "F32", 10, 64);
      norms.add("layers." + block + ".fc.column_norm", "F32", block == 0 ? spiked : flat, 64);
    }
    blocks.write(model);
    Path activations = norms.write(directory.resolve("a.safetensors"));
    String[] options = {
      "--method",
      "magnitude",
      "--group",
      "row",
      "--sparsity",
      "0.6",
      "--activations",
      activations.toString(),
      "--owl",
      "M=3,lambda=0.1",
      "--force"
    };
    Shell shell = prune(options);
    assertEquals(0, shell.code(), shell.err());
    // The spiked block has all outliers: it keeps 0.1 more than on average, the other 0.1 less.
    assertTrue(shell.out().matches("(?s).*layers\\.0.* 0\\.5.*320   50\\.00 %.*"), shell.out());
    assertTrue(shell.out().contains("440   68.75 %"), shell.out());
    assertRejected(
        "owl: expected settings such as M=5,lambda=0.08, got 'M'",
        prune("--method", "magnitude", "--owl", "M"));
    assertRejected(
        "activations: expected a file with the statistics of model.layers.0.fc.weight, got none",
        prune("--method", "magnitude", "--owl"));
    assertRejected(
        "owl: expected a pattern by ratio, of which every block has its own, got 2:4",
        prune("--method", "magnitude", "--sparsity", "2:4", "--owl"));
    assertRejected(
        "take a smaller lambda",
        prune(
            "--method",
            "magnitude",
            "--sparsity",
            "0.05",
            "--owl",
            "lambda=0.5",
            "--activations",
            activations.toString()));
  }

  @Test
  void aMaskIsPreservedOnlyWhereItFits() throws IOException {
    assertEquals(0, prune("--method", "magnitude", "--sparsity", "2:4").code());
    Path again = directory.resolve("again.safetensors");
    String[] preserve = {
      "prune", output.toString(), "--method", "magnitude", "--preserve-mask", "-o", again.toString()
    };
    Shell shell = Shell.run(List.of(), with(preserve, "--sparsity", "3:4"));
    assertEquals(0, shell.code(), shell.err());
    assertTrue(shell.out().contains("24     36   75.00 %"), shell.out());
    shell = Shell.run(List.of(), with(preserve, "--sparsity", "1:4", "--force"));
    assertRejected(LAYER + ": expected at most 1 zeros in a run of 4 to preserve", shell);
    assertTrue(shell.err().contains("got one more at row 0, column "), shell.err());
  }

  private static String[] with(String[] words, String... more) {
    return Stream.concat(Arrays.stream(words), Arrays.stream(more)).toArray(String[]::new);
  }

  @Test
  void statisticsAreFoundByTheirKeys() throws IOException {
    Path gradients =
        new SampleModel(2)
            .add("layers.0.fc.grad_l2", "F16", 6, 8)
            .write(directory.resolve("g.safetensors"));
    Path activations =
        new SampleModel(2)
            .add(LAYER + ".column_norm", "F32", new float[] {1, 2, 3, 4, 5, 6, 7, 8}, 8)
            .write(directory.resolve("a.safetensors"));
    String[] options = {
      "--grads", gradients.toString(), "--activations", activations.toString(), "--sparsity", "0.25"
    };
    assertRejected("gradients: expected the statistics of " + LAYER, prune(options));
    assertFalse(Files.exists(output));
    Shell shell =
        prune(
            Stream.concat(Arrays.stream(options), Stream.of("--norm", "l2"))
                .toArray(String[]::new));
    assertEquals(0, shell.code(), shell.err());
    assertTrue(shell.out().contains("0     12   25.00 %"), shell.out());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "--sparsity 1 | ratio: expected a share in [0, 1), got 1.0",
        "--sparsity -0.1 | ratio: expected a share in [0, 1), got -0.1",
        "--sparsity NaN | pattern: expected a ratio such as 0.5, N:M such as 2:4, or cumulative:0.5, got 'NaN'",
        "--sparsity half | pattern: expected a ratio such as 0.5, N:M such as 2:4, or cumulative:0.5, got 'half'",
        "--sparsity 3:2 | prune: expected 1 to 2 of 2, got 3",
        "--sparsity 0:4 | prune: expected 1 to 4 of 4, got 0",
        "--sparsity 2:5 | expected columns in whole groups of 5 for the pattern 2:5, got 8 columns",
        "--sparsity 2:4 --group row | --group: expected with a share such as 0.5 only",
        "--layout sideways | expected out-in or in-out, got 'sideways'",
        "--method guess | Invalid value for option '--method'",
        "--method guess | expected one of magnitude, wanda, gradient, gblm, ria, pruner-zero, wanda++, got 'guess'",
        "--exponent -1 | exponent: expected a finite number that is not negative, got -1.0",
        "--alpha NaN | gradient scale: expected a finite factor that is not negative, got NaN",
        "--tier cuda | tier 'cuda' was demanded but",
        "--threads 0 | threads: expected at least 1, got 0",
        "--include nothing | include: expected an expression that some tensor matches, got 'nothing'",
        "--include norm | expected a tensor to prune, found none",
        "--exclude ( | exclude: expected a regular expression, got '('",
        "--method gblm | expected a file with the statistics of model.layers.0.fc.weight, got none",
        "--method wanda --activations none.safetensors | none.safetensors: expected a safetensors file, found none",
        "--ratios none.csv | no such file: none.csv"
      })
  void badUsageIsOneLineAndTouchesNothing(String options, String message) {
    List<String> words = List.of(options.split(" "));
    Stream<String> method =
        words.contains("--method") ? Stream.of() : Stream.of("--method", "magnitude");
    assertRejected(message, prune(Stream.concat(words.stream(), method).toArray(String[]::new)));
    assertFalse(Files.exists(output));
  }

  private static void assertRejected(String message, Shell shell) {
    assertEquals(2, shell.code(), shell.err());
    assertTrue(shell.err().startsWith("quern: "), shell.err());
    assertTrue(shell.err().contains(message), shell.err());
    assertEquals(1, shell.err().lines().count(), shell.err());
    assertEquals("", shell.out());
  }

  @Test
  void anOutputIsNeededAndNotReplacedUnasked() throws IOException {
    assertRejected(
        "expected -o OUT, or --dry-run to write nothing",
        Shell.run(List.of(), "prune", model.toString(), "--method", "magnitude"));
    Files.writeString(output, "old");
    assertRejected("--force to replace it, got " + output, prune("--method", "magnitude"));
    assertEquals("old", Files.readString(output));
    assertEquals(0, prune("--method", "magnitude", "--force").code());
    assertEquals(Files.size(model), Files.size(output));
    assertRejected(
        "expected another place than that of the input",
        Shell.run(
            List.of(),
            "prune",
            model.toString(),
            "--method",
            "magnitude",
            "--force",
            "-o",
            model.toString()));
    assertArrayEquals(sample.bytes(), Files.readAllBytes(model));
  }

  /** How a model is damaged, and what the message says of it. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "cut",
        "empty",
        "length",
        "overlap",
        "overflow",
        "hole",
        "shape",
        "nan",
        "infinite",
        "absent"
      })
  void aDamagedModelIsOneLineAndTouchesNothing(String damage) throws IOException {
    byte[] bytes = sample.bytes();
    int at = sample.begin(LAYER) + (3 * 8 + 5) * Short.BYTES;
    String message =
        switch (damage) {
          case "cut" -> {
            Files.write(model, Arrays.copyOf(bytes, bytes.length - 1));
            yield "data_offsets: expected an end within the "
                + (bytes.length - header(bytes) - 1)
                + " bytes";
          }
          case "empty" -> {
            Files.write(model, new byte[0]);
            yield "expected a safetensors file of at least 8 bytes, got 0";
          }
          case "length" -> {
            bytes[7] = -1;
            Files.write(model, bytes);
            yield "header length: expected 2 to";
          }
          case "overlap" ->
              replace(
                  bytes, "[48,144]", "[40,136]", LAYER + "\": data_offsets: expected to begin at");
          case "overflow" ->
              replace(
                  bytes, "[48,144]", "[9e99,1]", LAYER + "\": data_offsets: expected an integer");
          case "hole" -> replace(bytes, "[0,48]", "[2,50]", "without a hole");
          case "shape" ->
              replace(bytes, "[6, 8]", "[6, 7]", LAYER + "\": data_offsets: expected 84 bytes");
          case "nan" ->
              value(
                  bytes,
                  at,
                  0x7e00,
                  LAYER + ": expected finite weights, got NaN at row 3, column 5");
          case "infinite" ->
              value(
                  bytes,
                  at,
                  0xfc00,
                  LAYER + ": expected finite weights, got -Infinity at row 3, column 5");
          default -> {
            Files.delete(model);
            yield "expected a safetensors file, found none";
          }
        };
    Files.writeString(output, "old");
    for (String group : List.of("row", "matrix")) {
      Shell shell = prune("--method", "magnitude", "--group", group, "--force");
      assertRejected(message, shell);
      assertTrue(shell.err().contains(model.toString()), shell.err());
    }
    assertEquals("old", Files.readString(output));
    try (Stream<Path> files = Files.list(directory)) {
      assertEquals(damage.equals("absent") ? 1 : 2, files.count());
    }
  }

  private static int header(byte[] bytes) {
    return 8 + (bytes[0] & 0xff) + ((bytes[1] & 0xff) << 8);
  }

  private String replace(byte[] bytes, String old, String text, String message) throws IOException {
    String file = new String(bytes, StandardCharsets.ISO_8859_1);
    assertTrue(file.contains(old), file.substring(8, header(bytes)));
    Files.write(model, file.replace(old, text).getBytes(StandardCharsets.ISO_8859_1));
    return message;
  }

  private String value(byte[] bytes, int at, int bits, String message) throws IOException {
    bytes[at] = (byte) bits;
    bytes[at + 1] = (byte) (bits >> 8);
    Files.write(model, bytes);
    return message;
  }
}
