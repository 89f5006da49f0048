package org.quern.prune.calibration;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.quern.prune.Method;
import org.quern.prune.Pattern;
import org.quern.prune.Pruner;
import org.quern.prune.lm.DecoderShape;
import org.quern.prune.lm.LanguageModel;
import org.quern.prune.lm.ReferenceDecoder;
import org.quern.prune.lm.ReferenceFiles;
import org.quern.runtime.Progress;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** The cases of the replay check the order of calibration; here is what remains. */
class ModelPrunerTest {
  private static final DecoderShape SHAPE = new DecoderShape(17, 16, 24, 4, 2, 4, 2, 10_000, 1e-5);

  @TempDir Path directory;

  private LanguageModel model(Arena arena) throws IOException {
    Path file = directory.resolve("model.safetensors");
    ReferenceDecoder reference = ReferenceDecoder.random(SHAPE, false, new Random(1));
    ReferenceFiles.write(file, reference, ReferenceFiles.metadata(SHAPE));
    return LanguageModel.load(file, arena);
  }

  private static Tensor tokens(Arena arena) {
    int[][] ids = ReferenceFiles.tokens(9, 11, SHAPE.vocabulary(), new Random(4));
    return ReferenceFiles.tensor(arena, DType.U8, ids);
  }

  private static Pruner pruner(Method method) {
    return Pruner.builder().method(method).pattern(Pattern.nm(1, 4)).build();
  }

  @Test
  void prunesEveryLinearAndNothingElse() throws IOException {
    try (Arena arena = Arena.ofShared()) {
      LanguageModel dense = model(arena);
      LanguageModel pruned = dense.copy(arena);
      List<Long> steps = new ArrayList<>();
      Progress progress = (step, done, total) -> steps.add(done);
      List<PrunedLayer> layers =
          new ModelPruner(pruner(Method.WANDA), Reconstruction.NONE, 2, progress)
              .prune(arena, pruned, tokens(arena), Map.of());
      // Nine sequences are seen by both blocks, and pass the first.
      assertEquals(List.of(0L, 9L, 18L, 27L), steps);
      assertEquals(dense.linears(), layers.stream().map(PrunedLayer::name).toList());
      for (PrunedLayer layer : layers) {
        Tensor weights = pruned.weights(layer.name());
        long zeros = 0;
        for (float weight : weights.toFloatArray()) {
          zeros += weight == 0 ? 1 : 0;
        }
        assertEquals(weights.size() / 4, layer.zerosAfter());
        assertEquals(layer.zerosAfter(), zeros);
        assertNotNull(layer.meanSquares());
      }
      Tensor head = dense.loadOutput(arena).head();
      assertEquals(-1, head.memory().mismatch(pruned.loadOutput(arena).head().memory()));
      Tensor ids = tokens(arena);
      assertEquals(
          -1, dense.embed(arena, ids).memory().mismatch(pruned.embed(arena, ids).memory()));
    }
  }

  @Test
  void magnitudeNeedsNoSequences() throws IOException {
    try (Arena arena = Arena.ofShared()) {
      Tensor none = Tensor.allocate(arena, DType.U8, 0, 11);
      List<PrunedLayer> layers =
          new ModelPruner(pruner(Method.MAGNITUDE), Reconstruction.NONE, 1, Progress.NONE)
              .prune(arena, model(arena), none, Map.of());
      layers.forEach(layer -> assertNull(layer.meanSquares()));
    }
  }

  @Test
  void saysWhatIsMissing() throws IOException {
    try (Arena arena = Arena.ofShared()) {
      Tensor none = Tensor.allocate(arena, DType.U8, 0, 11);
      ModelPruner wanda =
          new ModelPruner(pruner(Method.WANDA), Reconstruction.NONE, 1, Progress.NONE);
      LanguageModel model = model(arena);
      assertThrows(IllegalStateException.class, () -> wanda.prune(arena, model, none, Map.of()));
      ModelPruner gradient =
          new ModelPruner(pruner(Method.GRADIENT), Reconstruction.NONE, 1, Progress.NONE);
      IllegalArgumentException error =
          assertThrows(
              IllegalArgumentException.class, () -> gradient.prune(arena, model, none, Map.of()));
      assertTrue(error.getMessage().startsWith("layers.0.self_attn.q_proj"), error.getMessage());
    }
  }
}
