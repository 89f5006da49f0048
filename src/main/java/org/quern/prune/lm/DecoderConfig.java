package org.quern.prune.lm;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.util.List;
import java.util.Map;
import org.quern.io.FormatException;

/**
 * Reads the dimensions of a decoder from where models keep them, and refuses by its key whatever
 * this decoder does not compute.
 */
final class DecoderConfig {
  private static final double DEFAULT_THETA = 10_000;
  private static final String ROPE_THETA = "rope_theta";

  /** Families whose blocks are those of LLaMA, with or without biases. */
  private static final List<String> MODEL_TYPES = List.of("llama", "mistral", "qwen2");

  private final String source;
  private final JsonObject config;

  /**
   * A reader.
   *
   * @param source how errors name the file
   */
  private DecoderConfig(String source, JsonObject config) {
    this.source = source;
    this.config = config;
  }

  /** True where the metadata of a safetensors file gives the dimensions. */
  static boolean isIn(Map<String, String> metadata) {
    return metadata.containsKey("hidden") && metadata.containsKey("layers");
  }

  /**
   * The dimensions in the metadata of a safetensors file: {@code vocab}, {@code hidden}, {@code
   * mlp}, {@code heads}, {@code layers}, and where they differ from the defaults {@code kv_heads},
   * {@code head_dim}, {@code rope_theta} and {@code rms_eps}.
   *
   * @param source how errors name the file
   */
  static DecoderShape ofMetadata(String source, Map<String, String> metadata) throws IOException {
    JsonObject config = new JsonObject();
    metadata.forEach(config::addProperty);
    DecoderConfig reader = new DecoderConfig(source, config);
    int hidden = reader.integer("hidden");
    int heads = reader.integer("heads");
    return new DecoderShape(
        reader.integer("vocab"),
        hidden,
        reader.integer("mlp"),
        heads,
        reader.integer("kv_heads", heads),
        reader.integer("head_dim", hidden / heads),
        reader.integer("layers"),
        reader.number(ROPE_THETA, DEFAULT_THETA),
        reader.number("rms_eps", 1e-5));
  }

  /**
   * The dimensions in a model's {@code config.json}, as Hugging Face writes it.
   *
   * @param source how errors name the file
   */
  static DecoderShape ofJson(String source, JsonObject config) throws IOException {
    DecoderConfig reader = new DecoderConfig(source, config);
    reader.checkArchitecture();
    int hidden = reader.integer("hidden_size");
    int heads = reader.integer("num_attention_heads");
    DecoderConfig rotary = reader.within("rope_parameters");
    return new DecoderShape(
        reader.integer("vocab_size"),
        hidden,
        reader.integer("intermediate_size"),
        heads,
        reader.integer("num_key_value_heads", heads),
        reader.integer("head_dim", hidden / heads),
        reader.integer("num_hidden_layers"),
        rotary.number(ROPE_THETA, reader.number(ROPE_THETA, DEFAULT_THETA)),
        reader.number("rms_norm_eps", 1e-6),
        reader.scaling(),
        reader.window());
  }

  private void checkArchitecture() throws IOException {
    checkOneOf("model_type", MODEL_TYPES);
    checkOneOf("hidden_act", List.of("silu", "swish"));
    if (number("partial_rotary_factor", 1) != 1) {
      throw unsupported("partial_rotary_factor", "1");
    }
    if (isGiven("quantization_config")) {
      throw unsupported("quantization_config", "weights of F32, F16 or BF16");
    }
  }

  private void checkOneOf(String key, List<String> words) throws FormatException {
    if (isGiven(key)
        && !(config.get(key) instanceof JsonPrimitive word && words.contains(word.getAsString()))) {
      throw unsupported(key, String.join(" or ", words));
    }
  }

  private FormatException unsupported(String key, String expected) {
    return new FormatException(
        source,
        key + ": expected " + expected + ", got " + config.get(key) + ", which is not supported");
  }

  private RotaryScaling scaling() throws IOException {
    for (String key : List.of("rope_scaling", "rope_parameters")) {
      DecoderConfig rotary = within(key);
      String type = rotary.word("rope_type", rotary.word("type", "default"));
      switch (type) {
        case "default" -> {}
        case "linear" -> {
          return RotaryScaling.linear(rotary.number("factor"));
        }
        case "llama3" -> {
          return new RotaryScaling(
              rotary.number("factor"),
              rotary.number("low_freq_factor"),
              rotary.number("high_freq_factor"),
              rotary.number("original_max_position_embeddings"));
        }
        default -> throw unsupported(key, "default, linear or llama3");
      }
    }
    return RotaryScaling.NONE;
  }

  /** Positions that attention reaches back. */
  private int window() throws IOException {
    boolean used =
        !(config.get("use_sliding_window") instanceof JsonPrimitive flag && !flag.getAsBoolean());
    return used ? integer("sliding_window", DecoderShape.NO_WINDOW) : DecoderShape.NO_WINDOW;
  }

  /** An object within this one; empty where there is none. */
  private DecoderConfig within(String key) {
    JsonObject object = config.get(key) instanceof JsonObject given ? given : new JsonObject();
    return new DecoderConfig(source + ": " + key, object);
  }

  private String word(String key, String otherwise) {
    return config.get(key) instanceof JsonPrimitive word ? word.getAsString() : otherwise;
  }

  private int integer(String key) throws IOException {
    double value = number(key);
    if (value != (int) value || value < 1) {
      throw new FormatException(
          source, key + ": expected a whole number of at least 1, got " + value);
    }
    return (int) value;
  }

  private int integer(String key, int otherwise) throws IOException {
    return isGiven(key) ? integer(key) : otherwise;
  }

  /** A number, or a string that holds one. */
  private double number(String key) throws IOException {
    if (!isGiven(key)) {
      throw new FormatException(source, "expected the number " + key + ", found none");
    }
    try {
      return config.get(key).getAsDouble();
    } catch (NumberFormatException | UnsupportedOperationException | IllegalStateException e) {
      throw new FormatException(source, key + ": expected a number, got " + config.get(key));
    }
  }

  private double number(String key, double otherwise) throws IOException {
    return isGiven(key) ? number(key) : otherwise;
  }

  private boolean isGiven(String key) {
    JsonElement value = config.get(key);
    return value != null && !value.isJsonNull();
  }
}
