package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.IntUnaryOperator;
import java.util.stream.Collectors;
import org.quern.family.Chart;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.family.TourRow;
import org.quern.runtime.Parallel;
import org.quern.runtime.Tier;

/**
 * Trains the same small network with every {@link Contender} and shows the loss against steps and
 * against seconds. The learning rate of each is the one of a common grid with the lowest loss at
 * the end of the same number of steps; the run with it is then repeated alone, to be timed.
 *
 * <p>Checked are that repetitions have the same losses bit for bit, that the first steps agree with
 * the scalar tier, and that MKOR reaches the loss at which descent ends in fewer steps.
 */
final class KroneckerTour {
  /** Half decades. */
  private static final double[] RATES = {3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3};

  private static final int STEPS = 300;

  /** The scalar tier is there to be read, not to be waited for. */
  private static final int SCALAR_STEPS = 40;

  /** Steps over whose batches a loss is averaged, where it is shown or compared. */
  private static final int WINDOW = 20;

  /** Steps that are compared with the scalar tier: two updates of the factors are among them. */
  private static final int ORACLE_STEPS = 25;

  /** Relative; both tiers round to F32, in another order. */
  private static final double TOLERANCE = 1e-4;

  private static final int POINTS = 60;
  private static final String STEP = "training a classifier of images";

  private static final int REPEATS = 3;
  private static final int CONTENDERS = Contender.values().length;
  private static final int UNITS = CONTENDERS * (RATES.length + 1 + REPEATS);

  private final TourContext context;
  private final int steps;
  private final AtomicInteger done = new AtomicInteger();

  KroneckerTour(TourContext context) {
    this.context = context;
    this.steps = context.tier() == Tier.SCALAR ? SCALAR_STEPS : STEPS;
  }

  /**
   * A contender at its best rate.
   *
   * @param result losses, and of each step the shortest time of all repetitions
   * @param repeated whether all repetitions had the losses of the search
   * @param deviation greatest relative deviation of a loss from the scalar tier
   */
  private record Entry(
      Contender contender,
      double rate,
      TrainingRun.Result result,
      boolean repeated,
      double deviation) {}

  TourReport run() {
    try (Arena arena = Arena.ofShared()) {
      TrainingRun.Images images = TrainingRun.Images.draw(arena);
      TrainingRun.Result[] search = new TrainingRun.Result[CONTENDERS * RATES.length];
      train(images, search, steps, context.tier(), k -> k / RATES.length, k -> k % RATES.length);
      int[] best = new int[CONTENDERS];
      Arrays.setAll(best, contender -> best(search, contender));
      TrainingRun.Result[] oracles = new TrainingRun.Result[CONTENDERS];
      train(images, oracles, ORACLE_STEPS, Tier.SCALAR, k -> k, k -> best[k]);
      List<Entry> entries = new ArrayList<>();
      for (Contender contender : Contender.values()) {
        int k = contender.ordinal();
        TrainingRun.Result found = search[k * RATES.length + best[k]];
        entries.add(repeat(images, contender, RATES[best[k]], found, oracles[k]));
      }
      Entry descent = entries.get(Contender.SGD.ordinal());
      return new TourReport(
          entries.stream().map(entry -> row(entry, descent)).toList(),
          List.of(bySteps(entries), bySeconds(entries)));
    }
  }

  /** Runs side by side, each on one thread. */
  private void train(
      TrainingRun.Images images,
      TrainingRun.Result[] results,
      int count,
      Tier tier,
      IntUnaryOperator contender,
      IntUnaryOperator rate) {
    Parallel.forRanges(
        results.length,
        1,
        context.threads(),
        (from, to, worker) -> {
          int k = (int) from;
          results[k] =
              TrainingRun.train(
                  images,
                  Contender.values()[contender.applyAsInt(k)],
                  RATES[rate.applyAsInt(k)],
                  count,
                  tier);
          context.progress().report(STEP, done.incrementAndGet(), UNITS);
        });
  }

  private int best(TrainingRun.Result[] search, int contender) {
    int best = 0;
    for (int k = 1; k < RATES.length; k++) {
      int from = contender * RATES.length;
      best = end(search[from + k]) < end(search[from + best]) ? k : best;
    }
    return best;
  }

  /** Trains again, alone on the machine, to be timed. */
  private Entry repeat(
      TrainingRun.Images images,
      Contender contender,
      double rate,
      TrainingRun.Result found,
      TrainingRun.Result oracle) {
    double[] seconds = new double[steps];
    Arrays.fill(seconds, Double.POSITIVE_INFINITY);
    boolean repeated = true;
    for (int repeat = 0; repeat < REPEATS; repeat++) {
      TrainingRun.Result again = TrainingRun.train(images, contender, rate, steps, context.tier());
      repeated &= again.repeats(found);
      Arrays.setAll(seconds, step -> Math.min(seconds[step], again.seconds(step)));
      context.progress().report(STEP, done.incrementAndGet(), UNITS);
    }
    double deviation = 0;
    for (int step = 0; step < ORACLE_STEPS; step++) {
      double wanted = oracle.loss(step);
      double difference = Math.abs(found.loss(step) - wanted) / wanted;
      // A NaN is kept.
      deviation = difference <= deviation ? deviation : difference;
    }
    TrainingRun.Result timed = found.timed(seconds);
    return new Entry(contender, rate, timed, repeated, deviation);
  }

  /** The loss at which a run ends. */
  private double end(TrainingRun.Result result) {
    return result.smoothed(steps - 1, WINDOW);
  }

  /** The first step whose loss is not above a target; the number of steps where there is none. */
  private int reaches(TrainingRun.Result result, double target) {
    int step = WINDOW - 1;
    while (step < steps && !(result.smoothed(step, WINDOW) <= target)) {
      step++;
    }
    return step;
  }

  private TourRow row(Entry entry, Entry descent) {
    TrainingRun.Result result = entry.result();
    boolean plain = entry.contender() == Contender.SGD;
    int reached = reaches(result, end(descent.result()));
    boolean reaches = reached < steps;
    boolean sound =
        entry.repeated()
            && entry.deviation() <= TOLERANCE
            && end(result) < result.loss(0)
            && (!entry.contender().isMkor() || reached < steps - 1);
    String widths =
        Arrays.stream(TrainingRun.WIDTHS)
            .mapToObj(Integer::toString)
            .collect(Collectors.joining("-"));
    String job =
        String.format(
            Locale.ROOT,
            "%s classifier by %s at rate %s, one step; loss %.3f -> %.3f in %d steps",
            widths,
            entry.contender().label,
            entry.rate(),
            result.loss(0),
            end(result),
            steps);
    String check =
        String.format(
            Locale.ROOT,
            "%s%.0f %% of unseen images right; %s; losses within %.0e of the scalar tier",
            plain
                ? ""
                : reaches
                    ? "SGD's last loss at step " + (reached + 1) + "; "
                    : "SGD's last loss not reached; ",
            100 * result.accuracy(),
            entry.repeated() ? "repeats bit for bit" : "a repetition differs",
            entry.deviation());
    double whole = descent.result().secondsUntil(steps - 1);
    return new TourRow(
        KroneckerFamily.NAME,
        job,
        context.tier(),
        result.secondsUntil(steps - 1) / steps,
        plain || !reaches ? Double.NaN : whole / result.secondsUntil(reached),
        plain || !reaches ? "" : "time of SGD at rate " + descent.rate() + " to its last loss",
        check,
        sound);
  }

  private Chart bySteps(List<Entry> entries) {
    return chart(
        "Training loss against steps, rates tuned alike",
        "steps",
        entries.stream().map(entry -> series(entry, false)).toList());
  }

  private Chart bySeconds(List<Entry> entries) {
    return chart(
        "Training loss against time, one thread",
        "seconds",
        entries.stream().map(entry -> series(entry, true)).toList());
  }

  private static Chart chart(String title, String xLabel, List<Chart.Series> series) {
    String yLabel = "cross entropy, mean of " + WINDOW + " batches";
    return new Chart(title, Chart.Kind.LINES, xLabel, yLabel, true, List.of(), series);
  }

  private Chart.Series series(Entry entry, boolean seconds) {
    List<Double> x = new ArrayList<>();
    List<Double> y = new ArrayList<>();
    int stride = Math.max(1, steps / POINTS);
    for (int step = stride - 1; step < steps; step += stride) {
      x.add(seconds ? entry.result().secondsUntil(step) : step + 1.0);
      y.add(entry.result().smoothed(step, WINDOW));
    }
    return new Chart.Series(entry.contender().label, x, y);
  }
}
