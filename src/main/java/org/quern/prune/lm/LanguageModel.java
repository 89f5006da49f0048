package org.quern.prune.lm;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.quern.io.Checkpoint;
import org.quern.io.FormatException;
import org.quern.io.Json;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The weights of a LLaMA-style decoder in F32, under the tensor names that Hugging Face gives them.
 * Linear weights are [outputs, inputs]. The tensors may be changed in place, as pruning does; then
 * no {@link Decoder} may be running.
 */
public final class LanguageModel {
  private static final String PREFIX = "model.";
  private static final String EMBEDDING = "model.embed_tokens.weight";
  private static final String NORM = "model.norm.weight";
  private static final String HEAD = "lm_head.weight";

  private final DecoderShape shape;
  private final Map<String, Tensor> tensors;

  private LanguageModel(DecoderShape shape, Map<String, Tensor> tensors) {
    this.shape = shape;
    this.tensors = tensors;
  }

  /**
   * Loads a model. The dimensions come from the metadata of its first file, or from the {@code
   * config.json} beside it. Tensors that the decoder does not need are left alone.
   *
   * @param path a safetensors file, an index of shards, or the directory that holds either
   * @param arena gives the memory
   * @throws FormatException where the dimensions or a tensor are missing or do not fit
   */
  public static LanguageModel load(Path path, Arena arena) throws IOException {
    try (Checkpoint checkpoint = Checkpoint.open(path)) {
      DecoderShape shape = shape(path, checkpoint);
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (Map.Entry<String, long[]> each : expected(shape).entrySet()) {
        String name = each.getKey();
        if (name.equals(HEAD) && !checkpoint.names().contains(HEAD)) {
          continue; // Tied to the embedding.
        }
        Tensor tensor = checkpoint.load(name, arena);
        if (!Arrays.equals(tensor.shape(), each.getValue())) {
          throw new FormatException(
              path.toString(),
              name + ": expected shape " + Arrays.toString(each.getValue()) + ", got " + tensor);
        }
        tensors.put(name, tensor.type() == DType.F32 ? tensor : tensor.to(DType.F32, arena));
      }
      return new LanguageModel(shape, tensors);
    }
  }

  private static DecoderShape shape(Path path, Checkpoint checkpoint) throws IOException {
    Map<String, String> metadata = checkpoint.shards().getFirst().metadata();
    if (DecoderShape.isIn(metadata)) {
      return DecoderShape.ofMetadata(path.toString(), metadata);
    }
    Path config =
        Files.isDirectory(path)
            ? path.resolve("config.json")
            : path.toAbsolutePath().resolveSibling("config.json");
    if (!Files.isRegularFile(config)) {
      throw new FormatException(
          path.toString(),
          "expected the dimensions of the decoder in the metadata or in config.json beside it");
    }
    return DecoderShape.ofConfig(config.toString(), Json.readObject(config));
  }

  private static Map<String, long[]> expected(DecoderShape shape) {
    long hidden = shape.hidden();
    long queries = (long) shape.heads() * shape.headSize();
    long keys = (long) shape.kvHeads() * shape.headSize();
    Map<String, long[]> expected = new LinkedHashMap<>();
    expected.put(EMBEDDING, new long[] {shape.vocabulary(), hidden});
    for (int block = 0; block < shape.layers(); block++) {
      String prefix = PREFIX + "layers." + block + ".";
      expected.put(prefix + "self_attn.q_proj.weight", new long[] {queries, hidden});
      expected.put(prefix + "self_attn.k_proj.weight", new long[] {keys, hidden});
      expected.put(prefix + "self_attn.v_proj.weight", new long[] {keys, hidden});
      expected.put(prefix + "self_attn.o_proj.weight", new long[] {hidden, queries});
      expected.put(prefix + "mlp.gate_proj.weight", new long[] {shape.mlp(), hidden});
      expected.put(prefix + "mlp.up_proj.weight", new long[] {shape.mlp(), hidden});
      expected.put(prefix + "mlp.down_proj.weight", new long[] {hidden, shape.mlp()});
      expected.put(prefix + "input_layernorm.weight", new long[] {hidden});
      expected.put(prefix + "post_attention_layernorm.weight", new long[] {hidden});
    }
    expected.put(NORM, new long[] {hidden});
    expected.put(HEAD, new long[] {shape.vocabulary(), hidden});
    return expected;
  }

  /** A model with weights of its own. */
  public LanguageModel copy(Arena arena) {
    Map<String, Tensor> copies = new LinkedHashMap<>();
    tensors.forEach((name, tensor) -> copies.put(name, tensor.to(DType.F32, arena)));
    return new LanguageModel(shape, copies);
  }

  /** The dimensions. */
  public DecoderShape shape() {
    return shape;
  }

  /**
   * Names of the prunable linear layers in the order of the blocks, such as {@code
   * layers.0.mlp.up_proj}.
   */
  public List<String> linears() {
    List<String> names = new ArrayList<>();
    for (int block = 0; block < shape.layers(); block++) {
      for (LinearInput input : LinearInput.values()) {
        for (String linear : input.linears()) {
          names.add(linear(block, linear));
        }
      }
    }
    return names;
  }

  /** The name among all linear layers of one of a block. */
  static String linear(int block, String linear) {
    return "layers." + block + "." + linear;
  }

  /**
   * The weights of a linear layer, F32 [outputs, inputs].
   *
   * @param linear a name out of {@link #linears}
   */
  public Tensor weights(String linear) {
    return tensor(PREFIX + linear + ".weight");
  }

  /** A tensor of a block by its name within it. */
  Tensor ofBlock(int block, String name) {
    return tensor(PREFIX + "layers." + block + "." + name + ".weight");
  }

  /** Row t is the vector of token t, [vocabulary, hidden]. */
  Tensor embedding() {
    return tensor(EMBEDDING);
  }

  /** Gain of the last norm, [hidden]. */
  Tensor norm() {
    return tensor(NORM);
  }

  /** The output layer, [vocabulary, hidden]; the embedding where both are tied. */
  Tensor head() {
    return tensors.containsKey(HEAD) ? tensor(HEAD) : embedding();
  }

  private Tensor tensor(String name) {
    Tensor tensor = tensors.get(name);
    if (tensor == null) {
      throw new IllegalArgumentException("expected one of " + tensors.keySet() + ", got " + name);
    }
    return tensor;
  }
}
