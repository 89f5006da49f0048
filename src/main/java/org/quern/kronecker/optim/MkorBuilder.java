package org.quern.kronecker.optim;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.IntFunction;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.jspecify.annotations.Nullable;
import org.quern.kronecker.Rescale;
import org.quern.kronecker.Storage;
import org.quern.kronecker.UpdateRule;
import org.quern.runtime.Capabilities;
import org.quern.runtime.Tier;

/**
 * Collects the settings of a {@link Mkor}. Each starts as the released program has it, unless told
 * otherwise; each is checked where it is set.
 */
public final class MkorBuilder {
  private static final Set<Tier> TIERS = Set.of(Tier.SCALAR, Tier.VECTOR);

  /** Factors up to this dimension keep every element by default. */
  static final int SMALL = 128;

  private UpdateRule rule = UpdateRule.CODE;
  private double gamma = 0.95;
  private long every = 10;
  private long warmup;
  private @Nullable RefreshSchedule schedule;
  private @Nullable IntFunction<Storage> storage;
  private long denseBudget = 2L << 30;
  private Rescale rescale = Rescale.SUM_OF_NORMS;
  private double clip = 100;
  private boolean applyFirst;
  private Stabilizer stabilizer = new Stabilizer();
  private boolean strict;
  private final List<Pattern> include = new ArrayList<>();
  private final List<Pattern> exclude = new ArrayList<>();
  private int threads = 1;
  private @Nullable Tier tier;
  private double damping;
  private double klClip;
  private BackEnd backEnd = new Sgd();
  private boolean decayBias = true;
  private @Nullable SwitchPolicy switchPolicy;
  private @Nullable VectorMean mean;
  private int microBatches = 1;
  private Accumulation accumulation = Accumulation.SUM;
  private boolean gradientMeans;
  private boolean cosine;

  MkorBuilder() {}

  /** How a vector changes a factor; {@link UpdateRule#CODE} by default. */
  public MkorBuilder rule(UpdateRule rule) {
    this.rule = rule;
    return this;
  }

  /** Momentum of the factors, in (0, 1]; 0.95 by default. */
  public MkorBuilder gamma(double gamma) {
    if (!(gamma > 0 && gamma <= 1)) {
      throw new IllegalArgumentException("gamma: expected in (0, 1], got " + gamma);
    }
    this.gamma = gamma;
    return this;
  }

  /** Steps from one refresh to the next, at least 1; 10 by default. */
  public MkorBuilder refreshEvery(long steps) {
    Ranges.atLeast("refreshEvery", steps, 1);
    this.every = steps;
    this.schedule = null;
    return this;
  }

  /** How many of the first steps refresh in any case; 0 by default. */
  public MkorBuilder warmup(long steps) {
    Ranges.atLeast("warmup", steps, 0);
    this.warmup = steps;
    this.schedule = null;
    return this;
  }

  /** Any schedule, in the place of {@link #refreshEvery} and {@link #warmup}. */
  public MkorBuilder refresh(RefreshSchedule schedule) {
    this.schedule = schedule;
    return this;
  }

  /** One storage for all factors. */
  public MkorBuilder storage(Storage storage) {
    return storage(d -> storage);
  }

  /**
   * A storage for each dimension. By default a factor of at most 128 keeps every element, where low
   * rank would save nothing, and a larger one starts with 32 columns and grows where an eigenvalue
   * above 0.1 would be dropped: P = L G R costs 8 k d_out d_in instead of 2 d_out d_in (d_out +
   * d_in) operations at every step, and memory grows with d instead of its square. Rules other than
   * {@link UpdateRule#CODE} have no low-rank form and keep every element.
   */
  public MkorBuilder storage(IntFunction<Storage> storage) {
    this.storage = storage;
    return this;
  }

  /**
   * Greatest number of bytes for all factors that keep every element; 2 GiB by default. A layer
   * that exceeds it is refused when it is added, before anything is allocated.
   */
  public MkorBuilder denseBudget(long bytes) {
    Ranges.atLeast("denseBudget", bytes, 0);
    this.denseBudget = bytes;
    return this;
  }

  /** How the length of P is restored; {@link Rescale#SUM_OF_NORMS} by default. */
  public MkorBuilder rescale(Rescale rescale) {
    this.rescale = rescale;
    return this;
  }

  /**
   * Greatest magnitude of an element of a vector, above 0, infinity for none; 100 by default. The
   * released program clips the rows of which the vectors are means; whoever computes the vectors
   * does that, see {@link Mkor#clip}. Here the bound that it implies is applied to the vectors.
   */
  public MkorBuilder clip(double clip) {
    if (!(clip > 0)) {
      throw new IllegalArgumentException("clip: expected above 0, got " + clip);
    }
    this.clip = clip;
    return this;
  }

  /**
   * Whether the first vectors of a layer are applied. By default they are not, as released: the
   * first refresh only sets the factors to I.
   */
  public MkorBuilder applyFirst(boolean applyFirst) {
    this.applyFirst = applyFirst;
    return this;
  }

  /** What happens when a factor grows. */
  public MkorBuilder stabilizer(Stabilizer stabilizer) {
    this.stabilizer = stabilizer;
    return this;
  }

  /**
   * Whether a vector with a NaN or an infinity is an {@link ArithmeticException} that names the
   * layer and the vector; by default it is skipped and counted.
   */
  public MkorBuilder strict(boolean strict) {
    this.strict = strict;
    return this;
  }

  /**
   * Layers to precondition: those in whose name a regular expression is found; all where none is
   * given.
   */
  public MkorBuilder include(String expression) {
    include.add(compile("include", expression));
    return this;
  }

  /** Layers to leave to the back end alone; wins over {@link #include}. */
  public MkorBuilder exclude(String expression) {
    exclude.add(compile("exclude", expression));
    return this;
  }

  private static Pattern compile(String argument, String expression) {
    try {
      return Pattern.compile(expression);
    } catch (PatternSyntaxException e) {
      throw new IllegalArgumentException(
          argument
              + ": expected a regular expression, got '"
              + expression
              + "': "
              + e.getDescription(),
          e);
    }
  }

  /** Most threads that work at a time, at least 1, the default; results do not depend on it. */
  public MkorBuilder threads(int threads) {
    Ranges.atLeast("threads", threads, 1);
    this.threads = threads;
    return this;
  }

  /** The tier to use; by default the best. */
  public MkorBuilder tier(@Nullable Tier tier) {
    this.tier = tier;
    return this;
  }

  /**
   * Share of the plain gradient in what the back end gets, {@code (1-damping) nu P + damping G}, in
   * [0, 1]; 0 by default.
   */
  public MkorBuilder damping(double damping) {
    Ranges.closed("damping", damping, 0, 1);
    this.damping = damping;
    return this;
  }

  /**
   * The clip of K-FAC: with kappa above 0 all preconditioned gradients of a step are multiplied by
   * {@code min(1, sqrt(kappa / sum lr^2 P.G))}, summed over the layers; 0, the default, for none.
   * Works with {@link Mkor#step(double)}, because the sum must be known before the first weight
   * moves, and costs a second sweep.
   */
  public MkorBuilder klClip(double kappa) {
    Ranges.notNegative("klClip", kappa);
    this.klClip = kappa;
    return this;
  }

  /** The first-order optimizer; plain descent by default. */
  public MkorBuilder backEnd(BackEnd backEnd) {
    this.backEnd = backEnd;
    return this;
  }

  /** Whether weight decay applies to biases, too; true by default. */
  public MkorBuilder decayBias(boolean decayBias) {
    this.decayBias = decayBias;
    return this;
  }

  /** When to go on with the back end alone; never by default. */
  public MkorBuilder switchPolicy(SwitchPolicy policy) {
    this.switchPolicy = policy;
    return this;
  }

  /** The exchange with other workers of a data-parallel run; none by default. */
  public MkorBuilder vectorMean(VectorMean mean) {
    this.mean = mean;
    return this;
  }

  /**
   * How vectors of several micro-batches become one; {@link Accumulation#SUM} by default.
   *
   * @param count micro-batches per step, at least 1
   * @param accumulation what the gradients of the micro-batches stand for
   */
  public MkorBuilder microBatches(int count, Accumulation accumulation) {
    Ranges.atLeast("microBatches", count, 1);
    this.microBatches = count;
    this.accumulation = accumulation;
    return this;
  }

  /**
   * Takes the vectors from the gradient itself, a = the mean of the rows of [dW | db] and g = the
   * mean of its columns, so that nothing is to be observed: an approximation that a variant of the
   * released program uses where it sees gradients only.
   */
  public MkorBuilder gradientMeans(boolean gradientMeans) {
    this.gradientMeans = gradientMeans;
    return this;
  }

  /** Whether {@link LayerStats#cosine} is measured, at the cost of a copy of G in the cache. */
  public MkorBuilder measureCosine(boolean cosine) {
    this.cosine = cosine;
    return this;
  }

  /**
   * An optimizer without layers.
   *
   * @throws IllegalStateException where the tier cannot run here
   */
  public Mkor build() {
    UpdateRule rule = this.rule;
    return new Mkor(
        new Settings(
            rule,
            gamma,
            schedule != null ? schedule : new RefreshSchedule.Periodic(every, warmup),
            storage != null ? storage : d -> defaultStorage(rule, d),
            denseBudget,
            rescale,
            (float) clip,
            applyFirst,
            stabilizer,
            strict,
            List.copyOf(include),
            List.copyOf(exclude),
            threads,
            Capabilities.get().choose(TIERS, tier),
            damping,
            klClip,
            backEnd,
            decayBias,
            switchPolicy,
            mean,
            microBatches,
            accumulation,
            gradientMeans,
            cosine));
  }

  private static Storage defaultStorage(UpdateRule rule, int d) {
    return d <= SMALL || rule != UpdateRule.CODE
        ? Storage.symmetricTiles()
        : Storage.lowRank(32, 0.1);
  }
}
