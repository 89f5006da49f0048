package org.quern.prune.lm;

import java.io.Closeable;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.quern.io.Checkpoint;
import org.quern.io.FormatException;
import org.quern.io.Json;
import org.quern.io.SafetensorsEntry;
import org.quern.io.SafetensorsFile;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A LLaMA-style decoder under the tensor names that Hugging Face gives its weights. It is either
 * {@linkplain #open opened}, and then its weights stay in the files and are read one block at a
 * time, or {@linkplain #load loaded} into memory. Both are used in the same way:
 *
 * <pre>{@code
 * try (LanguageModel model = LanguageModel.open(path);
 *     Decoder decoder = new Decoder(model.shape(), threads)) {
 *   Tensor hidden = model.embed(arena, tokens);
 *   for (int i = 0; i < model.shape().layers(); i++) {
 *     try (Arena own = Arena.ofShared()) {
 *       decoder.forwardBlock(model.loadBlock(own, i), hidden);
 *     }
 *   }
 * }
 * }</pre>
 *
 * <p>Files hold F32, F16 or BF16; weights in memory are F32, and linear weights [outputs, inputs].
 */
public final class LanguageModel implements Closeable {
  private static final String PREFIX = "model.";
  private static final String LAYERS = PREFIX + "layers.";
  private static final String EMBEDDING = "model.embed_tokens.weight";
  private static final String NORM = "model.norm.weight";
  private static final String HEAD = "lm_head.weight";

  /** A table of frequencies that old checkpoints store and that follows from their dimensions. */
  private static final String FREQUENCIES = "rotary_emb.inv_freq";

  private final DecoderShape shape;

  /** Where the weights are; null where all are in memory. */
  private final @Nullable Checkpoint files;

  /** Shapes of all tensors by name, biases and head only where the model has them. */
  private final Map<String, long[]> shapes;

  /** The weights in memory; empty where they are in files. */
  private final Map<String, Tensor> resident;

  private LanguageModel(
      DecoderShape shape,
      @Nullable Checkpoint files,
      Map<String, long[]> shapes,
      Map<String, Tensor> resident) {
    this.shape = shape;
    this.files = files;
    this.shapes = shapes;
    this.resident = resident;
  }

  /**
   * Opens a model and leaves its weights in the files. The dimensions come from the metadata of its
   * first file, or from the {@code config.json} beside it.
   *
   * @param path a safetensors file, an index of shards, or the directory that holds either
   * @throws FormatException where the dimensions or a tensor are missing or do not fit, or the
   *     model has parts that this decoder does not compute
   */
  public static LanguageModel open(Path path) throws IOException {
    Checkpoint files = Checkpoint.open(path);
    try {
      DecoderShape shape = shape(path, files);
      return new LanguageModel(shape, files, shapes(path, shape, files), Map.of());
    } catch (IOException | RuntimeException e) {
      files.close();
      throw e;
    }
  }

  /**
   * Loads all weights of a model into memory. {@link #loadBlock} then gives the weights themselves,
   * so that what is changed in them is changed in the model.
   *
   * @param path as for {@link #open}
   * @param arena gives the memory
   * @throws FormatException as for {@link #open}
   */
  public static LanguageModel load(Path path, Arena arena) throws IOException {
    try (LanguageModel model = open(path)) {
      return model.copy(arena);
    }
  }

  private static DecoderShape shape(Path path, Checkpoint files) throws IOException {
    Map<String, String> metadata = files.shards().getFirst().metadata();
    if (DecoderConfig.isIn(metadata)) {
      return DecoderConfig.ofMetadata(path.toString(), metadata);
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
    return DecoderConfig.ofJson(config.toString(), Json.readObject(config));
  }

  /** The tensors of the model, each found in the files with the shape and a type that it needs. */
  private static Map<String, long[]> shapes(Path path, DecoderShape shape, Checkpoint files)
      throws IOException {
    Map<String, long[]> shapes = new LinkedHashMap<>();
    shapes.put(EMBEDDING, new long[] {shape.vocabulary(), shape.hidden()});
    for (int block = 0; block < shape.layers(); block++) {
      String prefix = LAYERS + block + ".";
      for (LinearInput input : LinearInput.values()) {
        for (String linear : input.linears()) {
          long outputs = shape.outputs(linear);
          shapes.put(
              prefix + linear + DecoderBlock.WEIGHT, new long[] {outputs, shape.inputs(input)});
          if (files.names().contains(prefix + linear + DecoderBlock.BIAS)) {
            shapes.put(prefix + linear + DecoderBlock.BIAS, new long[] {outputs});
          }
        }
      }
      for (String norm : List.of(DecoderBlock.ATTENTION_NORM, DecoderBlock.MLP_NORM)) {
        shapes.put(prefix + norm + DecoderBlock.WEIGHT, new long[] {shape.hidden()});
      }
    }
    shapes.put(NORM, new long[] {shape.hidden()});
    if (files.names().contains(HEAD)) {
      shapes.put(HEAD, new long[] {shape.vocabulary(), shape.hidden()});
    }
    for (Map.Entry<String, long[]> tensor : shapes.entrySet()) {
      checkStored(files.shardOf(tensor.getKey()), tensor.getKey(), tensor.getValue());
    }
    for (String name : files.names()) {
      if (name.startsWith(LAYERS) && !shapes.containsKey(name) && !name.endsWith(FREQUENCIES)) {
        throw new FormatException(
            path.toString(),
            "expected the tensors of "
                + shape.layers()
                + " LLaMA blocks, got "
                + name
                + ", of which this decoder knows no use");
      }
    }
    return shapes;
  }

  private static void checkStored(SafetensorsFile file, String name, long[] shape)
      throws FormatException {
    file.requireShape(name, shape);
    DType type = file.entry(name).type().type();
    if (type == null || !type.isFloating()) {
      throw new FormatException(
          file.path().toString(),
          name + ": expected F32, F16 or BF16, got " + file.entry(name).type());
    }
  }

  /** A model in memory with weights of its own. */
  public LanguageModel copy(Arena arena) throws IOException {
    Map<String, Tensor> copies = new LinkedHashMap<>();
    for (String name : shapes.keySet()) {
      Tensor tensor = tensor(arena, name);
      copies.put(name, files == null ? tensor.to(DType.F32, arena) : tensor);
    }
    return new LanguageModel(shape, null, shapes, copies);
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

  /**
   * The name among all linear layers of one of a block.
   *
   * @param block number of the block, from 0
   * @param linear its name within the block, such as {@code mlp.up_proj}
   */
  public static String linear(int block, String linear) {
    return "layers." + block + "." + linear;
  }

  /**
   * The weights of a linear layer of a model in memory, F32 [outputs, inputs].
   *
   * @param linear a name out of {@link #linears}
   */
  public Tensor weights(String linear) {
    Tensor weights = resident.get(PREFIX + linear + DecoderBlock.WEIGHT);
    if (weights == null) {
      throw new IllegalArgumentException(
          files == null
              ? "linear: expected one of " + linears() + ", got " + linear
              : "linear: expected a model in memory, got one in files; load the block instead");
    }
    return weights;
  }

  /**
   * The weights of one block: a copy in F32, or the weights themselves where the model is in
   * memory.
   *
   * @param arena gives the memory of a copy; shared where the {@link Decoder} has threads
   * @param block number of the block, from 0
   */
  public DecoderBlock loadBlock(Arena arena, int block) throws IOException {
    if (block < 0 || block >= shape.layers()) {
      throw new IllegalArgumentException(
          "block: expected 0 to " + (shape.layers() - 1) + ", got " + block);
    }
    String prefix = LAYERS + block + ".";
    Map<String, Tensor> tensors = new LinkedHashMap<>();
    for (String name : shapes.keySet()) {
      if (name.startsWith(prefix)) {
        tensors.put(name.substring(prefix.length()), tensor(arena, name));
      }
    }
    return new DecoderBlock(block, tensors);
  }

  /** The last norm and the output layer, as {@link #loadBlock} gives a block. */
  public OutputLayer loadOutput(Arena arena) throws IOException {
    return new OutputLayer(loadNorm(arena), tensor(arena, head()));
  }

  /**
   * The vectors of the tokens, where the residual stream starts. Reads only their rows of the
   * embedding.
   *
   * @param tokens token ids, an integer type, [sequences, length]
   * @return F32 [sequences, length, hidden] in {@code arena}
   * @throws IllegalArgumentException where an id is not in the vocabulary
   */
  public Tensor embed(Arena arena, Tensor tokens) throws IOException {
    TokenIds.check(tokens, 0);
    long length = tokens.dim(1);
    Tensor hidden = Tensor.allocate(arena, DType.F32, tokens.dim(0), length, shape.hidden());
    try (Arena own = Arena.ofConfined()) {
      Embedding embedding = embedding(own);
      for (long i = 0; i < tokens.size(); i++) {
        int id = TokenIds.at(tokens, i / length, i % length, shape.vocabulary());
        embedding.copy(id, hidden.memory(), i);
      }
    }
    return hidden;
  }

  /** The vectors of all tokens, which stay where they are; open as long as {@code arena}. */
  Embedding embedding(Arena arena) throws IOException {
    if (files == null) {
      return new Embedding(resident(EMBEDDING).memory(), DType.F32, shape.hidden());
    }
    SafetensorsFile file = files.shardOf(EMBEDDING);
    DType type = floating(file.entry(EMBEDDING));
    return new Embedding(file.map(EMBEDDING, arena), type, shape.hidden());
  }

  /** The weights of a linear layer in the type that they are stored in. */
  Tensor storedWeights(Arena arena, int block, String linear) throws IOException {
    return stored(arena, PREFIX + linear(block, linear) + DecoderBlock.WEIGHT);
  }

  /** What a linear layer adds, F32, or null where it adds nothing. */
  @Nullable Tensor loadBias(Arena arena, int block, String linear) throws IOException {
    String name = PREFIX + linear(block, linear) + DecoderBlock.BIAS;
    return shapes.containsKey(name) ? tensor(arena, name) : null;
  }

  /** Gain of a norm of a block, F32. */
  Tensor loadNorm(Arena arena, int block, String norm) throws IOException {
    return tensor(arena, LAYERS + block + "." + norm + DecoderBlock.WEIGHT);
  }

  /** Gain of the norm behind the last block, F32. */
  Tensor loadNorm(Arena arena) throws IOException {
    return tensor(arena, NORM);
  }

  /** The output layer in the type that it is stored in. */
  Tensor storedHead(Arena arena) throws IOException {
    return stored(arena, head());
  }

  private String head() {
    return shapes.containsKey(HEAD) ? HEAD : EMBEDDING;
  }

  private static DType floating(SafetensorsEntry entry) {
    DType type = entry.type().type();
    if (type == null) {
      throw new AssertionError(entry.name()); // Checked when the model was opened.
    }
    return type;
  }

  private Tensor resident(String name) {
    Tensor tensor = resident.get(name);
    if (tensor == null) {
      throw new AssertionError(name); // Every tensor of shapes is in memory.
    }
    return tensor;
  }

  private Tensor stored(Arena arena, String name) throws IOException {
    return files == null ? resident(name) : files.load(name, arena);
  }

  private Tensor tensor(Arena arena, String name) throws IOException {
    if (files == null || floating(files.shardOf(name).entry(name)) == DType.F32) {
      return stored(arena, name);
    }
    try (Arena own = Arena.ofConfined()) {
      return stored(own, name).to(DType.F32, arena);
    }
  }

  /** Closes the files, where the weights are in files. */
  @Override
  public void close() throws IOException {
    if (files != null) {
      files.close();
    }
  }
}
