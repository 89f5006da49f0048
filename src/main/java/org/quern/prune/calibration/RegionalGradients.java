package org.quern.prune.calibration;

import static java.lang.foreign.ValueLayout.JAVA_FLOAT;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import org.quern.prune.Compat;
import org.quern.prune.GradientNorm;
import org.quern.prune.GradientProduct;
import org.quern.prune.GradientScale;
import org.quern.prune.GradientStatistics;
import org.quern.prune.lm.Decoder;
import org.quern.prune.lm.DecoderBlock;
import org.quern.tensor.DType;
import org.quern.tensor.Tensor;

/**
 * Gradients of one block by itself: of the norm {@code ||y||} of its outputs for every sequence,
 * which needs no pass through the rest of the model. Their statistic is the root of the mean over
 * the sequences of the squares (Yang et al., "Wanda++", arXiv 2503.04992).
 */
final class RegionalGradients {
  private RegionalGradients() {}

  /**
   * The statistics of all linear layers of a block, by their names in the model.
   *
   * @param arena gives the memory of the sums
   * @param stream the residual stream in front of the block, which is left as it is
   * @param work advances by the sequences once
   */
  static Map<String, GradientStatistics> of(
      Arena arena, DecoderBlock block, ResidualStream stream, int threads, Work work)
      throws IOException {
    Map<String, GradientStatistics> statistics =
        DenseGradients.statistics(
            arena, block, GradientNorm.L2, GradientScale.perMean(1), Compat.EXACT, threads);
    GradientProduct product = GradientProduct.create(arena, threads);
    Decoder decoder = stream.decoder();
    stream.forSlices(
        work,
        (from, to) -> {
          Tensor input = ResidualStream.slice(stream.hidden(), from, to);
          try (Arena own = Arena.ofShared()) {
            Tensor output = Tensor.allocate(own, DType.F32, input.shape());
            output.memory().copyFrom(input.memory());
            decoder.forwardBlock(block, output);
            for (long sequence = 0; sequence < to - from; sequence++) {
              normalize(ResidualStream.slice(output, sequence, sequence + 1).memory());
            }
            decoder.backwardBlock(
                block,
                input,
                output,
                (linear, inputs, deltas) ->
                    product.add(
                        DenseGradients.statistic(statistics, block.index(), linear),
                        deltas,
                        inputs));
          }
        });
    return statistics;
  }

  /** y / ||y||, the gradient of ||y||; of y = 0, 0. */
  private static void normalize(MemorySegment y) {
    double squares = 0;
    for (long at = 0; at < y.byteSize(); at += Float.BYTES) {
      double value = y.get(JAVA_FLOAT, at);
      squares += value * value;
    }
    float scale = squares == 0 ? 0 : (float) (1 / Math.sqrt(squares));
    for (long at = 0; at < y.byteSize(); at += Float.BYTES) {
      y.set(JAVA_FLOAT, at, scale * y.get(JAVA_FLOAT, at));
    }
  }
}
