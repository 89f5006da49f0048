package org.quern.prune.lm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.io.FormatException;
import org.quern.io.Json;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The forward pass against the same formulas in binary64. */
class DecoderTest {
  private static final double TOLERANCE = 2e-4;

  @TempDir Path directory;

  /** Shapes with shared keys, heads that do not add up to the hidden width, and single ones. */
  static Stream<DecoderShape> shapes() {
    return Stream.of(
        new DecoderShape(5, 3, 4, 1, 1, 2, 1, 10_000, 1e-5),
        new DecoderShape(17, 20, 28, 4, 2, 6, 2, 10_000, 1e-5),
        new DecoderShape(31, 32, 40, 6, 3, 8, 2, 500_000, 1e-6),
        new DecoderShape(11, 24, 33, 4, 1, 10, 3, 100, 1e-3));
  }

  private LanguageModel load(ReferenceDecoder reference, Arena arena) throws IOException {
    Path file = directory.resolve("model.safetensors");
    ReferenceFiles.write(file, reference, ReferenceFiles.metadata(reference.shape));
    return LanguageModel.load(file, arena);
  }

  private static Tensor logits(Decoder decoder, LanguageModel model, Arena arena, Tensor tokens)
      throws IOException {
    Tensor hidden = model.embed(arena, tokens);
    for (int block = 0; block < model.shape().layers(); block++) {
      decoder.forwardBlock(model.loadBlock(arena, block), hidden);
    }
    return decoder.logits(arena, model.loadOutput(arena), hidden);
  }

  private static List<Tier> tiers() {
    return Stream.of(Tier.SCALAR, Tier.VECTOR)
        .filter(Capabilities.get().available()::contains)
        .toList();
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void logitsAndPerplexityAreThoseOfTheFormulas(DecoderShape shape) throws IOException {
    Random random = new Random(41);
    for (boolean tied : new boolean[] {false, true}) {
      ReferenceDecoder reference = ReferenceDecoder.random(shape, tied, random);
      for (int length : new int[] {1, 2, 19}) {
        try (Arena arena = Arena.ofShared()) {
          LanguageModel model = load(reference, arena);
          int[][] ids = ReferenceFiles.tokens(3, length, shape.vocabulary(), random);
          Tensor tokens = ReferenceFiles.tensor(arena, DType.I32, ids);
          for (Tier tier : tiers()) {
            try (Decoder decoder = new Decoder(shape, 1, tier)) {
              Tensor logits = logits(decoder, model, arena, tokens);
              for (int s = 0; s < ids.length; s++) {
                double[][] expected = reference.logits(ids[s]);
                for (int t = 0; t < length; t++) {
                  for (int v = 0; v < shape.vocabulary(); v++) {
                    String where = tier + " length " + length + " at " + s + ", " + t + ", " + v;
                    assertEquals(expected[t][v], logits.getDouble(s, t, v), TOLERANCE, where);
                  }
                }
              }
              if (length > 1) {
                double expected = reference.perplexity(ids);
                assertEquals(1, decoder.perplexity(model, tokens) / expected, 1e-5, tier.label());
              }
            }
          }
        }
      }
    }
  }

  @Test
  void showsWhatEntersTheLinearsAndLeavesTheStream() throws IOException {
    DecoderShape shape = new DecoderShape(17, 20, 28, 4, 2, 6, 2, 10_000, 1e-5);
    Random random = new Random(5);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, random);
    // More sequences than one chunk holds.
    int[][] ids = ReferenceFiles.tokens(120, 19, shape.vocabulary(), random);
    try (Arena arena = Arena.ofShared()) {
      LanguageModel model = load(reference, arena);
      try (Decoder decoder = new Decoder(shape, 2)) {
        Tensor hidden = model.embed(arena, ReferenceFiles.tensor(arena, DType.U8, ids));
        float[] before = hidden.toFloatArray();
        Map<LinearInput, List<float[]>> seen = new EnumMap<>(LinearInput.class);
        decoder.observeBlock(
            model.loadBlock(arena, 0),
            hidden,
            (input, values) -> {
              assertEquals(19, values.dim(1));
              for (long s = 0; s < values.dim(0); s++) {
                seen.computeIfAbsent(input, key -> new ArrayList<>())
                    .add(values.rows(s * 19, (s + 1) * 19).toFloatArray());
              }
            });
        assertArrayEquals(before, hidden.toFloatArray());
        for (int s = 0; s < ids.length; s++) {
          Map<String, double[][]> expected = new LinkedHashMap<>();
          reference.block(0, reference.embed(ids[s]), expected);
          for (LinearInput input : LinearInput.values()) {
            assertEquals(ids.length, seen.get(input).size());
            for (String linear : input.linears()) {
              double[][] wanted = expected.get("layers.0." + linear);
              float[] got = seen.get(input).get(s);
              for (int i = 0; i < got.length; i++) {
                int width = wanted[0].length;
                assertEquals(wanted[i / width][i % width], got[i], TOLERANCE, linear + " " + s);
              }
            }
          }
        }
      }
    }
  }

  @Test
  void threadsDoNotChangeTheBits() throws IOException {
    DecoderShape shape = new DecoderShape(31, 32, 40, 6, 3, 8, 2, 500_000, 1e-6);
    Random random = new Random(8);
    try (Arena arena = Arena.ofShared()) {
      LanguageModel model = load(ReferenceDecoder.random(shape, false, random), arena);
      int[][] ids = ReferenceFiles.tokens(130, 21, shape.vocabulary(), random);
      Tensor tokens = ReferenceFiles.tensor(arena, DType.I64, ids);
      float[] first = new float[0];
      double perplexity = 0;
      for (int threads = 1; threads <= 3; threads++) {
        try (Decoder decoder = new Decoder(shape, threads)) {
          float[] logits = logits(decoder, model, arena, tokens).toFloatArray();
          first = threads == 1 ? logits : first;
          perplexity = threads == 1 ? decoder.perplexity(model, tokens) : perplexity;
          assertArrayEquals(first, logits);
          assertEquals(perplexity, decoder.perplexity(model, tokens));
        }
      }
    }
  }

  @Test
  void weightsInFilesAreThoseInMemory() throws IOException {
    DecoderShape shape = new DecoderShape(17, 20, 28, 4, 2, 6, 2, 10_000, 1e-5);
    Random random = new Random(33);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, random);
    int[][] ids = ReferenceFiles.tokens(5, 9, shape.vocabulary(), random);
    for (DType type : new DType[] {DType.F32, DType.F16, DType.BF16}) {
      Path file = directory.resolve(type + ".safetensors");
      ReferenceFiles.write(file, reference, ReferenceFiles.metadata(shape), type);
      try (Arena arena = Arena.ofShared();
          LanguageModel opened = LanguageModel.open(file);
          Decoder decoder = new Decoder(shape, 2)) {
        LanguageModel loaded = LanguageModel.load(file, arena);
        Tensor tokens = ReferenceFiles.tensor(arena, DType.I32, ids);
        assertEquals(decoder.perplexity(loaded, tokens), decoder.perplexity(opened, tokens));
        Tensor weights = opened.loadBlock(arena, 1).weights("mlp.down_proj");
        assertEquals(DType.F32, weights.type());
        assertArrayEquals(
            loaded.weights("layers.1.mlp.down_proj").toFloatArray(), weights.toFloatArray());
        // A block of a model in memory is the model's own, one of a file is a copy.
        weights.fill(0);
        loaded.loadBlock(arena, 1).weights("mlp.up_proj").fill(0);
        assertEquals(0, loaded.weights("layers.1.mlp.up_proj").getDouble(0, 0));
        assertTrue(opened.loadBlock(arena, 1).weights("mlp.down_proj").getDouble(0, 0) != 0);
        assertThrows(
            IllegalArgumentException.class, () -> opened.weights("layers.1.mlp.down_proj"));
      }
    }
  }

  @Test
  void readsTheDimensionsFromConfigJson() throws IOException {
    DecoderShape shape = new DecoderShape(31, 32, 40, 6, 3, 8, 2, 500_000, 1e-6);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, true, new Random(2));
    Path file = directory.resolve("model.safetensors");
    ReferenceFiles.write(file, reference, Map.of());
    JsonObject config = new JsonObject();
    config.addProperty("vocab_size", 31);
    config.addProperty("hidden_size", 32);
    config.addProperty("intermediate_size", 40);
    config.addProperty("num_attention_heads", 6);
    config.addProperty("num_key_value_heads", 3);
    config.addProperty("head_dim", 8);
    config.addProperty("num_hidden_layers", 2);
    config.addProperty("rope_theta", 500_000.0);
    config.addProperty("rms_norm_eps", 1e-6);
    Json.write(directory.resolve("config.json"), config);
    try (Arena arena = Arena.ofShared()) {
      assertEquals(shape, LanguageModel.load(file, arena).shape());
      assertEquals(shape, LanguageModel.load(directory, arena).shape());
    }
  }

  @Test
  void saysWhatIsWrongWithAModel() throws IOException {
    DecoderShape shape = new DecoderShape(5, 4, 4, 1, 1, 2, 1, 10_000, 1e-5);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, new Random(2));
    Path file = directory.resolve("model.safetensors");
    ReferenceFiles.write(file, reference, Map.of());
    assertFails(file, "expected the dimensions of the decoder");
    Map<String, String> metadata = ReferenceFiles.metadata(shape);
    metadata.put("mlp", "5");
    ReferenceFiles.write(file, reference, metadata);
    assertFails(file, "model.layers.0.mlp.gate_proj.weight");
    metadata.put("mlp", "many");
    ReferenceFiles.write(file, reference, metadata);
    assertFails(file, "mlp: expected a number");
    metadata.put("mlp", "4");
    metadata.put("layers", "2");
    ReferenceFiles.write(file, reference, metadata);
    assertFails(file, "model.layers.1.self_attn.q_proj.weight");
  }

  private static void assertFails(Path file, String part) {
    try (Arena arena = Arena.ofShared()) {
      FormatException error =
          assertThrows(FormatException.class, () -> LanguageModel.load(file, arena));
      assertTrue(String.valueOf(error.getMessage()).contains(part), error.getMessage());
    }
  }

  @Test
  void rejectsWhatItCannotRun() throws IOException {
    DecoderShape shape = new DecoderShape(5, 4, 4, 1, 1, 2, 1, 10_000, 1e-5);
    try (Arena arena = Arena.ofShared()) {
      LanguageModel model = load(ReferenceDecoder.random(shape, false, new Random(2)), arena);
      try (Decoder decoder = new Decoder(shape, 1)) {
        Tensor outside = ReferenceFiles.tensor(arena, DType.I8, new int[][] {{0, 1}, {4, 5}});
        IllegalArgumentException error =
            assertThrows(IllegalArgumentException.class, () -> model.embed(arena, outside));
        assertEquals(
            "tokens: expected ids below 5, got 5 in sequence 1 at position 1", error.getMessage());
        Tensor one = Tensor.allocate(arena, DType.I8, 1, 1);
        assertThrows(IllegalArgumentException.class, () -> decoder.perplexity(model, one));
        DecoderBlock block = model.loadBlock(arena, 0);
        Tensor narrow = Tensor.allocate(arena, DType.F32, 1, 2, 3);
        assertThrows(IllegalArgumentException.class, () -> decoder.forwardBlock(block, narrow));
        assertThrows(IllegalArgumentException.class, () -> model.loadBlock(arena, 1));
        assertThrows(IllegalArgumentException.class, () -> model.weights("layers.7.mlp.up_proj"));
      }
    }
  }
}
