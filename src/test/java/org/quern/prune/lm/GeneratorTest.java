package org.quern.prune.lm;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** Token by token, a generator gives the scores of the whole sequence. */
class GeneratorTest {
  private static final double TOLERANCE = 2e-4;

  @TempDir Path directory;

  private LanguageModel open(ReferenceDecoder reference) throws IOException {
    Path file = directory.resolve("model.safetensors");
    ReferenceFiles.write(file, reference, ReferenceFiles.metadata(reference.shape));
    return LanguageModel.open(file);
  }

  static Stream<DecoderShape> shapes() {
    return Stream.of(
        new DecoderShape(5, 3, 4, 1, 1, 2, 1, 10_000, 1e-5),
        new DecoderShape(17, 20, 28, 4, 2, 6, 2, 10_000, 1e-5),
        new DecoderShape(11, 24, 33, 4, 1, 10, 3, 100, 1e-3));
  }

  private static void assertScores(double[] wanted, Tensor got, String where) {
    for (int v = 0; v < wanted.length; v++) {
      assertEquals(wanted[v], got.getDouble(v), TOLERANCE, where + " token " + v);
    }
  }

  @ParameterizedTest
  @MethodSource("shapes")
  void scoresAreThoseOfTheWholeSequence(DecoderShape shape) throws IOException {
    Random random = new Random(12);
    for (boolean tied : new boolean[] {false, true}) {
      ReferenceDecoder reference = ReferenceDecoder.random(shape, tied, random);
      int[] tokens = ReferenceFiles.tokens(1, 23, shape.vocabulary(), random)[0];
      double[][] wanted = reference.logits(tokens);
      for (Tier tier : Generator.TIERS) {
        if (Capabilities.get().available().contains(tier)) {
          try (LanguageModel model = open(reference);
              Generator generator = Generator.create(model, false, 23, 2, tier)) {
            for (int prompt : new int[] {1, 7, 23}) {
              generator.reset();
              Tensor scores = generator.accept(Arrays.copyOf(tokens, prompt));
              assertScores(wanted[prompt - 1], scores, tier + " behind " + prompt);
              for (int t = prompt; t < tokens.length; t++) {
                assertScores(wanted[t], generator.accept(tokens[t]), tier + " position " + t);
              }
              assertEquals(23, generator.position());
            }
          }
        }
      }
    }
  }

  @Test
  void aPromptLongerThanOneChunkGoesThroughInParts() throws IOException {
    DecoderShape shape = new DecoderShape(9, 8, 6, 2, 1, 4, 2, 10_000, 1e-5);
    Random random = new Random(5);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, random);
    int[] tokens = ReferenceFiles.tokens(1, 263, shape.vocabulary(), random)[0];
    try (LanguageModel model = open(reference);
        Generator generator = Generator.create(model, false, 300, 1, null)) {
      assertScores(reference.logits(tokens)[262], generator.accept(tokens), "behind 263");
    }
  }

  @Test
  void takesTheBestTokenWhateverTheThreads() throws IOException {
    DecoderShape shape = new DecoderShape(31, 32, 40, 6, 3, 8, 2, 500_000, 1e-6);
    Random random = new Random(6);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, random);
    int[] prompt = {3, 1, 4};
    int[] first = new int[0];
    for (int threads = 1; threads <= 3; threads++) {
      try (LanguageModel model = open(reference);
          Generator generator = Generator.create(model, false, 40, threads, null)) {
        int[] added = generator.generate(prompt, 30);
        first = threads == 1 ? added : first;
        assertArrayEquals(first, added);
      }
    }
    int[] all = Arrays.copyOf(prompt, 33);
    System.arraycopy(first, 0, all, 3, 30);
    double[][] scores = reference.logits(all);
    for (int i = 0; i < 30; i++) {
      double best = Arrays.stream(scores[i + 2]).max().orElseThrow();
      assertEquals(best, scores[i + 2][first[i]], TOLERANCE, "token " + i);
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"1010", "1100", "0111 0001"})
  void packedLayersGiveTheSameScores(String mask) throws IOException {
    String kept = mask.replace(" ", ""); // The last one has half of its ones, but is not 2:4.
    DecoderShape shape = new DecoderShape(31, 64, 80, 4, 2, 16, 2, 10_000, 1e-5);
    Random random = new Random(9);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, random);
    for (String linear : reference.linears()) {
      for (double[] row : reference.weights(linear)) {
        for (int j = 0; j < row.length; j++) {
          // One layer of the last block keeps its weights.
          boolean pruned =
              kept.charAt(j % kept.length()) == '0' && !linear.equals("layers.1.mlp.up_proj");
          row[j] = pruned ? 0 : row[j];
        }
      }
    }
    int[] tokens = ReferenceFiles.tokens(1, 20, shape.vocabulary(), random)[0];
    double[][] wanted = reference.logits(tokens);
    try (LanguageModel model = open(reference);
        Generator dense = Generator.create(model, false, 20, 1, null);
        Generator generator = Generator.create(model, true, 20, 1, null)) {
      assertEquals(0, dense.packedLayers());
      assertEquals(13, generator.packedLayers());
      assertTrue(generator.weightBytes() < 0.7 * dense.weightBytes());
      assertScores(wanted[11], generator.accept(Arrays.copyOf(tokens, 12)), "behind 12");
      for (int t = 12; t < tokens.length; t++) {
        assertScores(wanted[t], generator.accept(tokens[t]), "position " + t);
      }
    }
  }

  @Test
  void rejectsWhatItCannotTake() throws IOException {
    DecoderShape shape = new DecoderShape(5, 4, 4, 1, 1, 2, 1, 10_000, 1e-5);
    try (Arena arena = Arena.ofShared();
        LanguageModel opened = open(ReferenceDecoder.random(shape, false, new Random(2)));
        LanguageModel model = opened.copy(arena);
        Generator generator = Generator.create(model, false, 3, 1, null)) {
      assertFails("tokens: expected at least one, got none", generator::accept);
      assertFails(
          "tokens: expected ids below 5, got 5 in sequence 0 at position 1",
          () -> generator.accept(0, 5));
      assertEquals(0, generator.position());
      generator.accept(1, 2);
      assertFails("tokens: expected at most 3 in all, got 2 after 2", () -> generator.accept(1, 2));
      model.loadOutput(arena).head().fill(Double.NaN);
      assertThrows(IllegalStateException.class, () -> generator.generate(new int[] {1}, 1));
    }
  }

  private static void assertFails(String message, org.junit.jupiter.api.function.Executable body) {
    IllegalArgumentException error = assertThrows(IllegalArgumentException.class, body);
    assertEquals(message, error.getMessage());
  }

  @Test
  void weightsOfSixteenBitsStayOfSixteenBits() throws IOException {
    DecoderShape shape = new DecoderShape(17, 20, 28, 4, 2, 6, 2, 10_000, 1e-5);
    ReferenceDecoder reference = ReferenceDecoder.random(shape, false, new Random(4));
    int[] tokens = {1, 5, 16, 3};
    long[] bytes = new long[2];
    for (DType type : new DType[] {DType.F32, DType.BF16}) {
      // Weights that both types hold exactly.
      reference.tensors.values().forEach(GeneratorTest::roundToBfloat);
      Path file = directory.resolve(type + ".safetensors");
      ReferenceFiles.write(file, reference, ReferenceFiles.metadata(shape), type);
      double[][] wanted = reference.logits(tokens);
      try (LanguageModel model = LanguageModel.open(file);
          Generator generator = Generator.create(model, true, 4, 1, null)) {
        assertScores(wanted[3], generator.accept(tokens), type.toString());
        bytes[type == DType.F32 ? 0 : 1] = generator.weightBytes();
      }
    }
    assertEquals(bytes[0], 2 * bytes[1]);
  }

  private static void roundToBfloat(double[][] matrix) {
    for (double[] row : matrix) {
      for (int j = 0; j < row.length; j++) {
        int bits = Float.floatToRawIntBits((float) row[j]);
        row[j] = Float.intBitsToFloat(bits & 0xffff0000);
      }
    }
  }
}
