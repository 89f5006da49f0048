package org.quern.kronecker.optim;

import java.util.List;
import java.util.function.IntFunction;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.quern.kronecker.Rescale;
import org.quern.kronecker.Storage;
import org.quern.kronecker.UpdateRule;
import org.quern.runtime.Tier;

/** What {@link MkorBuilder} collects, checked; the meanings are told there. */
record Settings(
    UpdateRule rule,
    double gamma,
    RefreshSchedule schedule,
    IntFunction<Storage> storage,
    long denseBudget,
    Rescale rescale,
    float clip,
    boolean applyFirst,
    Stabilizer stabilizer,
    boolean strict,
    List<Pattern> include,
    List<Pattern> exclude,
    int threads,
    Tier tier,
    double damping,
    double klClip,
    BackEnd backEnd,
    boolean decayBias,
    @Nullable SwitchPolicy switchPolicy,
    @Nullable VectorMean mean,
    int microBatches,
    Accumulation accumulation,
    boolean gradientMeans,
    boolean cosine) {

  /** Whether a layer of this name is preconditioned; exclusion wins. */
  boolean isPreconditioned(String name) {
    return (include.isEmpty() || found(include, name)) && !found(exclude, name);
  }

  private static boolean found(List<Pattern> expressions, String name) {
    return expressions.stream().anyMatch(expression -> expression.matcher(name).find());
  }

  /** Whether the gradient must be at hand beside the row of P. */
  boolean keepsGradient() {
    return damping > 0 || klClip > 0 || cosine;
  }
}
