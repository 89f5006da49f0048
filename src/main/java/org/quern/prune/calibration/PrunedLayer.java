package org.quern.prune.calibration;

import org.jspecify.annotations.Nullable;
import org.quern.prune.Method;
import org.quern.prune.Pattern;
import org.quern.prune.lm.LanguageModel;
import org.quern.tensor.Tensor;

/**
 * What became of one layer of a model.
 *
 * @param name name out of {@link LanguageModel#linears}
 * @param method the score
 * @param pattern what was selected
 * @param zerosBefore zeros of either sign before
 * @param zerosAfter zeros of either sign after
 * @param seconds time from the statistics to the new weights
 * @param meanSquares the activation statistic of its inputs, F32 [inputs]; null where none was
 *     taken
 */
public record PrunedLayer(
    String name,
    Method method,
    Pattern pattern,
    long zerosBefore,
    long zerosAfter,
    double seconds,
    @Nullable Tensor meanSquares) {}
