package org.quern.kronecker;

import java.io.IOException;
import java.util.Set;
import org.quern.family.Family;
import org.quern.family.Replay;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.runtime.Tier;

/** Kronecker-factored preconditioning, as the command line sees it. */
public final class KroneckerFamily implements Family {
  /** The family's word on the command line. */
  static final String NAME = "kronecker";

  /** For {@link java.util.ServiceLoader}. */
  public KroneckerFamily() {}

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public String title() {
    return "preconditions gradients by inverse Kronecker factors with rank-1 updates";
  }

  @Override
  public Set<Tier> tiers() {
    return InverseFactor.TIERS;
  }

  @Override
  public void replay(Replay replay) throws IOException {
    new KroneckerReplayer(replay).run();
  }

  @Override
  public TourReport tour(TourContext context) {
    return new KroneckerTour(context).run();
  }
}
