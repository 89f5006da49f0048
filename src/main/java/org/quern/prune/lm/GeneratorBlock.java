package org.quern.prune.lm;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import org.quern.prune.sparse.Linear;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/** One block of a {@link Generator}: its layers, and keys and values of the positions so far. */
final class GeneratorBlock {
  final MemorySegment attentionNorm;
  final Linear query;
  final Linear key;
  final Linear value;
  final Linear output;
  final MemorySegment mlpNorm;
  final Linear gate;
  final Linear up;
  final Linear down;

  /** Rotated keys, [positions, keyWidth]. */
  final Tensor keys;

  /** Values, [positions, keyWidth]. */
  final Tensor values;

  GeneratorBlock(Arena arena, LanguageModel model, LinearLoader loader, int block, int positions)
      throws IOException {
    attentionNorm = model.loadNorm(arena, block, DecoderBlock.ATTENTION_NORM).memory();
    query = loader.load(block, LinearInput.QUERY);
    key = loader.load(block, LinearInput.KEY);
    value = loader.load(block, LinearInput.VALUE);
    output = loader.load(block, LinearInput.OUTPUT);
    mlpNorm = model.loadNorm(arena, block, DecoderBlock.MLP_NORM).memory();
    gate = loader.load(block, LinearInput.GATE);
    up = loader.load(block, LinearInput.UP);
    down = loader.load(block, LinearInput.DOWN);
    int width = model.shape().keyWidth();
    keys = Tensor.allocate(arena, DType.F32, positions, width);
    values = Tensor.allocate(arena, DType.F32, positions, width);
  }
}
