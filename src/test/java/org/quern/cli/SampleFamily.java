package org.quern.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.quern.family.Chart;
import org.quern.family.Family;
import org.quern.family.Replay;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.family.TourRow;
import org.quern.runtime.Tier;

/**
 * A family for the tests of the doors. Its golden cases are files named {@code *.case} that hold
 * one number, the deviation; its tour passes where {@code sound} says so.
 */
final class SampleFamily implements Family {
  private final boolean sound;

  SampleFamily(boolean sound) {
    this.sound = sound;
  }

  @Override
  public String name() {
    return "sample";
  }

  @Override
  public String title() {
    return "compares numbers";
  }

  @Override
  public Set<Tier> tiers() {
    return EnumSet.of(Tier.SCALAR);
  }

  @Override
  public void replay(Replay replay) throws IOException {
    for (String file : replay.unclaimed()) {
      if (file.endsWith(".case")) {
        Path path = replay.claim(file);
        replay.record(
            file, "only", Double.parseDouble(Files.readString(path).strip()), 0.5, "units");
      }
    }
    replay.skip("the other half", "not recorded");
  }

  @Override
  public TourReport tour(TourContext context) {
    context.progress().report("grinding", 1, 1);
    Chart bars =
        new Chart(
            "Time <per> tier & size",
            Chart.Kind.BARS,
            "size",
            "milliseconds",
            false,
            List.of("small", "large"),
            List.of(
                new Chart.Series("loop", List.of(), List.of(4.0, 9.0)),
                new Chart.Series("scalar", List.of(), List.of(2.0, 3.5))));
    Chart lines =
        new Chart(
            "Loss",
            Chart.Kind.LINES,
            "step",
            "loss",
            true,
            List.of(),
            List.of(
                new Chart.Series(
                    "run", List.of(0.0, 1.0, 2.0, 4.0), List.of(8.0, 2.0, Double.NaN, 0.5))));
    Chart field =
        new Chart(
            "Field",
            Chart.Kind.FIELD,
            "<east>",
            "south",
            false,
            List.of(),
            List.of(
                new Chart.Series("", List.of(), List.of(1.0, -2.5)),
                new Chart.Series("", List.of(), List.of(0.0, 0.25))));
    return new TourReport(
        List.of(
            new TourRow(
                "sample",
                "a </script> job",
                context.tier(),
                0.0125,
                3.25,
                "plain loop",
                "error 0.1 of 0.5",
                sound),
            new TourRow(
                "sample", "a job alone", context.tier(), 2.5, Double.NaN, "", "equal", true)),
        List.of(bars, lines, field));
  }
}
