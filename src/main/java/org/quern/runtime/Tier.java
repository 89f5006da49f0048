package org.quern.runtime;

import java.util.Locale;

/**
 * One way to run a kernel, from the readable oracle to the fastest the machine allows. The order of
 * the constants is the order of preference: a later tier is chosen over an earlier one where both
 * can run.
 */
public enum Tier {
  /** Plain Java: the formula as written, the oracle of all others; runs on every JVM. */
  SCALAR,
  /**
   * The Panama Vector API; needs the module {@code jdk.incubator.vector}, the C2 compiler and fused
   * multiply-add.
   */
  VECTOR,
  /** Hand-written native SIMD, loaded from the jar. */
  NATIVE,
  /** CUDA kernels, for arguments that live on a GPU. */
  CUDA;

  /** The word by which {@code -Dquern.tier} and the reports name this tier. */
  public String label() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * The tier of a label.
   *
   * @throws IllegalArgumentException where no tier has this label
   */
  public static Tier ofLabel(String label) {
    for (Tier tier : values()) {
      if (tier.label().equalsIgnoreCase(label.strip())) {
        return tier;
      }
    }
    throw new IllegalArgumentException(
        "tier: expected scalar, vector, native or cuda, got '" + label + "'");
  }
}
