package org.quern.runtime;

import java.util.EnumSet;

/**
 * Prints, in a JVM of its own, what the probe found and how it took each request: one {@code
 * key=value} per line.
 */
final class CapabilitiesReport {
  private CapabilitiesReport() {}

  /** Prints the report. */
  public static void main(String[] args) {
    for (int attempt = 1; attempt <= 2; attempt++) {
      try {
        Capabilities found = Capabilities.get();
        TierStatus vector = found.status(Tier.VECTOR);
        System.out.println("vector=" + vector.available());
        System.out.println("reason=" + vector.reason());
        System.out.println("bits=" + found.vectorBits());
        System.out.println("chosen=" + found.choose(EnumSet.of(Tier.SCALAR, Tier.VECTOR), null));
      } catch (IllegalArgumentException | IllegalStateException e) {
        System.out.println("error" + attempt + "=" + e);
      }
    }
    if (ModuleLayer.boot().findModule("jdk.incubator.vector").isPresent()) {
      System.out.println("withoutFlags=" + CapabilityProbe.vectorRefusal(true, name -> null));
    }
  }
}
