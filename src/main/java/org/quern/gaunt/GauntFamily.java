package org.quern.gaunt;

import java.io.IOException;
import java.util.Set;
import java.util.stream.Stream;
import org.quern.family.Family;
import org.quern.family.Replay;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.runtime.Tier;

/** Equivariant products, as the command line sees them. */
public final class GauntFamily implements Family {
  /** The family's word on the command line. */
  static final String NAME = "gaunt";

  /** For {@link java.util.ServiceLoader}. */
  public GauntFamily() {}

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String title() {
    return "multiplies functions on the sphere: equivariant tensor products, convolutions, powers";
  }

  @Override
  public Set<Tier> tiers() {
    return GauntConvolution.TIERS;
  }

  @Override
  public void replay(Replay replay) throws IOException {
    new GauntReplayer(replay).run();
  }

  @Override
  public TourReport tour(TourContext context) throws IOException {
    TourReport sphere = new SphereTour(context).run();
    TourReport field = new ForceFieldTour(context).run();
    return new TourReport(
        Stream.concat(sphere.rows().stream(), field.rows().stream()).toList(),
        Stream.concat(sphere.charts().stream(), field.charts().stream()).toList());
  }
}
