package org.quern.prune.lm;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.quern.io.FormatException;
import org.quern.io.Json;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** What models of the LLaMA kind differ in, read from their configurations, or refused. */
class DecoderVariantsTest {
  private static final String PLAIN =
      "{'vocab_size': 13, 'hidden_size': 24, 'intermediate_size': 20, 'num_attention_heads': 4,"
          + " 'num_hidden_layers': 2}";

  @TempDir Path directory;

  private static JsonObject config(String more) {
    JsonObject config = JsonParser.parseString(PLAIN.replace('\'', '"')).getAsJsonObject();
    JsonObject added = JsonParser.parseString(more.replace('\'', '"')).getAsJsonObject();
    added.entrySet().forEach(entry -> config.add(entry.getKey(), entry.getValue()));
    return config;
  }

  private static DecoderShape shape(String more) throws IOException {
    return DecoderConfig.ofJson("config.json", config(more));
  }

  @Test
  void takesWhatIsAbsentForPlain() throws IOException {
    assertEquals(new DecoderShape(13, 24, 20, 4, 4, 6, 2, 10_000, 1e-6), shape("{}"));
    String nothing = "{'rope_scaling': null, 'sliding_window': null, 'head_dim': null}";
    assertEquals(shape("{}"), shape(nothing));
  }

  @Test
  void readsTheConfigurationsOfTheFamilies() throws IOException {
    RotaryScaling scaling = new RotaryScaling(8, 1, 4, 8192);
    String llama3 =
        "'rope_scaling': {'rope_type': 'llama3', 'factor': 8.0, 'low_freq_factor': 1.0,"
            + " 'high_freq_factor': 4.0, 'original_max_position_embeddings': 8192}";
    assertEquals(scaling, shape("{'model_type': 'llama', " + llama3 + "}").rotaryScaling());
    String later =
        llama3.replace("rope_scaling", "rope_parameters").replace("}", ", 'rope_theta': 5e5}");
    assertEquals(scaling, shape("{" + later + "}").rotaryScaling());
    assertEquals(500_000, shape("{" + later + "}").ropeTheta());
    assertEquals(
        RotaryScaling.linear(2),
        shape("{'rope_scaling': {'type': 'linear', 'factor': 2}}").rotaryScaling());
    assertEquals(8, shape("{'head_dim': 8}").headSize());
    assertEquals(4096, shape("{'model_type': 'mistral', 'sliding_window': 4096}").window());
    String unused = "{'model_type': 'qwen2', 'sliding_window': 4096, 'use_sliding_window': false}";
    assertEquals(DecoderShape.NO_WINDOW, shape(unused).window());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "{'model_type': 'gemma'} | model_type: expected llama or mistral or qwen2, got \"gemma\"",
        "{'hidden_act': 'gelu'} | hidden_act: expected silu or swish",
        "{'partial_rotary_factor': 0.5} | partial_rotary_factor: expected 1, got 0.5",
        "{'quantization_config': {'bits': 4}} | quantization_config: expected weights of F32",
        "{'rope_scaling': {'rope_type': 'yarn', 'factor': 4}} | rope_scaling: expected default",
        "{'rope_scaling': {'type': 'linear'}} | rope_scaling: expected the number factor",
        "{'vocab_size': null} | expected the number vocab_size",
        "{'num_hidden_layers': 2.5} | num_hidden_layers: expected a whole number",
        "{'sliding_window': 0} | sliding_window: expected a whole number"
      })
  void refusesWhatItDoesNotCompute(String more, String part) {
    FormatException error = assertThrows(FormatException.class, () -> shape(more));
    assertTrue(String.valueOf(error.getMessage()).contains(part), error.getMessage());
  }

  private LanguageModel open(ReferenceDecoder reference, String more) throws IOException {
    Path file = directory.resolve("model.safetensors");
    ReferenceFiles.write(file, reference, Map.of());
    Json.write(directory.resolve("config.json"), config(more));
    return LanguageModel.open(file);
  }

  private static void assertLogits(ReferenceDecoder reference, LanguageModel model, int[] ids)
      throws IOException {
    double[][] wanted = reference.logits(ids);
    try (Arena arena = Arena.ofShared();
        Decoder decoder = new Decoder(model.shape(), 1);
        Generator generator = Generator.create(model, false, ids.length, 1, null)) {
      Tensor hidden =
          model.embed(arena, ReferenceFiles.tensor(arena, DType.I32, new int[][] {ids}));
      for (int block = 0; block < model.shape().layers(); block++) {
        decoder.forwardBlock(model.loadBlock(arena, block), hidden);
      }
      Tensor logits = decoder.logits(arena, model.loadOutput(arena), hidden);
      for (int t = 0; t < ids.length; t++) {
        Tensor scores = generator.accept(ids[t]);
        for (int v = 0; v < model.shape().vocabulary(); v++) {
          assertEquals(wanted[t][v], logits.getDouble(0, t, v), 2e-4, t + ", " + v);
          assertEquals(wanted[t][v], scores.getDouble(v), 2e-4, t + ", " + v);
        }
      }
    }
  }

  @Test
  void linearLayersMayHaveBiases() throws IOException {
    Random random = new Random(15);
    ReferenceDecoder reference = ReferenceDecoder.random(shape("{}"), true, random);
    List<String> qwen = List.of("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj");
    qwen.forEach(linear -> reference.addBias(linear, random));
    int[] ids = ReferenceFiles.tokens(1, 9, 13, random)[0];
    try (LanguageModel model = open(reference, "{'model_type': 'qwen2'}");
        Arena arena = Arena.ofShared()) {
      DecoderBlock block = model.loadBlock(arena, 1);
      assertNotNull(block.bias("self_attn.k_proj"));
      assertNull(block.bias("mlp.up_proj"));
      assertLogits(reference, model, ids);
    }
    for (String linear :
        List.of("self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")) {
      reference.addBias(linear, random);
    }
    try (LanguageModel model = open(reference, "{'attention_bias': true, 'mlp_bias': true}")) {
      assertLogits(reference, model, ids);
    }
  }

  @Test
  void rotaryFrequenciesMayBeSlowed() throws IOException {
    // Of the three waves of a head, one is short, one long and one between.
    for (String scaling :
        List.of(
            "'rope_type': 'llama3', 'factor': 4, 'low_freq_factor': 1, 'high_freq_factor': 4,"
                + " 'original_max_position_embeddings': 200",
            "'type': 'linear', 'factor': 2.5")) {
      String more = "{'rope_theta': 1000, 'rope_scaling': {" + scaling + "}}";
      Random random = new Random(16);
      ReferenceDecoder reference = ReferenceDecoder.random(shape(more), false, random);
      try (LanguageModel model = open(reference, more)) {
        assertLogits(reference, model, ReferenceFiles.tokens(1, 12, 13, random)[0]);
      }
    }
  }

  @Test
  void refusesSequencesBeyondASlidingWindow() throws IOException {
    ReferenceDecoder reference = ReferenceDecoder.random(shape("{}"), false, new Random(1));
    try (LanguageModel model = open(reference, "{'sliding_window': 5}");
        Arena arena = Arena.ofShared();
        Decoder decoder = new Decoder(model.shape(), 1)) {
      DecoderBlock block = model.loadBlock(arena, 0);
      decoder.forwardBlock(block, Tensor.allocate(arena, DType.F32, 1, 5, 24));
      Tensor longer = Tensor.allocate(arena, DType.F32, 1, 6, 24);
      IllegalArgumentException error =
          assertThrows(IllegalArgumentException.class, () -> decoder.forwardBlock(block, longer));
      assertTrue(error.getMessage().contains("sliding window, got 6"), error.getMessage());
      assertThrows(
          IllegalArgumentException.class, () -> Generator.create(model, false, 6, 1, null));
    }
  }

  @Test
  void refusesTensorsThatItKnowsNoUseOf() throws IOException {
    ReferenceDecoder reference = ReferenceDecoder.random(shape("{}"), false, new Random(1));
    reference.tensors.put(
        "model.layers.0.self_attn.rotary_emb.inv_freq", new double[][] {{1, 2, 3}});
    open(reference, "{}").close();
    String name = "model.layers.1.self_attn.q_norm.weight";
    reference.tensors.put(name, new double[1][6]);
    FormatException error =
        assertThrows(FormatException.class, () -> open(reference, "{}").close());
    assertTrue(String.valueOf(error.getMessage()).contains(name), error.getMessage());
  }
}
