package org.quern.runtime;

import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
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
    List<TierStatus> tiers,
    @Nullable Tier forced,
    int vectorBits,
    int processors,
    String cpu,
    String java) {

  /** Name of the system property that forces a tier for the whole process. */
  public static final String TIER_PROPERTY = "quern.tier";

  private static final AtomicBoolean FALLBACK_LOGGED = new AtomicBoolean();

  private static volatile @Nullable Capabilities found;

  /** Keeps an immutable copy of the list. */
  public Capabilities {
    tiers = List.copyOf(tiers);
  }

  /**
   * What was found in this process; the first call probes, later calls return the same object.
   *
   * @throws IllegalArgumentException where {@code -Dquern.tier} names no tier; every call throws it
   *     anew until the property is mended, so the message is never lost in a failed initializer
   */
  public static Capabilities get() {
    Capabilities known = found;
    return known != null ? known : probeOnce();
  }

  private static synchronized Capabilities probeOnce() {
    Capabilities known = found;
    if (known == null) {
      known = CapabilityProbe.probe();
      found = known;
    }
    return known;
  }

  /** The tiers that can run here. */
  public Set<Tier> available() {
    Set<Tier> available = EnumSet.noneOf(Tier.class);
    for (TierStatus status : tiers) {
      if (status.available()) {
        available.add(status.tier());
      }
    }
    return available;
  }

  /** The state of one tier. */
  public TierStatus status(Tier tier) {
    return tiers.get(tier.ordinal());
  }

  /**
   * The tier to use for a family that offers {@code offered}: the one asked for, else the one that
   * the property forces, else the best that is available. Where nobody demanded a tier and only the
   * scalar one is left of several, the reason is logged, once per process.
   *
   * @param offered tiers that the family implements for arguments on this device
   * @param asked a tier that the caller demands, or null
   * @throws IllegalStateException where the demanded tier cannot run here or is not offered; the
   *     message says why
   */
  public Tier choose(Set<Tier> offered, @Nullable Tier asked) {
    Tier demanded = asked != null ? asked : forced;
    if (demanded != null) {
      TierStatus status = status(demanded);
      if (!status.available()) {
        throw new IllegalStateException(
            "tier '" + demanded.label() + "' was demanded but cannot run: " + status.reason());
      }
      if (!offered.contains(demanded)) {
        throw new IllegalStateException(
            "tier '"
                + demanded.label()
                + "' was demanded but is not offered here; offered: "
                + offered);
      }
      return demanded;
    }
    for (int i = tiers.size() - 1; i > Tier.SCALAR.ordinal(); i--) {
      TierStatus status = tiers.get(i);
      if (status.available() && offered.contains(status.tier())) {
        return status.tier();
      }
    }
    if (offered.contains(Tier.VECTOR) && FALLBACK_LOGGED.compareAndSet(false, true)) {
      System.getLogger("org.quern")
          .log(
              System.Logger.Level.INFO,
              "Quern runs its scalar tier: " + status(Tier.VECTOR).reason());
    }
    return Tier.SCALAR;
  }
}
