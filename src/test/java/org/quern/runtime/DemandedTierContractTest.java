package org.quern.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.EnumSet;
import org.junit.jupiter.api.Test;

/**
 * Holds the JVM to the tier that a test run demands by {@code -Dquern.test.demand}, and to the
 * reason by {@code -Dquern.test.reason}, so that a silent fallback fails the run. Without a demand
 * the choice must follow from what was found.
 */
class DemandedTierContractTest {
  private final Capabilities capabilities = Capabilities.get();
  private final TierStatus vector = capabilities.status(Tier.VECTOR);

  @Test
  void demandedTierIsChosen() {
    String demand =
        System.getProperty("quern.test.demand", vector.available() ? "vector" : "scalar");
    assertEquals(
        Tier.ofLabel(demand),
        capabilities.choose(EnumSet.of(Tier.SCALAR, Tier.VECTOR), null),
        vector.reason());
  }

  @Test
  void vectorTierStatesTheDemandedReason() {
    String reason = System.getProperty("quern.test.reason", "");
    assertFalse(vector.reason().isBlank());
    assertTrue(
        vector.reason().contains(reason), () -> "expected '" + reason + "' in: " + vector.reason());
  }
}
