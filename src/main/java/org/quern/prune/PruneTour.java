package org.quern.prune;

import java.util.List;
import org.quern.family.TourContext;
import org.quern.family.TourReport;

/** The part of the tour that prunes. */
final class PruneTour {
  PruneTour(TourContext context) {}

  TourReport run() {
    return new TourReport(List.of(), List.of());
  }
}
