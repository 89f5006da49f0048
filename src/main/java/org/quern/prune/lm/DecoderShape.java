package org.quern.prune.lm;

import com.google.gson.JsonObject;
import com.google.gson.JsonPrimitive;
import java.io.IOException;
import java.util.Map;
import org.quern.io.FormatException;

/**
 * Dimensions of a LLaMA-style decoder.
 *
 * @param vocabulary number of token ids
 * @param hidden width of the residual stream
 * @param mlp width inside the gated MLP
 * @param heads query heads
 * @param kvHeads key and value heads; every {@code heads / kvHeads} query heads share one
 * @param headSize width of a head, even
 * @param layers decoder blocks
 * @param ropeTheta base of the rotary frequencies
 * @param rmsEpsilon added to the mean square before its root
 */
public record DecoderShape(
    int vocabulary,
    int hidden,
    int mlp,
    int heads,
    int kvHeads,
    int headSize,
    int layers,
    double ropeTheta,
    double rmsEpsilon) {
  private static final double DEFAULT_THETA = 10_000;

  /** Checks the dimensions. */
  public DecoderShape {
    atLeastOne("vocabulary", vocabulary);
    atLeastOne("hidden", hidden);
    atLeastOne("mlp", mlp);
    atLeastOne("heads", heads);
    atLeastOne("kvHeads", kvHeads);
    atLeastOne("layers", layers);
    if (heads % kvHeads != 0) {
      throw new IllegalArgumentException(
          "kvHeads: expected a divisor of " + heads + " heads, got " + kvHeads);
    }
    if (headSize < 2 || headSize % 2 != 0) {
      throw new IllegalArgumentException(
          "headSize: expected an even number of at least 2, got " + headSize);
    }
    if (!(ropeTheta > 0) || !(rmsEpsilon >= 0)) {
      throw new IllegalArgumentException(
          "expected ropeTheta > 0 and rmsEpsilon >= 0, got " + ropeTheta + " and " + rmsEpsilon);
    }
  }

  private static void atLeastOne(String name, int value) {
    if (value < 1) {
      throw new IllegalArgumentException(name + ": expected at least 1, got " + value);
    }
  }

  /** Width of the queries of all heads. */
  public int queryWidth() {
    return heads * headSize;
  }

  /** Width of the keys of all heads that have some, and of the values. */
  public int keyWidth() {
    return kvHeads * headSize;
  }

  /** Number of inputs of the linear layers that take {@code input}. */
  public int inputs(LinearInput input) {
    return switch (input) {
      case ATTENTION, MLP -> hidden;
      case ATTENTION_OUTPUT -> queryWidth();
      case MLP_OUTPUT -> mlp;
    };
  }

  /**
   * Number of outputs of a linear layer.
   *
   * @param linear a name within the block, such as {@code mlp.up_proj}
   */
  public int outputs(String linear) {
    return switch (linear) {
      case LinearInput.QUERY -> queryWidth();
      case LinearInput.KEY, LinearInput.VALUE -> keyWidth();
      case LinearInput.GATE, LinearInput.UP -> mlp;
      case LinearInput.OUTPUT, LinearInput.DOWN -> hidden;
      default ->
          throw new IllegalArgumentException(
              "linear: expected the name of a linear layer of a block, got " + linear);
    };
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
    Reader reader = new Reader(source, config);
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
        reader.number("rope_theta", DEFAULT_THETA),
        reader.number("rms_eps", 1e-5));
  }

  /**
   * The dimensions in a model's {@code config.json}.
   *
   * @param source how errors name the file
   */
  static DecoderShape ofConfig(String source, JsonObject config) throws IOException {
    Reader reader = new Reader(source, config);
    int hidden = reader.integer("hidden_size");
    int heads = reader.integer("num_attention_heads");
    return new DecoderShape(
        reader.integer("vocab_size"),
        hidden,
        reader.integer("intermediate_size"),
        heads,
        reader.integer("num_key_value_heads", heads),
        reader.integer("head_dim", hidden / heads),
        reader.integer("num_hidden_layers"),
        reader.number("rope_theta", DEFAULT_THETA),
        reader.number("rms_norm_eps", 1e-6));
  }

  /** Takes numbers, or strings that hold numbers, out of an object. */
  private record Reader(String source, JsonObject config) {
    int integer(String key) throws IOException {
      if (!config.has(key)) {
        throw new FormatException(source, "expected the dimension " + key + ", found none");
      }
      double value = number(key, 0);
      if (value != (int) value || value < 1) {
        throw new FormatException(
            source, key + ": expected a whole number of at least 1, got " + value);
      }
      return (int) value;
    }

    int integer(String key, int otherwise) throws IOException {
      return isGiven(key) ? integer(key) : otherwise;
    }

    double number(String key, double otherwise) throws IOException {
      if (!isGiven(key)) {
        return otherwise;
      }
      try {
        return config.get(key).getAsDouble();
      } catch (NumberFormatException | UnsupportedOperationException | IllegalStateException e) {
        throw new FormatException(source, key + ": expected a number, got " + config.get(key));
      }
    }

    private boolean isGiven(String key) {
      return config.get(key) instanceof JsonPrimitive;
    }
  }
}
