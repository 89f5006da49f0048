package org.quern.runtime;

import java.util.List;

/** Finds out what this JVM can run. */
final class CapabilityProbe {
  private CapabilityProbe() {}

  static Capabilities probe() {
    boolean vector = ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent();
    String forced = System.getProperty(Capabilities.TIER_PROPERTY);
    return new Capabilities(
        List.of(
            new TierStatus(Tier.SCALAR, true, "plain Java"),
            new TierStatus(Tier.VECTOR, vector, vector ? "module jdk.incubator.vector is present" : "add --add-modules jdk.incubator.vector"),
            new TierStatus(Tier.NATIVE, false, "this build carries no native kernels"),
            new TierStatus(Tier.CUDA, false, "this build carries no CUDA kernels")),
        forced == null ? null : Tier.ofLabel(forced),
        0,
        Runtime.getRuntime().availableProcessors(),
        System.getProperty("os.arch"),
        Runtime.version().toString());
  }
}
