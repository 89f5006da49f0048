package org.quern.kronecker;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.atomic.AtomicInteger;
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
 * <p>Checked are that the repetition has the same losses bit for bit, that the first steps agree
 * with the scalar tier, and that MKOR reaches the loss at which descent ends in fewer steps.
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

  private final TourContext context;
  private final int steps;

  KroneckerTour(TourContext context) {
    this.context = context;
    this.steps = context.tier() == Tier.SCALAR ? SCALAR_STEPS : STEPS;
  }

  /** A contender with its best rate, timed. */
  private record Entry(
      Contender contender,
      double rate,
      TrainingRun.Result result,
      boolean repeated,
      double deviation) {}

  TourReport run() {
    try (Arena arena = Arena.ofShared()) {
      TrainingRun.Images images = TrainingRun.Images.draw(arena);
      TrainingRun.Result[][] search = search(images);
      List<Entry> entries = new ArrayList<>();
      for (Contender contender : Contender.values()) {
        entries.add(repeat(images, contender, search[contender.ordinal()]));
      }
      Entry descent = entries.get(Contender.SGD.ordinal());
      return new TourReport(
          entries.stream().map(entry -> row(entry, descent)).toList(),
          List.of(bySteps(entries), bySeconds(entries)));
    }
  }

  /** All contenders at all rates, each run on one thread. */
  private TrainingRun.Result[][] search(TrainingRun.Images images) {
    int runs = Contender.values().length * RATES.length;
    TrainingRun.Result[][] results =
        new TrainingRun.Result[Contender.values().length][RATES.length];
    AtomicInteger done = new AtomicInteger();
    context.progress().report(STEP, 0, runs);
    Parallel.forRanges(
        runs,
        1,
        context.threads(),
        (run, end, worker) -> {
          int contender = (int) run / RATES.length;
          int rate = (int) run % RATES.length;
          results[contender][rate] =
              TrainingRun.train(
                  images, Contender.values()[contender], RATES[rate], steps, context.tier());
          context.progress().report(STEP, done.incrementAndGet(), runs);
        });
    return results;
  }

  private Entry repeat(
      TrainingRun.Images images, Contender contender, TrainingRun.Result[] search) {
    int best = 0;
    for (int k = 1; k < RATES.length; k++) {
      best = end(search[k]) < end(search[best]) ? k : best;
    }
    TrainingRun.Result again =
        TrainingRun.train(images, contender, RATES[best], steps, context.tier());
    double[] oracle =
        TrainingRun.train(images, contender, RATES[best], ORACLE_STEPS, Tier.SCALAR).losses();
    double deviation = 0;
    for (int k = 0; k < ORACLE_STEPS; k++) {
      double difference = Math.abs(again.losses()[k] - oracle[k]) / oracle[k];
      deviation = difference <= deviation ? deviation : difference;
    }
    return new Entry(
        contender,
        RATES[best],
        again,
        Arrays.equals(again.losses(), search[best].losses()),
        deviation);
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
    double target = end(descent.result());
    int reached = reaches(result, target);
    boolean reaches = reached < steps;
    boolean sound =
        entry.repeated() && entry.deviation() <= TOLERANCE && !(end(result) >= result.losses()[0]);
    String job =
        String.format(
            Locale.ROOT,
            "%s classifier by %s, rate %s, a step; loss %.3f -> %.3f in %d steps",
            Arrays.stream(TrainingRun.WIDTHS)
                .mapToObj(Integer::toString)
                .collect(Collectors.joining("-")),
            entry.contender().label,
            entry.rate(),
            result.losses()[0],
            end(result),
            steps);
    String check =
        String.format(
            Locale.ROOT,
            "%s; %.0f %% of unseen images right; %s; scalar tier within %.1e",
            reaches
                ? "SGD's last loss after " + (reached + 1) + " steps"
                : "SGD's last loss not reached",
            100 * result.accuracy(),
            entry.repeated() ? "repeats bit for bit" : "a repetition differs",
            entry.deviation());
    boolean plain = entry.contender() == Contender.SGD;
    return new TourRow(
        "kronecker",
        job,
        context.tier(),
        median(result.seconds()),
        plain || !reaches
            ? Double.NaN
            : descent.result().secondsUntil(steps - 1) / result.secondsUntil(reached),
        plain || !reaches ? "" : "SGD, rate " + descent.rate() + ", time to its last loss",
        check,
        sound && (!entry.contender().isMkor() || (reaches && reached < steps - 1)));
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
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
