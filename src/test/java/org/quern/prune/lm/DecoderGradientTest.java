package org.quern.prune.lm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.quern.io.SafetensorsFile;
import org.quern.linalg.Gemm;
import org.quern.prune.Compat;
import org.quern.prune.GradientNorm;
import org.quern.prune.GradientStatistics;
import org.quern.prune.PruneFamily;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * The backward pass against differences of the loss in binary64, and against recorded gradients.
 */
class DecoderGradientTest {
  @TempDir Path directory;

  /** Own keys, shared keys, one key for all; odd widths; one head only. */
  static Stream<DecoderShape> shapes() {
    return Stream.of(
        new DecoderShape(5, 3, 4, 1, 1, 2, 1, 10_000, 1e-5),
        new DecoderShape(7, 10, 13, 4, 2, 6, 2, 10_000, 1e-5),
        new DecoderShape(9, 8, 12, 2, 2, 4, 2, 500_000, 1e-6),
        new DecoderShape(6, 7, 9, 3, 1, 4, 2, 100, 1e-3));
  }

  private static List<Tier> tiers() {
    return Stream.of(Tier.SCALAR, Tier.VECTOR)
        .filter(Capabilities.get().available()::contains)
        .toList();
  }

  private LanguageModel load(ReferenceDecoder reference, Arena arena) throws IOException {
    Path file = directory.resolve("model.safetensors");
    ReferenceFiles.write(file, reference, ReferenceFiles.metadata(reference.shape));
    return LanguageModel.load(file, arena);
  }

  /**
   * What a backward pass over whole sequences gives.
   *
   * @param losses of the sequences
   * @param weights gradient of each sequence's loss by layer, [sequences][outputs * inputs]
   * @param stream gradient of the vectors of the tokens
   */
  private record Gradients(double[] losses, Map<String, float[][]> weights, float[] stream) {}

  private static Gradients backward(
      Decoder decoder, LanguageModel model, Tensor tokens, Arena arena) throws IOException {
    int layers = model.shape().layers();
    Tensor[] streams = new Tensor[layers + 1];
    streams[0] = model.embed(arena, tokens);
    for (int block = 0; block < layers; block++) {
      streams[block + 1] = streams[block].to(DType.F32, arena);
      decoder.forwardBlock(model.loadBlock(arena, block), streams[block + 1]);
    }
    Tensor gradient = streams[layers];
    double[] losses = decoder.lossGradient(model.loadOutput(arena), gradient, tokens);
    Map<String, float[][]> weights = new LinkedHashMap<>();
    int sequences = (int) tokens.dim(0);
    Gemm product = Gemm.create(arena, 1);
    for (int block = layers - 1; block >= 0; block--) {
      int[] seen = new int[1];
      String prefix = "layers." + block + ".";
      decoder.backwardBlock(
          model.loadBlock(arena, block),
          streams[block],
          gradient,
          (linear, inputs, deltas) -> {
            float[][] all = weights.computeIfAbsent(prefix + linear, key -> new float[sequences][]);
            int first = linear.equals("mlp.down_proj") ? seen[0] : seen[0] - (int) inputs.dim(0);
            for (int s = 0; s < inputs.dim(0); s++) {
              all[first + s] = product(product, inputs, deltas, s);
            }
            seen[0] = first + (int) inputs.dim(0);
          });
    }
    return new Gradients(losses, weights, gradient.toFloatArray());
  }

  /** delta^T x of one sequence. */
  private static float[] product(Gemm product, Tensor x, Tensor delta, long sequence) {
    long length = x.dim(1);
    try (Arena arena = Arena.ofConfined()) {
      Tensor gradient = Tensor.allocate(arena, DType.F32, delta.dim(2), x.dim(2));
      Tensor of = delta.rows(sequence * length, (sequence + 1) * length);
      Tensor by = x.rows(sequence * length, (sequence + 1) * length);
      product.multiply(true, false, 1, of, by, 0, gradient);
      return gradient.toFloatArray();
    }
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void gradientsAreSlopesOfTheLoss(DecoderShape shape) throws IOException {
    Random random = new Random(23);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, random);
    for (int length : new int[] {2, 5}) {
      int[][] ids = ReferenceFiles.tokens(2, length, shape.vocabulary(), random);
      for (Tier tier : tiers()) {
        try (Arena arena = Arena.ofShared();
            Decoder decoder = new Decoder(shape, 1, tier)) {
          LanguageModel model = load(reference, arena);
          Tensor tokens = ReferenceFiles.tensor(arena, DType.I32, ids);
          Gradients got = backward(decoder, model, tokens, arena);
          String where = tier + " length " + length + " ";
          for (int s = 0; s < ids.length; s++) {
            assertEquals(reference.loss(ids[s]), got.losses[s], 1e-5, where);
            for (String linear : reference.linears()) {
              String name = "model." + linear + ".weight";
              compare(reference, name, ids[s], got.weights.get(linear)[s], where + linear);
            }
            compareEmbedding(reference, ids[s], got.stream, s, where + "embedding");
          }
        }
      }
    }
  }

  private static void compare(
      ReferenceDecoder reference, String name, int[] ids, float[] got, String where) {
    double[][] matrix = reference.tensors.get(name);
    double[] wanted = new double[got.length];
    Arrays.setAll(
        wanted, i -> reference.slope(name, i / matrix[0].length, i % matrix[0].length, ids));
    assertNear(wanted, got, where);
  }

  /** Every position adds to the row of its token. */
  private static void compareEmbedding(
      ReferenceDecoder reference, int[] ids, float[] stream, int sequence, String where) {
    int width = reference.shape.hidden();
    for (int token : ids) {
      float[] got = new float[width];
      double[] wanted = new double[width];
      for (int j = 0; j < width; j++) {
        wanted[j] = reference.slope("model.embed_tokens.weight", token, j, ids);
        for (int t = 0; t < ids.length; t++) {
          got[j] += ids[t] == token ? stream[(sequence * ids.length + t) * width + j] : 0;
        }
      }
      assertNear(wanted, got, where);
    }
  }

  private static void assertNear(double[] wanted, float[] got, String where) {
    double largest = Arrays.stream(wanted).map(Math::abs).max().orElseThrow();
    for (int i = 0; i < got.length; i++) {
      assertEquals(wanted[i], got[i], 2e-4 * largest + 1e-6, where + " " + i);
    }
  }

  @Test
  void oneTokenHasAGradientThroughABlock() throws IOException {
    DecoderShape shape = new DecoderShape(5, 6, 8, 2, 1, 4, 1, 10_000, 1e-5);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, new Random(3));
    try (Arena arena = Arena.ofShared();
        Decoder decoder = new Decoder(shape, 1)) {
      LanguageModel model = load(reference, arena);
      Tensor hidden = model.embed(arena, Tensor.copyOf(arena, new int[] {2}, 1, 1));
      // The loss is the first element of the stream behind the block.
      Tensor gradient = Tensor.allocate(arena, DType.F32, 1, 1, 6);
      gradient.setDouble(1, 0, 0, 0);
      Map<String, Tensor> seen = new LinkedHashMap<>();
      decoder.backwardBlock(
          model.loadBlock(arena, 0),
          hidden,
          gradient,
          (linear, x, delta) -> seen.put(linear, delta.to(DType.F32, arena)));
      assertEquals(7, seen.size());
      // A single position attends to itself, whatever its query.
      for (float query : seen.get("self_attn.q_proj").toFloatArray()) {
        assertEquals(0, query, 1e-7);
      }
      double[][] stream = {hidden.toDoubleArray()};
      double[] got = gradient.toDoubleArray();
      for (int j = 0; j < 6; j++) {
        double step = 1e-5;
        double kept = stream[0][j];
        stream[0][j] = kept + step;
        double above = reference.block(0, stream, new LinkedHashMap<>())[0][0];
        stream[0][j] = kept - step;
        double below = reference.block(0, stream, new LinkedHashMap<>())[0][0];
        stream[0][j] = kept;
        assertEquals((above - below) / (2 * step), got[j], 1e-4);
      }
    }
  }

  @Test
  void positionsBeyondOneTileCount() throws IOException {
    // Attention goes through 128 positions at a time.
    DecoderShape shape = new DecoderShape(9, 8, 6, 2, 1, 4, 1, 10_000, 1e-5);
    Random random = new Random(77);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, random);
    int[][] ids = ReferenceFiles.tokens(1, 131, shape.vocabulary(), random);
    try (Arena arena = Arena.ofShared();
        Decoder decoder = new Decoder(shape, 1)) {
      Tensor tokens = ReferenceFiles.tensor(arena, DType.I32, ids);
      Gradients got = backward(decoder, load(reference, arena), tokens, arena);
      for (String linear : List.of("layers.0.self_attn.k_proj", "layers.0.self_attn.v_proj")) {
        float[] all = got.weights.get(linear)[0];
        compare(reference, "model." + linear + ".weight", ids[0], all, linear);
      }
    }
  }

  @Test
  void threadsAndCutsDoNotChangeTheBits() throws IOException {
    DecoderShape shape = new DecoderShape(31, 32, 40, 6, 3, 8, 2, 500_000, 1e-6);
    Random random = new Random(8);
    try (Arena arena = Arena.ofShared()) {
      LanguageModel model = load(ReferenceDecoder.random(shape, true, random), arena);
      // More sequences than one chunk holds.
      int[][] ids = ReferenceFiles.tokens(110, 21, shape.vocabulary(), random);
      Gradients first = run(model, ids, 1, arena);
      for (int threads = 2; threads <= 3; threads++) {
        Gradients other = run(model, ids, threads, arena);
        assertArrayEquals(first.losses, other.losses);
        assertArrayEquals(first.stream, other.stream);
        first.weights.forEach((name, all) -> assertArrayEquals(all, other.weights.get(name)));
      }
      Gradients some = run(model, Arrays.copyOfRange(ids, 100, 103), 1, arena);
      for (int s = 0; s < 3; s++) {
        int sequence = s;
        assertEquals(first.losses[100 + s], some.losses[s]);
        first.weights.forEach((name, all) ->
            assertArrayEquals(all[100 + sequence], some.weights.get(name)[sequence]));
      }
    }
  }

  private static Gradients run(LanguageModel model, int[][] ids, int threads, Arena arena)
      throws IOException {
    try (Decoder decoder = new Decoder(model.shape(), threads)) {
      return backward(decoder, model, ReferenceFiles.tensor(arena, DType.I32, ids), arena);
    }
  }

  @Test
  void statisticsOfATrainedModelAreThoseOfThePublishedProgram() throws IOException {
    Path file = directory.resolve("tour-model.safetensors");
    try (InputStream resource = PruneFamily.class.getResourceAsStream("tour-model.safetensors")) {
      Files.copy(resource, file);
    }
    try (Arena arena = Arena.ofShared();
        SafetensorsFile recorded = SafetensorsFile.open(file)) {
      LanguageModel model = LanguageModel.load(file, arena);
      Tensor tokens = recorded.load("calib_ids", arena);
      Gradients got;
      try (Decoder decoder = new Decoder(model.shape(), 2)) {
        got = backward(decoder, model, tokens, arena);
      }
      int layer = 0;
      for (String linear : model.linears()) {
        // Seven layers in a block: each has the other norm in the next block.
        GradientNorm norm = layer++ % 2 == 0 ? GradientNorm.L1 : GradientNorm.L2;
        long[] shape = model.weights(linear).shape();
        GradientStatistics statistics =
            GradientStatistics.builder(shape[0], shape[1])
                .norms(norm)
                .compat(Compat.OFFICIAL)
                .build(arena);
        for (float[] gradient : got.weights.get(linear)) {
          statistics.add(Tensor.copyOf(arena, gradient, shape));
        }
        String key = linear + (norm == GradientNorm.L1 ? ".grad_l1" : ".grad_l2");
        float[] wanted = recorded.load(key, arena).toFloatArray();
        float[] sums = statistics.statistic(arena, DType.F16).toFloatArray();
        for (int i = 0; i < sums.length; i++) {
          // Rounding to F16, at every sample in the sum of l1.
          assertEquals(wanted[i], sums[i], 4e-3 * wanted[i] + 1e-6, key + " " + i);
        }
      }
    }
  }

  @Test
  void rejectsWhatDoesNotFit() throws IOException {
    DecoderShape shape = new DecoderShape(5, 4, 4, 1, 1, 2, 1, 10_000, 1e-5);
    try (Arena arena = Arena.ofShared();
        Decoder decoder = new Decoder(shape, 1)) {
      LanguageModel model = load(ReferenceDecoder.random(shape, false, new Random(2)), arena);
      OutputLayer output = model.loadOutput(arena);
      DecoderBlock block = model.loadBlock(arena, 0);
      Tensor hidden = Tensor.allocate(arena, DType.F32, 2, 3, 4);
      assertFails(
          "tokens: expected integers [sequences, length], length at least 2",
          () -> decoder.lossGradient(output, hidden, Tensor.allocate(arena, DType.I32, 2, 1)));
      assertFails(
          "tokens: expected the sequences and the length of hidden",
          () -> decoder.lossGradient(output, hidden, Tensor.allocate(arena, DType.I32, 1, 3)));
      Tensor outside = Tensor.allocate(arena, DType.I32, 2, 3);
      outside.setLong(-1, 1, 2);
      assertFails(
          "tokens: expected ids below 5, got -1 in sequence 1 at position 2",
          () -> decoder.lossGradient(output, hidden, outside));
      assertFails(
          "gradient: expected the shape of hidden",
          () ->
              decoder.backwardBlock(
                  block,
                  hidden,
                  Tensor.allocate(arena, DType.F32, 2, 2, 4),
                  (linear, x, delta) -> {}));
    }
  }

  private static void assertFails(String part, org.junit.jupiter.api.function.Executable body) {
    IllegalArgumentException error = assertThrows(IllegalArgumentException.class, body);
    assertTrue(String.valueOf(error.getMessage()).contains(part), error.getMessage());
  }
}
