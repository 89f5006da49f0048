package org.quern.runtime;

import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * What this JVM on this machine can run, found once per process.
 *
 * @param tiers the state of every tier, in the order of {@link Tier}
 * @param forced the tier demanded by {@code -Dquern.tier}, or null
 * @param vectorBits width of the preferred vector in bits, 0 without the vector tier
 * @param processors processors available to the JVM
 * @param cpu model name of the CPU as the system reports it, or its architecture
 * @param java version and vendor of the JVM
 */
public record Capabilities(
    List<TierStatus> tiers, @Nullable Tier forced, int vectorBits, int processors, String cpu, String java) {

  /** Name of the system property that forces a tier for the whole process. */
  public static final String TIER_PROPERTY = "quern.tier";

  /** What was found in this process; the first call probes, later calls return the same object. */
  public static Capabilities get() {
    return Holder.FOUND;
  }

  /** The tiers that can run here. */
  public Set<Tier> available() {
    Set<Tier> found = EnumSet.noneOf(Tier.class);
    for (TierStatus status : tiers) {
      if (status.available()) {
        found.add(status.tier());
      }
    }
    return found;
  }

  /** The state of one tier. */
  public TierStatus status(Tier tier) {
    return tiers.get(tier.ordinal());
  }

  /**
   * The tier to use for a family that offers {@code offered}: the one asked for, else the one that the property forces,
   * else the best that is available.
   *
   * @param offered tiers that the family implements for arguments on this device
   * @param asked a tier that the caller demands, or null
   * @throws IllegalStateException where the demanded tier cannot run here or is not offered; the message says why
   */
  public Tier choose(Set<Tier> offered, @Nullable Tier asked) {
    Tier demanded = asked != null ? asked : forced;
    if (demanded != null) {
      TierStatus status = status(demanded);
      if (!status.available()) {
        throw new IllegalStateException("tier '" + demanded.label() + "' was demanded but cannot run: " + status.reason());
      }
      if (!offered.contains(demanded)) {
        throw new IllegalStateException("tier '" + demanded.label() + "' was demanded but is not offered here; offered: " + offered);
      }
      return demanded;
    }
    Tier best = Tier.SCALAR;
    for (Tier tier : available()) {
      if (offered.contains(tier)) {
        best = tier;
      }
    }
    return best;
  }

  private static final class Holder {
    static final Capabilities FOUND = CapabilityProbe.probe();
  }
}
