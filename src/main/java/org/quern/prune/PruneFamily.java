package org.quern.prune;

import java.io.IOException;
import java.util.Set;
import java.util.stream.Stream;
import org.quern.family.Family;
import org.quern.family.Replay;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.runtime.Tier;

/** Pruning, as the command line sees it. */
public final class PruneFamily implements Family {
  /** The family's word on the command line. */
  static final String NAME = "prune";

  /** For {@link java.util.ServiceLoader}. */
  public PruneFamily() {}

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String title() {
    return "prunes linear layers by weight, activation and gradient scores";
  }

  @Override
  public Set<Tier> tiers() {
    return Pruner.TIERS;
  }

  @Override
  public void replay(Replay replay) throws IOException {
    new PruneReplayer(replay).run();
  }

  @Override
  public TourReport tour(TourContext context) throws IOException {
    TourReport model = new ModelTour(context).run();
    TourReport layer = new LayerTour(context).run();
    return new TourReport(
        Stream.concat(model.rows().stream(), layer.rows().stream()).toList(),
        model.tables(),
        Stream.concat(model.charts().stream(), layer.charts().stream()).toList());
  }
}
