package org.quern.jmh;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SplittableRandom;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.quern.io.SafetensorsWriter;
import org.quern.prune.lm.LanguageModel;
import org.quern.tensor.Conversions;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * A decoder with blocks of the shape of TinyLlama (hidden 2048, MLP 5632, 32 heads of 64 on 4 heads
 * of keys), random weights, every other weight of each linear layer zero in expectation.
 */
@State(Scope.Benchmark)
public class DecoderState {
  static final int HIDDEN = 2048;
  static final int MLP = 5632;
  static final int KEYS = 4 * 64;
  static final int VOCABULARY = 2000;

  @Param("1")
  int layers;

  @Param("F32")
  DType type;

  @Param("1")
  int threads;

  /** The model, in its file. */
  LanguageModel model;

  private Path file;

  /** Writes the model. */
  @Setup
  public void prepare() throws IOException {
    file = Files.createTempFile("quern-decoder", ".safetensors");
    try (Arena arena = Arena.ofShared()) {
      SplittableRandom random = new SplittableRandom(1);
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("model.embed_tokens.weight", matrix(arena, random, VOCABULARY, HIDDEN, 1));
      for (int i = 0; i < layers; i++) {
        String prefix = "model.layers." + i + ".";
        put(arena, random, tensors, prefix + "self_attn.q_proj.weight", HIDDEN, HIDDEN);
        put(arena, random, tensors, prefix + "self_attn.k_proj.weight", KEYS, HIDDEN);
        put(arena, random, tensors, prefix + "self_attn.v_proj.weight", KEYS, HIDDEN);
        put(arena, random, tensors, prefix + "self_attn.o_proj.weight", HIDDEN, HIDDEN);
        put(arena, random, tensors, prefix + "mlp.gate_proj.weight", MLP, HIDDEN);
        put(arena, random, tensors, prefix + "mlp.up_proj.weight", MLP, HIDDEN);
        put(arena, random, tensors, prefix + "mlp.down_proj.weight", HIDDEN, MLP);
        tensors.put(prefix + "input_layernorm.weight", ones(arena));
        tensors.put(prefix + "post_attention_layernorm.weight", ones(arena));
      }
      tensors.put("model.norm.weight", ones(arena));
      tensors.put("lm_head.weight", matrix(arena, random, VOCABULARY, HIDDEN, 1));
      Map<String, String> dimensions = new LinkedHashMap<>();
      dimensions.put("vocab", Integer.toString(VOCABULARY));
      dimensions.put("hidden", Integer.toString(HIDDEN));
      dimensions.put("mlp", Integer.toString(MLP));
      dimensions.put("heads", "32");
      dimensions.put("kv_heads", "4");
      dimensions.put("layers", Integer.toString(layers));
      SafetensorsWriter.write(file, tensors, dimensions);
    }
    model = LanguageModel.open(file);
  }

  private void put(
      Arena arena,
      SplittableRandom random,
      Map<String, Tensor> tensors,
      String name,
      int rows,
      int columns) {
    tensors.put(name, matrix(arena, random, rows, columns, 0.5));
  }

  private Tensor ones(Arena arena) {
    Tensor ones = Tensor.allocate(arena, type, HIDDEN);
    ones.fill(1);
    return ones;
  }

  /** Uniform numbers, some zero, so scaled that products neither grow nor shrink. */
  private Tensor matrix(
      Arena arena, SplittableRandom random, int rows, int columns, double density) {
    Tensor matrix = Tensor.allocate(arena, type, rows, columns);
    float scale = (float) (2 * Math.sqrt(3 / (columns * density)));
    try (Arena own = Arena.ofConfined()) {
      Tensor row = Tensor.allocate(own, DType.F32, columns);
      for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
          boolean kept = density == 1 || random.nextDouble() < density;
          float value = kept ? scale * (random.nextFloat() - 0.5f) : 0;
          row.memory().setAtIndex(ValueLayout.JAVA_FLOAT, j, value);
        }
        long at = (long) i * columns * type.bytes();
        Conversions.fromFloat(row.memory(), 0, matrix.memory(), at, type, columns);
      }
    }
    return matrix;
  }

  /** Deletes the model. */
  @TearDown
  public void free() throws IOException {
    model.close();
    Files.delete(file);
  }
}
