package org.quern.prune.lm;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.quern.io.SafetensorsWriter;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Writes reference models as files, and token ids as tensors. */
public final class ReferenceFiles {
  private ReferenceFiles() {}

  /** The dimensions as the metadata of a file. */
  public static Map<String, String> metadata(DecoderShape shape) {
    Map<String, String> metadata = new LinkedHashMap<>();
    metadata.put("vocab", String.valueOf(shape.vocabulary()));
    metadata.put("hidden", String.valueOf(shape.hidden()));
    metadata.put("mlp", String.valueOf(shape.mlp()));
    metadata.put("heads", String.valueOf(shape.heads()));
    metadata.put("kv_heads", String.valueOf(shape.kvHeads()));
    metadata.put("head_dim", String.valueOf(shape.headSize()));
    metadata.put("layers", String.valueOf(shape.layers()));
    metadata.put("rope_theta", String.valueOf(shape.ropeTheta()));
    metadata.put("rms_eps", String.valueOf(shape.rmsEpsilon()));
    return metadata;
  }

  /** Writes the weights in F32. */
  public static void write(Path file, ReferenceDecoder model, Map<String, String> metadata)
      throws IOException {
    write(file, model, metadata, DType.F32);
  }

  /** Writes the weights in a type. */
  public static void write(
      Path file, ReferenceDecoder model, Map<String, String> metadata, DType type)
      throws IOException {
    try (Arena arena = Arena.ofShared()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      model.tensors.forEach((name, values) -> {
        Tensor tensor = tensor(arena, values).to(type, arena);
        boolean vector = name.endsWith("norm.weight") || name.endsWith(".bias");
        tensors.put(name, vector ? tensor.row(0) : tensor);
      });
      SafetensorsWriter.write(file, tensors, metadata);
    }
  }

  /** Rows as an F32 matrix. */
  public static Tensor tensor(Arena arena, double[][] values) {
    Tensor tensor = Tensor.allocate(arena, DType.F32, values.length, values[0].length);
    for (int i = 0; i < values.length; i++) {
      for (int j = 0; j < values[i].length; j++) {
        tensor.setDouble(values[i][j], i, j);
      }
    }
    return tensor;
  }

  /** Random sequences of token ids. */
  public static int[][] tokens(int sequences, int length, int vocabulary, Random random) {
    int[][] tokens = new int[sequences][length];
    for (int[] sequence : tokens) {
      for (int t = 0; t < length; t++) {
        sequence[t] = random.nextInt(vocabulary);
      }
    }
    return tokens;
  }

  /** Token ids as a matrix of the type. */
  public static Tensor tensor(Arena arena, DType type, int[][] tokens) {
    Tensor tensor = Tensor.allocate(arena, type, tokens.length, tokens[0].length);
    for (int i = 0; i < tokens.length; i++) {
      for (int t = 0; t < tokens[i].length; t++) {
        tensor.setLong(tokens[i][t], i, t);
      }
    }
    return tensor;
  }
}
