package org.quern.prune.calibration;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import com.google.gson.JsonObject;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.quern.io.Json;
import org.quern.io.SafetensorsWriter;
import org.quern.prune.lm.DecoderShape;
import org.quern.random.Philox;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** A LLaMA-style decoder of random weights on disk: shards, an index, config.json, a tokenizer. */
public final class SampleCheckpoint {
  /** Shared keys, and columns that suit 2:4 and 4:8. */
  public static final DecoderShape SHAPE = new DecoderShape(40, 32, 48, 4, 2, 8, 3, 10_000, 1e-5);

  private SampleCheckpoint() {}

  /** Writes a directory with a shard for the embedding and head, and one for every block. */
  public static Path write(Path directory, DecoderShape shape, DType type, long seed)
      throws IOException {
    Files.createDirectories(directory);
    JsonObject weightMap = new JsonObject();
    Map<String, long[]> outer = new LinkedHashMap<>();
    outer.put("model.embed_tokens.weight", new long[] {shape.vocabulary(), shape.hidden()});
    outer.put("model.norm.weight", new long[] {shape.hidden()});
    outer.put("lm_head.weight", new long[] {shape.vocabulary(), shape.hidden()});
    writeShard(directory, "model-00000.safetensors", outer, type, seed, weightMap);
    for (int block = 0; block < shape.layers(); block++) {
      String prefix = "model.layers." + block + ".";
      Map<String, long[]> tensors = new LinkedHashMap<>();
      tensors.put(prefix + "input_layernorm.weight", new long[] {shape.hidden()});
      for (String linear :
          new String[] {
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.o_proj",
            "mlp.gate_proj",
            "mlp.up_proj",
            "mlp.down_proj"
          }) {
        long inputs =
            switch (linear) {
              case "self_attn.o_proj" -> shape.queryWidth();
              case "mlp.down_proj" -> shape.mlp();
              default -> shape.hidden();
            };
        tensors.put(prefix + linear + ".weight", new long[] {shape.outputs(linear), inputs});
      }
      tensors.put(prefix + "post_attention_layernorm.weight", new long[] {shape.hidden()});
      String name = String.format("model-%05d.safetensors", block + 1);
      writeShard(directory, name, tensors, type, seed + 1 + block, weightMap);
    }
    JsonObject index = new JsonObject();
    index.add("weight_map", weightMap);
    Json.write(directory.resolve("model.safetensors.index.json"), index);
    Json.write(directory.resolve("config.json"), config(shape));
    Files.writeString(directory.resolve("tokenizer.json"), "{}");
    return directory;
  }

  private static JsonObject config(DecoderShape shape) {
    JsonObject config = new JsonObject();
    config.addProperty("model_type", "llama");
    config.addProperty("vocab_size", shape.vocabulary());
    config.addProperty("hidden_size", shape.hidden());
    config.addProperty("intermediate_size", shape.mlp());
    config.addProperty("num_attention_heads", shape.heads());
    config.addProperty("num_key_value_heads", shape.kvHeads());
    config.addProperty("head_dim", shape.headSize());
    config.addProperty("num_hidden_layers", shape.layers());
    config.addProperty("rope_theta", shape.ropeTheta());
    config.addProperty("rms_norm_eps", shape.rmsEpsilon());
    return config;
  }

  private static void writeShard(
      Path directory,
      String file,
      Map<String, long[]> shapes,
      DType type,
      long seed,
      JsonObject weightMap)
      throws IOException {
    Philox random = new Philox(seed, 0);
    try (Arena arena = Arena.ofShared()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (Map.Entry<String, long[]> each : shapes.entrySet()) {
        Tensor values = Tensor.allocate(arena, DType.F32, each.getValue());
        random.fillNormal(values.memory());
        boolean isNorm = each.getValue().length == 1;
        // Outputs of the size of the inputs, and gains around one.
        float scale = isNorm ? 0.1f : (float) (1 / Math.sqrt(each.getValue()[1]));
        for (long i = 0; i < values.size(); i++) {
          float value = values.memory().getAtIndex(JAVA_FLOAT, i);
          values.memory().setAtIndex(JAVA_FLOAT, i, scale * value + (isNorm ? 1 : 0));
        }
        tensors.put(each.getKey(), values.to(type, arena));
        weightMap.addProperty(each.getKey(), file);
      }
      SafetensorsWriter.write(directory.resolve(file), tensors, Map.of("format", "pt"));
    }
  }

  /** Writes random token ids, two bytes each. */
  public static Path writeTokens(Path file, int count, int vocabulary, long seed)
      throws IOException {
    Philox random = new Philox(seed, 0);
    byte[] bytes = new byte[count * Short.BYTES];
    for (int i = 0; i < count; i++) {
      int id = random.nextInt(vocabulary);
      bytes[2 * i] = (byte) id;
      bytes[2 * i + 1] = (byte) (id >>> Byte.SIZE);
    }
    return Files.write(file, bytes);
  }
}
