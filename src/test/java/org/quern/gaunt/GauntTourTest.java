package org.quern.gaunt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.quern.family.Chart;
import org.quern.family.TourContext;
import org.quern.family.TourReport;
import org.quern.family.TourRow;
import org.quern.runtime.Capabilities;

class GauntTourTest {
  @Test
  void everyJobPassesItsCheck() throws IOException {
    GauntFamily family = new GauntFamily();
    TourReport report =
        family.tour(
            new TourContext(
                Capabilities.get().choose(family.tiers(), null), 1, (what, done, all) -> {}));
    assertEquals(3, report.rows().size());
    for (TourRow row : report.rows()) {
      assertTrue(row.passed(), row.toString());
    }
    assertEquals(3, report.charts().stream().filter(c -> c.kind() == Chart.Kind.FIELD).count());
  }
}
