package org.quern.prune;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.io.RandomAccessFile;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.io.Checkpoint;
import org.quern.io.CheckpointWriter;
import org.quern.io.SafetensorsFile;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The output is the input with exactly those bytes changed that {@link Pruner} changes in the
 * selected tensors.
 */
class CheckpointPrunerTest {
  private static final Path GOLDEN = Path.of("../shared/golden/prune");

  /** More than one chunk of rows in every type. */
  private static final int ROWS = 700;

  private static final int COLUMNS = 512;
  private static final String UP = "model.layers.0.mlp.up_proj";
  private static final String DOWN = "model.layers.1.mlp.down_proj";

  @TempDir Path directory;

  private static SampleModel model(String type) {
    return new SampleModel(1)
        .metadata("format", "pt")
        .add("model.embed_tokens.weight", type, 5, COLUMNS)
        .add(UP + ".weight", type, ROWS, COLUMNS)
        .add(UP + ".bias", type, ROWS)
        .add("model.layers.0.input_layernorm.weight", type, COLUMNS)
        .add(DOWN + ".weight", type, 3, 16)
        .add("model.layers.1.scales", "F8_E4M3", 3, 5)
        .add("lm_head.weight", type, 4, COLUMNS);
  }

  private Path statistics(String gradientType) throws IOException {
    return new SampleModel(2)
        .add("layers.0.mlp.up_proj.grad_l1", gradientType, ROWS, COLUMNS)
        .add("layers.0.mlp.up_proj.grad_l2", gradientType, ROWS, COLUMNS)
        .add(DOWN + ".grad_l1", gradientType, 3, 16)
        .tie(UP + ".grad_regional", "layers.0.mlp.up_proj.grad_l1")
        .tie(DOWN.substring("model.".length()) + ".grad_regional", DOWN + ".grad_l1")
        .add(UP + ".scaler_row", "F32", squares(COLUMNS), COLUMNS)
        .add(DOWN + ".weight.column_norm", "F32", squares(16), 16)
        .write(directory.resolve("statistics.safetensors"));
  }

  private static float[] squares(int n) {
    float[] values = new float[n];
    for (int i = 0; i < n; i++) {
      values[i] = (i * 37 % n + 1) * 0.3f;
    }
    return values;
  }

  private CheckpointPruner.Builder pruner(Method method, Path statistics) {
    return CheckpointPruner.builder().method(method).gradients(statistics).activations(statistics);
  }

  /** The input with the named tensors replaced by what {@link Pruner} makes of them. */
  private static byte[] expected(
      SampleModel model, Path file, Method method, Pattern pattern, Map<String, Statistics> layers)
      throws IOException {
    byte[] bytes = model.bytes();
    try (SafetensorsFile source = SafetensorsFile.open(file);
        Arena arena = Arena.ofConfined()) {
      for (Map.Entry<String, Statistics> layer : layers.entrySet()) {
        Tensor weights = source.load(layer.getKey(), arena);
        Pruner.builder().method(method).pattern(pattern).build().prune(weights, layer.getValue());
        long size = weights.size() * weights.type().bytes();
        MemorySegment.copy(
            weights.memory(), JAVA_BYTE, 0, bytes, model.begin(layer.getKey()), (int) size);
      }
    }
    return bytes;
  }

  private static Tensor root(Tensor squares, Arena arena) {
    float[] values = squares.toFloatArray();
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) Math.sqrt(values[i]);
    }
    return Tensor.copyOf(arena, values, values.length);
  }

  @ParameterizedTest
  @ValueSource(strings = {"F32", "F16", "BF16"})
  void onlyTheSelectedBytesChangeAndAsThePrunerSays(String type) throws IOException {
    SampleModel model = model(type);
    Path input = model.write(directory.resolve("model.safetensors"));
    Path statistics = statistics(type.equals("F32") ? "F32" : "F16");
    List<Pattern> patterns =
        List.of(
            Pattern.unstructured(0.5),
            Pattern.nm(2, 4),
            Pattern.unstructured(0.3, Group.MATRIX),
            Pattern.cumulative(0.6));
    try (SafetensorsFile s = SafetensorsFile.open(statistics);
        Arena arena = Arena.ofConfined()) {
      Map<String, Statistics> layers = new LinkedHashMap<>();
      layers.put(
          UP + ".weight",
          new Statistics(
              s.load("layers.0.mlp.up_proj.grad_l1", arena),
              root(s.load(UP + ".scaler_row", arena), arena)));
      layers.put(
          DOWN + ".weight",
          new Statistics(
              s.load(DOWN + ".grad_l1", arena), s.load(DOWN + ".weight.column_norm", arena)));
      for (Method method : Method.values()) {
        for (Pattern pattern : patterns) {
          byte[] expected = expected(model, input, method, pattern, layers);
          for (int threads = 1; threads <= 3; threads++) {
            Path output =
                directory.resolve("output-" + method + patterns.indexOf(pattern) + threads);
            PruneReport report =
                pruner(method, statistics)
                    .pattern(pattern)
                    .threads(threads)
                    .build()
                    .prune(input, output);
            String what = method + " " + pattern + " threads " + threads;
            assertArrayEquals(expected, Files.readAllBytes(output), what);
            assertEquals(List.of(UP + ".weight", DOWN + ".weight"), names(report), what);
            // Pruning again by the same statistics changes nothing where every group loses a fixed
            // number.
            if (threads == 2 && !(pattern instanceof Pattern.Cumulative)) {
              Path again = directory.resolve("again-" + output.getFileName());
              pruner(method, statistics).pattern(pattern).build().prune(output, again);
              assertArrayEquals(expected, Files.readAllBytes(again), what + ", again");
            }
          }
        }
      }
    }
  }

  private static List<String> names(PruneReport report) {
    return report.layers().stream().map(PruneReport.Layer::name).toList();
  }

  @Test
  void theReportCountsZerosAndNamesWhatWasLeft() throws IOException {
    float[] weights = {0, -0f, 1, -2, 3, 4, 5, 6, 1, 1, 1, 1, 0, 9, 9, 9};
    Path input =
        new SampleModel(1)
            .add("h.0.fc.weight", "BF16", weights, 2, 8)
            .add("h.0.fc.bias", "F32", 2)
            .add("h.0.gate.weight", "F32", 2, 2)
            .add("h.0.counts.weight", "I8", 2, 2)
            .add("wte.weight", "F32", 2, 2)
            .write(directory.resolve("model.safetensors"));
    Path output = directory.resolve("out.safetensors");
    PruneReport report =
        CheckpointPruner.builder()
            .method(Method.MAGNITUDE)
            .pattern(Pattern.nm(1, 4))
            .build()
            .prune(input, output);
    PruneReport.Layer layer = report.layers().getFirst();
    assertEquals(List.of(2L, 8L), layer.shape());
    assertEquals(DType.BF16, layer.type());
    assertEquals(16, layer.weights());
    assertEquals(3, layer.zerosBefore());
    // The group that holds two zeros loses one of them and keeps the other, which is still zero.
    assertEquals(5, layer.zerosAfter());
    assertEquals(5 / 16.0, layer.sparsity());
    assertEquals(
        Map.of(
            "h.0.fc.bias", "not a matrix",
            "h.0.gate.weight", "not a linear layer by its name",
            "h.0.counts.weight", "type I8",
            "wte.weight", "outside the numbered blocks"),
        report.untouched().stream()
            .collect(Collectors.toMap(PruneReport.Untouched::name, PruneReport.Untouched::reason)));
    JsonObject json = JsonParser.parseString(report.toJson()).getAsJsonObject();
    assertEquals(5, json.get("zerosAfter").getAsLong());
    assertEquals(
        "1:4", json.getAsJsonArray("layers").get(0).getAsJsonObject().get("pattern").getAsString());
    assertEquals(4, json.getAsJsonArray("untouched").size());
    assertEquals(output.toString(), json.get("output").getAsString());
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.layers.3.self_attn.q_proj.weight",
        "model.layers.3.mlp.gate_proj.weight",
        "model.layers.3.block_sparse_moe.experts.7.w1.weight",
        "model.decoder.layers.11.fc1.weight",
        "transformer.h.0.attn.c_attn.weight",
        "h.0.mlp.c_proj.weight",
        "gpt_neox.layers.0.attention.query_key_value.weight"
      })
  void linearLayersOfKnownModelsAreSelected(String name) throws IOException {
    assertEquals(List.of(name), names(dryRun(name, CheckpointPruner.builder())));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "model.embed_tokens.weight",
        "lm_head.weight",
        "transformer.wte.weight",
        "model.layers.3.block_sparse_moe.gate.weight",
        "model.layers.3.mlp.shared_expert_gate.weight",
        "model.layers.3.mlp.router.weight",
        "model.layers.3.post_attention_layernorm.weight",
        "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
        "h.0.attn.bias",
        "model.layers2.fc.weight"
      })
  void otherMatricesAreNot(String name) {
    IllegalArgumentException error =
        assertThrows(
            IllegalArgumentException.class, () -> dryRun(name, CheckpointPruner.builder()));
    assertTrue(
        error.getMessage().contains("expected a tensor to prune, found none"), error.getMessage());
  }

  private PruneReport dryRun(String name, CheckpointPruner.Builder builder) throws IOException {
    Path input =
        new SampleModel(1).add(name, "F16", 4, 4).write(directory.resolve("one.safetensors"));
    return builder.method(Method.MAGNITUDE).build().dryRun(input);
  }

  @Test
  void expressionsAndRatiosChooseByName() throws IOException {
    SampleModel model = new SampleModel(1);
    for (String name :
        List.of("a.0.x.weight", "a.0.y.weight", "a.1.x.weight", "a.1.y.weight", "head.weight")) {
      model.add(name, "F32", 2, 10);
    }
    Path input = model.write(directory.resolve("model.safetensors"));
    CheckpointPruner.Builder builder = CheckpointPruner.builder().method(Method.MAGNITUDE);
    assertEquals(
        List.of("a.1.y.weight", "head.weight"),
        names(builder.include("^a.*y").include("head").exclude("\\.0\\.").build().dryRun(input)));

    Path ratios = directory.resolve("ratios.csv");
    Files.writeString(ratios, "pattern,ratio\nx,0.2\na\\.1,0.9\n\"0.y\",0\n");
    CheckpointPruner.Builder byRatio =
        CheckpointPruner.builder()
            .method(Method.MAGNITUDE)
            .pattern(Pattern.unstructured(0.5))
            .ratios(ratios);
    PruneReport report = byRatio.build().dryRun(input);
    assertEquals(
        List.of(4L, 0L, 4L, 18L),
        report.layers().stream().map(PruneReport.Layer::zerosAfter).toList());
    assertRejected(
        "expected a pattern by ratio",
        () -> byRatio.pattern(Pattern.nm(2, 5)).build().dryRun(input));

    Files.writeString(ratios, "pattern,ratio\nx,1\n");
    assertRejected(
        "line 2, column 2 (ratio): expected a share in [0, 1), got 1",
        () -> byRatio.build().dryRun(input));
    Files.writeString(ratios, "pattern,ratio\n(,0.5\n");
    assertRejected(
        "line 2, column 1 (pattern): pattern: expected a regular expression",
        () -> byRatio.build().dryRun(input));
    Files.writeString(ratios, "pattern,ratio\nhead,0.5\n");
    assertRejected(
        "row 1: expected an expression that some tensor to prune matches",
        () -> byRatio.build().dryRun(input));
    Files.writeString(ratios, "name,share\nx,0.5\n");
    assertRejected(
        "line 1: expected the header pattern,ratio", () -> byRatio.build().dryRun(input));

    for (String argument : List.of("include", "exclude")) {
      CheckpointPruner.Builder none = CheckpointPruner.builder().method(Method.MAGNITUDE);
      assertRejected(
          argument + ": expected an expression that some tensor matches, got 'zz'",
          () ->
              (argument.equals("include") ? none.include("zz") : none.exclude("zz"))
                  .build()
                  .dryRun(input));
      assertRejected(
          argument + ": expected a regular expression, got '['",
          () -> (argument.equals("include") ? none.include("[") : none.exclude("[")).build());
    }
  }

  private interface Job {
    void run() throws IOException;
  }

  private static void assertRejected(String message, Job job) {
    Exception error = assertThrows(Exception.class, job::run);
    assertTrue(
        error instanceof IllegalArgumentException || error instanceof IOException,
        error.toString());
    assertTrue(error.getMessage().contains(message), error.getMessage());
    assertFalse(error.getMessage().contains("\n"), error.getMessage());
  }

  @Test
  void tiedTensorsArePrunedOnceAndOnlyTogether() throws IOException {
    SampleModel model =
        new SampleModel(1)
            .add("l.0.a.weight", "F32", 4, 8)
            .tie("l.1.a.weight", "l.0.a.weight")
            .add("l.0.b.weight", "F32", 4, 8)
            .tie("embed.weight", "l.0.b.weight")
            .add("l.0.empty.weight", "F32", 0, 8);
    Path input = model.write(directory.resolve("model.safetensors"));
    Path output = directory.resolve("out.safetensors");
    PruneReport report =
        CheckpointPruner.builder()
            .method(Method.MAGNITUDE)
            .pattern(Pattern.nm(2, 4))
            .build()
            .prune(input, output);
    assertEquals(List.of("l.0.a.weight", "l.0.empty.weight"), names(report));
    assertEquals(16, report.zerosAfter());
    assertEquals(
        Map.of(
            "l.1.a.weight", "the same bytes as l.0.a.weight, pruned with it",
            "l.0.b.weight", "shares its bytes with embed.weight: not a linear layer by its name",
            "embed.weight", "shares its bytes with embed.weight: not a linear layer by its name"),
        report.untouched().stream()
            .collect(Collectors.toMap(PruneReport.Untouched::name, PruneReport.Untouched::reason)));
    assertArrayEquals(
        expected(
            model,
            input,
            Method.MAGNITUDE,
            Pattern.nm(2, 4),
            Map.of("l.0.a.weight", Statistics.NONE)),
        Files.readAllBytes(output));
  }

  @Test
  void shardsIndexAndSmallFilesAreCopied() throws IOException {
    Path shards = Files.createDirectory(directory.resolve("shards"));
    SampleModel first = model("BF16");
    SampleModel second = new SampleModel(3).add("model.layers.2.fc.weight", "F32", 8, 8);
    first.write(shards.resolve("model-00001-of-00002.safetensors"));
    second.write(shards.resolve("model-00002-of-00002.safetensors"));
    Path index = shards.resolve("model.safetensors.index.json");
    JsonObject map = new JsonObject();
    try (Checkpoint checkpoint = Checkpoint.open(shards)) {
      for (String name : checkpoint.names()) {
        map.addProperty(name, checkpoint.shardOf(name).path().getFileName().toString());
      }
    }
    Files.writeString(index, "{\"metadata\": {\"total_size\": 7} , \"weight_map\":" + map + "}");
    Files.writeString(shards.resolve("config.json"), "{ }");
    try (RandomAccessFile large =
        new RandomAccessFile(shards.resolve("weights.bin").toFile(), "rw")) {
      large.setLength(CheckpointWriter.COMPANION_LIMIT + 1);
    }
    CheckpointPruner.Builder builder =
        CheckpointPruner.builder().method(Method.MAGNITUDE).pattern(Pattern.nm(2, 4)).threads(2);
    Path output = directory.resolve("new");
    for (Path model : List.of(shards, index)) {
      PruneReport report = builder.build().prune(model, output);
      assertEquals(
          List.of(UP + ".weight", DOWN + ".weight", "model.layers.2.fc.weight"), names(report));
      assertEquals(List.of(shards.resolve("weights.bin")), report.notCopied());
      assertEquals(
          Set.of(
              "config.json",
              "model-00001-of-00002.safetensors",
              "model-00002-of-00002.safetensors",
              "model.safetensors.index.json"),
          files(output).keySet());
      assertArrayEquals(
          Files.readAllBytes(index), Files.readAllBytes(output.resolve(index.getFileName())));
      assertArrayEquals(
          expected(
              second,
              shards.resolve("model-00002-of-00002.safetensors"),
              Method.MAGNITUDE,
              Pattern.nm(2, 4),
              Map.of("model.layers.2.fc.weight", Statistics.NONE)),
          Files.readAllBytes(output.resolve("model-00002-of-00002.safetensors")));
      // The second time it is there and must be replaced.
      assertRejected(
          "output: expected a path where nothing stands",
          () -> builder.overwrite(false).build().prune(model, output));
      builder.overwrite(true);
    }
    new SampleModel(1).add("x", "F32", 1).write(output.resolve("other.safetensors"));
    Map<String, byte[]> before = files(output);
    assertRejected("without other safetensors files", () -> builder.build().prune(shards, output));
    assertRejected(
        "expected another place than that of the input",
        () -> builder.build().prune(shards, shards));
    assertRejected(
        "expected a directory, as the input is one", () -> builder.build().prune(shards, index));
    assertSame(before, files(output));
  }

  /** The files of a directory, hidden ones included, with their bytes. */
  private static Map<String, byte[]> files(Path directory) throws IOException {
    Map<String, byte[]> files = new LinkedHashMap<>();
    List<Path> found;
    try (Stream<Path> list = Files.list(directory)) {
      found = list.sorted().toList();
    }
    for (Path file : found) {
      files.put(
          file.getFileName().toString(),
          Files.isDirectory(file) ? new byte[0] : Files.readAllBytes(file));
    }
    return files;
  }

  private static void assertSame(Map<String, byte[]> expected, Map<String, byte[]> actual) {
    assertEquals(expected.keySet(), actual.keySet());
    expected.forEach((name, bytes) -> assertArrayEquals(bytes, actual.get(name), name));
  }

  @ParameterizedTest
  @EnumSource(Method.class)
  void aDryRunReportsTheSameAndWritesNothing(Method method) throws IOException {
    Path input = model("F16").write(directory.resolve("model.safetensors"));
    Path statistics = statistics("BF16");
    Map<String, byte[]> before = files(directory);
    CheckpointPruner pruner = pruner(method, statistics).threads(2).build();
    PruneReport dry = pruner.dryRun(input);
    assertSame(before, files(directory));
    assertNull(dry.output());
    PruneReport real = pruner.prune(input, directory.resolve("out"));
    assertEquals(
        real.layers().stream().map(PruneReport.Layer::zerosAfter).toList(),
        dry.layers().stream().map(PruneReport.Layer::zerosAfter).toList());
    assertEquals(real.untouched(), dry.untouched());
  }

  @Test
  void aFailureNamesTheRowOfTheWholeTensorAndKeepsWhatWasThere() throws IOException {
    int bad = 677 * COLUMNS + 33;
    for (boolean inGradients : new boolean[] {false, true}) {
      float[] weights = squares(ROWS * COLUMNS);
      float[] gradients = weights.clone();
      (inGradients ? gradients : weights)[bad] = Float.NaN;
      Path input =
          new SampleModel(1)
              .add(UP + ".weight", "F32", weights, ROWS, COLUMNS)
              .write(directory.resolve("model.safetensors"));
      Path statistics =
          new SampleModel(1)
              .add(UP + ".grad_l1", "F32", gradients, ROWS, COLUMNS)
              .write(directory.resolve("g.safetensors"));
      Path output = Files.writeString(directory.resolve("old"), "old");
      Map<String, byte[]> before = files(directory);
      for (int threads = 1; threads <= 2; threads++) {
        for (Pattern pattern :
            List.of(Pattern.unstructured(0.5), Pattern.nm(2, 4), Pattern.cumulative(0.5))) {
          CheckpointPruner pruner =
              pruner(Method.GRADIENT, statistics)
                  .pattern(pattern)
                  .threads(threads)
                  .overwrite(true)
                  .build();
          assertRejected(
              "expected finite "
                  + (inGradients ? "gradients" : "weights")
                  + ", got NaN at row 677, column 33",
              () -> pruner.prune(input, output));
          assertRejected(input + ": " + UP + ".weight", () -> pruner.prune(input, output));
          assertSame(before, files(directory));
        }
      }
    }
  }

  @Test
  void missingOrWrongStatisticsAreToldBeforeAnythingIsWritten() throws IOException {
    Path input =
        new SampleModel(1)
            .add(UP + ".weight", "F32", 8, 6)
            .write(directory.resolve("model.safetensors"));
    Path output = directory.resolve("out");
    Path file = directory.resolve("statistics.safetensors");
    assertRejected(
        "gradients: expected a file with the statistics of " + UP + ".weight, got none",
        () -> CheckpointPruner.builder().method(Method.GRADIENT).build().prune(input, output));
    new SampleModel(1).add("x", "F32", 1).write(file);
    assertRejected(
        "gradients: expected the statistics of "
            + UP
            + ".weight in "
            + file
            + " under one of "
            + UP
            + ".weight, "
            + UP
            + ".grad_l1, layers.0.mlp.up_proj.grad_l1, mlp.up_proj_layer_0, found none",
        () -> pruner(Method.GRADIENT, file).build().prune(input, output));
    assertRejected(
        UP + ".grad_l2,",
        () ->
            pruner(Method.GRADIENT, file)
                .gradientNorm(GradientNorm.L2)
                .build()
                .prune(input, output));
    assertRejected(
        "activations: expected the statistics of "
            + UP
            + ".weight in "
            + file
            + " under one of "
            + UP
            + ".scaler_row",
        () -> pruner(Method.WANDA, file).build().prune(input, output));
    new SampleModel(1)
        .add(UP + ".grad_l1", "F32", 6, 8)
        .add(UP + ".scaler_row", "F32", 8)
        .write(file);
    assertRejected(
        file + ": " + UP + ".grad_l1: expected gradients of shape [8, 6]",
        () -> pruner(Method.GRADIENT, file).build().prune(input, output));
    assertRejected(
        file + ": " + UP + ".scaler_row: expected [6] values",
        () -> pruner(Method.WANDA, file).build().prune(input, output));
    new SampleModel(1)
        .add(UP + ".scaler_row", "F32", new float[] {1, 2, 3, -1, 2, 3}, 6)
        .add(UP + ".grad_l1", "I8", 8, 6)
        .write(file);
    assertRejected(
        "got a column norm of NaN at column 3",
        () -> pruner(Method.WANDA, file).build().prune(input, output));
    assertRejected(
        "expected a floating-point type, got I8",
        () -> pruner(Method.GRADIENT, file).build().prune(input, output));
    assertRejected(
        "expected columns in whole groups of 4 for the pattern 2:4, got 6 columns",
        () ->
            CheckpointPruner.builder()
                .method(Method.MAGNITUDE)
                .pattern(Pattern.nm(2, 4))
                .build()
                .prune(input, output));
    assertRejected(
        "expected " + UP + ".grad_l1 in one file",
        () -> pruner(Method.GRADIENT, file).gradients(file).build().prune(input, output));
    assertFalse(Files.exists(output));
  }

  @Test
  void gradientsThatAreZeroInSomeRowsOnlyAreUsedAsTheyAre() throws IOException {
    SampleModel model = new SampleModel(1).add(UP + ".weight", "F32", ROWS, COLUMNS);
    Path input = model.write(directory.resolve("model.safetensors"));
    float[] gradients = new float[ROWS * COLUMNS];
    Path statistics = directory.resolve("g.safetensors");
    for (boolean some : new boolean[] {true, false}) {
      // The first chunks have none, the last row has.
      Arrays.fill(gradients, gradients.length - COLUMNS, gradients.length, some ? 1 : 0);
      new SampleModel(1).add(UP + ".grad_l1", "F32", gradients, ROWS, COLUMNS).write(statistics);
      Path output = directory.resolve("out" + some);
      PruneReport report =
          pruner(Method.GRADIENT, statistics)
              .pattern(Pattern.unstructured(0.5))
              .build()
              .prune(input, output);
      assertEquals(some ? "gradient" : "magnitude", report.layers().getFirst().method());
      try (Arena arena = Arena.ofConfined()) {
        Statistics same = new Statistics(Tensor.copyOf(arena, gradients, ROWS, COLUMNS), null);
        assertArrayEquals(
            expected(
                model,
                input,
                Method.GRADIENT,
                Pattern.unstructured(0.5),
                Map.of(UP + ".weight", same)),
            Files.readAllBytes(output));
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"F32", "BF16"})
  void theOtherLayoutPrunesTheTransposedMatrix(String type) throws IOException {
    int outputs = 1100;
    int inputs = 136;
    SampleModel stored = new SampleModel(5).add("h.0.c_fc.weight", type, inputs, outputs);
    Path input = stored.write(directory.resolve("stored.safetensors"));
    Path statistics =
        new SampleModel(6)
            .add("h.0.c_fc.grad_l1", "F16", inputs, outputs)
            .add("h.0.c_fc.scaler_row", "F32", squares(inputs), inputs)
            .write(directory.resolve("statistics.safetensors"));
    for (Pattern pattern :
        List.of(
            Pattern.unstructured(0.3), Pattern.nm(4, 8), Pattern.unstructured(0.5, Group.MATRIX))) {
      Path output = directory.resolve("out");
      pruner(Method.GBLM, statistics)
          .layout(Layout.IN_OUT)
          .pattern(pattern)
          .threads(2)
          .overwrite(true)
          .build()
          .prune(input, output);
      try (SafetensorsFile before = SafetensorsFile.open(input);
          SafetensorsFile after = SafetensorsFile.open(output);
          SafetensorsFile s = SafetensorsFile.open(statistics);
          Arena arena = Arena.ofConfined()) {
        Tensor weights = transposed(before.load("h.0.c_fc.weight", arena), arena);
        Pruner.builder()
            .pattern(pattern)
            .build()
            .prune(
                weights,
                new Statistics(
                    transposed(s.load("h.0.c_fc.grad_l1", arena), arena),
                    root(s.load("h.0.c_fc.scaler_row", arena), arena)));
        assertArrayEquals(
            transposed(weights, arena).toFloatArray(),
            after.load("h.0.c_fc.weight", arena).toFloatArray(),
            pattern.toString());
      }
    }
  }

  private static Tensor transposed(Tensor matrix, Arena arena) {
    Tensor copy = Tensor.allocate(arena, matrix.type(), matrix.dim(1), matrix.dim(0));
    for (long i = 0; i < matrix.dim(0); i++) {
      for (long j = 0; j < matrix.dim(1); j++) {
        copy.setDouble(matrix.getDouble(i, j), j, i);
      }
    }
    return copy;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void anInterruptLeavesNothingBehind(int threads) throws IOException {
    Path shards = Files.createDirectory(directory.resolve("shards"));
    model("F32").write(shards.resolve("model.safetensors"));
    Map<String, byte[]> before = files(directory);
    Thread worker = Thread.currentThread();
    CheckpointPruner pruner =
        CheckpointPruner.builder()
            .method(Method.MAGNITUDE)
            .pattern(Pattern.nm(2, 4))
            .threads(threads)
            .progress((step, done, total) -> worker.interrupt())
            .build();
    assertThrows(
        InterruptedIOException.class, () -> pruner.prune(shards, directory.resolve("out")));
    assertTrue(Thread.interrupted());
    assertSame(before, files(directory));
  }

  @Test
  void progressEndsAtTheTotal() throws IOException {
    Path input = model("F32").write(directory.resolve("model.safetensors"));
    List<Long> done = new ArrayList<>();
    long[] last = new long[1];
    CheckpointPruner.builder()
        .method(Method.MAGNITUDE)
        .progress((step, at, total) -> {
          done.add(at);
          last[0] = total;
        })
        .build()
        .prune(input, directory.resolve("out"));
    assertEquals(last[0], done.getLast());
    assertEquals(done.stream().sorted().toList(), done);
  }

  @Test
  void thePublishedRunOnTheTrainedModelIsReproduced() throws IOException {
    Path recorded = GOLDEN.resolve("tiny_lm_expected.safetensors");
    assumeTrue(Files.exists(recorded), "golden cases are not beside the project");
    Path model = GOLDEN.resolve("tiny_lm.safetensors");
    for (String run : List.of("gblm.l1.u0.5", "gblm.l1.2of4")) {
      try (SafetensorsFile file = SafetensorsFile.open(recorded);
          Arena arena = Arena.ofConfined()) {
        String suffix = ".scaler_row." + run;
        Map<String, Tensor> activations = new LinkedHashMap<>();
        for (var entry : file.entries()) {
          if (entry.name().endsWith(suffix)) {
            activations.put(entry.name().replace("." + run, ""), file.load(entry.name(), arena));
          }
        }
        assertEquals(21, activations.size());
        Path statistics = directory.resolve("activations.safetensors");
        SafetensorsWriter.write(statistics, activations, Map.of());
        Path output = directory.resolve(run);
        CheckpointPruner.builder()
            .pattern(run.endsWith("u0.5") ? Pattern.unstructured(0.5) : Pattern.nm(2, 4))
            .gradients(recorded)
            .activations(statistics)
            .threads(2)
            .build()
            .prune(model, output);
        try (SafetensorsFile pruned = SafetensorsFile.open(output)) {
          for (String key : activations.keySet()) {
            String module = key.substring(0, key.length() - ".scaler_row".length());
            assertZeros(
                module + " " + run,
                file.load(module + ".zeros." + run, arena),
                pruned.load("model." + module + ".weight", arena));
          }
        }
      }
    }
  }

  private static void assertZeros(String what, Tensor bits, Tensor weights) {
    for (long i = 0; i < weights.dim(0); i++) {
      for (long j = 0; j < weights.dim(1); j++) {
        boolean zero = (bits.getLong(i, j / 8) >> j % 8 & 1) != 0;
        assertEquals(zero, weights.getDouble(i, j) == 0, what + " row " + i + ", column " + j);
      }
    }
  }
}
