package org.quern.runtime;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.EnumSet;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;

class CapabilitiesTest {
  private static final Set<Tier> BOTH = EnumSet.of(Tier.SCALAR, Tier.VECTOR);

  private static Capabilities machine(boolean vector, @Nullable Tier forced) {
    return new Capabilities(
        List.of(
            new TierStatus(Tier.SCALAR, true, "always"),
            new TierStatus(Tier.VECTOR, vector, "the reason"),
            new TierStatus(Tier.NATIVE, true, "loaded"),
            new TierStatus(Tier.CUDA, false, "no GPU")),
        forced,
        vector ? 256 : 0,
        1,
        "cpu",
        "java");
  }

  @Test
  void theBestOfferedAndAvailableTierIsChosen() {
    Capabilities machine = machine(true, null);
    assertEquals(Tier.VECTOR, machine.choose(BOTH, null));
    assertEquals(Tier.NATIVE, machine.choose(EnumSet.allOf(Tier.class), null));
    assertEquals(Tier.SCALAR, machine.choose(EnumSet.of(Tier.SCALAR), null));
    assertEquals(Tier.SCALAR, machine(false, null).choose(BOTH, null));
    assertEquals(EnumSet.of(Tier.SCALAR, Tier.VECTOR, Tier.NATIVE), machine.available());
  }

  @Test
  void aDemandIsObeyedAndTheCallerOverridesTheProperty() {
    Capabilities machine = machine(true, Tier.SCALAR);
    assertEquals(Tier.SCALAR, machine.choose(BOTH, null));
    assertEquals(Tier.VECTOR, machine.choose(BOTH, Tier.VECTOR));
  }

  @Test
  void aDemandThatCannotBeMetFailsWithTheReason() {
    Exception missing =
        assertThrows(
            IllegalStateException.class, () -> machine(false, null).choose(BOTH, Tier.VECTOR));
    assertTrue(missing.getMessage().contains("the reason"), missing.getMessage());
    Exception forced =
        assertThrows(
            IllegalStateException.class, () -> machine(false, Tier.VECTOR).choose(BOTH, null));
    assertTrue(forced.getMessage().contains("the reason"), forced.getMessage());
    Exception notOffered =
        assertThrows(
            IllegalStateException.class, () -> machine(true, Tier.NATIVE).choose(BOTH, null));
    assertTrue(notOffered.getMessage().contains("not offered"), notOffered.getMessage());
  }

  @Test
  void theProbeRunsOnce() {
    assertSame(Capabilities.get(), Capabilities.get());
    assertEquals(Tier.values().length, Capabilities.get().tiers().size());
    for (Tier tier : Tier.values()) {
      assertEquals(tier, Capabilities.get().status(tier).tier());
    }
  }

  @Test
  void labelsRoundTrip() {
    for (Tier tier : Tier.values()) {
      assertEquals(tier, Tier.ofLabel(" " + tier.label().toUpperCase(Locale.ROOT) + " "));
    }
    assertThrows(IllegalArgumentException.class, () -> Tier.ofLabel("gpu"));
  }
}
